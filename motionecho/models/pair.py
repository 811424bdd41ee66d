"""A teacher and its distilled student, sharing latents, schedule, codec and text encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from motionecho.denoiser import Denoiser
from motionecho.models.codec import Codec
from motionecho.models.spec import PairSpec
from motionecho.models.texts import EncodedText
from motionecho.schedules import Schedule

Role = Literal["student", "teacher"]


@dataclass(frozen=True)
class ModelPair:
    """A pair, loaded: all that turns (motion, prompt) into frames."""

    spec: PairSpec
    schedule: Schedule
    student: Denoiser
    teacher: Denoiser
    codec: Codec
    tokens: Callable[[list[str]], Tensor]  # ids on the CPU; raises BadSample on what it cannot read
    text: Callable[[Tensor], Tensor]  # states of ids on the device
    device: torch.device
    plain: Callable[[Role], Denoiser]  # one that is neither fused nor recorded, of the same weights
    # one that sees outlines uint8 [b, f, h, w] as well: (role, outlines, scale) -> Denoiser
    controlled: Callable[..., Denoiser] | None = None
    # of a pair with a text stage: takes in what was made there, for `text` to give it out. Rows of pads
    # alone (id 0) it gives out unasked, as zeros
    remember: Callable[[EncodedText], None] | None = None

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Tensor:
        """Encode prompts as states [b, tokens, width]; raises BadSample on one that cannot be read."""
        return self.text(self.tokens(prompts).to(self.device))
