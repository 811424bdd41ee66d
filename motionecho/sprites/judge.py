"""The judge of sprite videos: a small network reads them, figures compare what it read with the truth."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from motionecho.sprites.scenes import SIZE
from motionecho.sprites.words import BACKGROUNDS, COLORS, SHAPES

VISIBLE = 1.0  # a sprite whose true centre is further out has left the picture


class Judge(nn.Module):
    """A reader of one frame [b, 3, 64, 64]: where the sprite is, its size, shape, colour and background.

    Returns centre [b, 2] in [-1, 1], log_size [b] and logits shape [b, 8], color [b, 8], background [b, 9].
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
            conv = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation)
            return nn.Sequential(conv, nn.GroupNorm(8, outputs), nn.SiLU())

        wide = 2 * width
        self.features = nn.Sequential(
            block(5, width, stride=2), block(width, width), block(width, wide, stride=2), block(wide, wide),
            block(wide, wide, dilation=2), block(wide, wide, dilation=4), block(wide, wide),
        )  # fmt: skip
        self.where = nn.Conv2d(wide, 1, 1)
        self.sprite = nn.Linear(wide, len(SHAPES) + len(COLORS) + 1)
        self.ground = nn.Linear(wide, len(BACKGROUNDS))

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        features = self.features(
            torch.cat([frames, _coordinates(SIZE, frames).expand(len(frames), -1, -1, -1)], 1)
        )
        attention = self.where(features).flatten(2).float().softmax(-1)  # [b, 1, hw]
        flat = features.flatten(2).float()
        sprite = self.sprite((flat * attention).sum(-1))
        shape, color, log_size = sprite.split([len(SHAPES), len(COLORS), 1], -1)
        centre = (_coordinates(SIZE // 4, frames).flatten(2).float() * attention).sum(-1)
        return {
            "centre": centre,
            "log_size": log_size[:, 0],
            "shape": shape,
            "color": color,
            "background": self.ground(flat.mean(-1)),
        }


@lru_cache(maxsize=2)
def load_judge(path: str, device: str) -> Judge:
    """Load the judge from its safetensors file, float32."""
    judge = Judge()
    judge.load_state_dict(load_file(path))
    return judge.float().to(device).eval().requires_grad_(False)


def asked_for(prompt: str) -> dict[str, int]:
    """Return indices of shape, colour and background that a prompt names; what it does not is absent."""
    words = prompt.lower().split()
    found: dict[str, int] = {}
    if shape := [word for word in words if word in SHAPES]:
        found["shape"] = SHAPES.index(shape[0])
        before = words[: words.index(shape[0])]
        if color := [word for word in before if word in COLORS]:
            found["color"] = list(COLORS).index(color[-1])
    if "background" in words:
        before = words[: words.index("background")]
        if before and before[-1] in BACKGROUNDS:
            found["background"] = list(BACKGROUNDS).index(before[-1])
    return found


@torch.no_grad()
def verdict(judge: Judge, video: Tensor) -> dict[str, Tensor]:
    """Judge frames [f, 3, h, w] in [-1, 1].

    Returns centre [f, 2], log_size [f] and the probabilities shape, color and background, [f, k] each.
    """
    seen = judge(video.float())
    return {
        name: value.softmax(-1) if name in ("shape", "color", "background") else value
        for name, value in seen.items()
    }


def text_accuracy(seen: dict[str, Tensor], prompt: str) -> dict[str, float]:
    """Return shares of frames with the prompt's shape, colour and background; only what it names."""
    return {
        name: (seen[name].argmax(-1) == wanted).float().mean().item()
        for name, wanted in asked_for(prompt).items()
    }


def steadiness(seen: dict[str, Tensor]) -> float:
    """Compute the mean cosine between consecutive frames' shape and colour probabilities."""
    looks = torch.cat([seen["shape"], seen["color"]], -1)
    return F.cosine_similarity(looks[1:], looks[:-1], dim=-1).mean().item()


def velocity_cosine(centre: Tensor, truth: Tensor) -> float:
    """Compare the velocities of two paths [f, 2] by cosine while the true sprite is in the picture."""
    visible = (truth.abs().amax(-1) < VISIBLE).float()
    both = (visible[1:] * visible[:-1])[:, None]
    return F.cosine_similarity(
        (centre.diff(dim=0) * both).flatten(), (truth.diff(dim=0) * both).flatten(), dim=0
    ).item()


def centre_error(centre: Tensor, truth: Tensor) -> float:
    """Average the distance in pixels of two paths [f, 2] while the true sprite is in the picture."""
    visible = truth.abs().amax(-1) < VISIBLE
    return (centre - truth).norm(dim=-1)[visible].mean().item() * SIZE / 2


def _coordinates(size: int, like: Tensor) -> Tensor:
    axis = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y])[None]
