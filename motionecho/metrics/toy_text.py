"""Does a sprite video show its prompt? The embedded pair's judge, where CLIP's weights are not at hand.

Only for prompts in the pair's own words; any other prompt gives a status, not a number.
"""

from functools import cached_property
from typing import TYPE_CHECKING

from motionecho.metrics.protocol import Item, MetricUnavailable, Scores
from motionecho.models.toy.settings import JUDGE

if TYPE_CHECKING:
    import torch

    from motionecho.sprites.judge import Judge

WEIGHTS = JUDGE


class ToyText:
    """The metric `toy_text`: share of frames with the prompt's shape, colour and background.

    `toy_consistency`: how steady the sprite's looks are from frame to frame.
    """

    name = "toy_text"
    version = "1"

    def __init__(self, device: str = "auto") -> None:
        if not WEIGHTS.is_file():
            raise MetricUnavailable(f"the embedded pair's judge is missing at {WEIGHTS}")
        self.wanted = device

    @cached_property
    def device(self) -> str:
        """The device of the judge, which brings torch in: whoever asks for the version alone does without."""
        from motionecho.device import resolve_device

        return str(resolve_device(self.wanted))

    @cached_property
    def judge(self) -> "Judge":
        from motionecho.sprites.judge import load_judge

        return load_judge(str(WEIGHTS), self.device)

    def __call__(self, item: Item) -> Scores:
        from motionecho.sprites.judge import asked_for, steadiness, text_accuracy, verdict
        from motionecho.sprites.scenes import SIZE

        if item.video.shape[1:3] != (SIZE, SIZE) or not asked_for(item.prompt):
            return {"toy_text": None, "toy_text_status": "not_a_sprite_video"}
        seen = verdict(self.judge, self._frames(item))
        right = text_accuracy(seen, item.prompt)
        scores: Scores = {
            "toy_text": sum(right.values()) / len(right),
            "toy_consistency": steadiness(seen),
            "toy_text_status": "ok",
        }
        return scores | {f"toy_text_{name}": value for name, value in right.items()}

    def _frames(self, item: Item) -> "torch.Tensor":
        import torch

        return torch.from_numpy(item.video).to(self.device).movedim(-1, 1) / 127.5 - 1
