"""Scores generated sprite videos against ground truth with the shipped judge: motion, prompt, steadiness."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from motionecho.backbones.toy.nets import Judge
from motionecho.backbones.toy.sprites import SIZE
from motionecho.backbones.toy.words import BACKGROUNDS, COLORS, SHAPES

VISIBLE = 1.0  # a sprite whose true centre is further out has left the picture


@lru_cache(maxsize=2)
def load_judge(path: str, device: str) -> Judge:
    """The judge from its safetensors file, float32."""
    judge = Judge()
    judge.load_state_dict(load_file(path))
    return judge.float().to(device).eval().requires_grad_(False)


def asked_for(prompt: str) -> dict[str, int]:
    """Indices of the shape, colour and background a prompt names; what it does not name is absent."""
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
    """Share of frames with the prompt's shape, colour and background; only what the prompt names."""
    return {
        name: (seen[name].argmax(-1) == wanted).float().mean().item()
        for name, wanted in asked_for(prompt).items()
    }


def steadiness(seen: dict[str, Tensor]) -> float:
    """Temporal consistency: mean cosine between consecutive frames' shape and colour probabilities."""
    looks = torch.cat([seen["shape"], seen["color"]], -1)
    return F.cosine_similarity(looks[1:], looks[:-1], dim=-1).mean().item()


def velocity_cosine(centre: Tensor, truth: Tensor) -> float:
    """Cosine between the velocities of two paths [f, 2] while the true sprite is in the picture."""
    visible = (truth.abs().amax(-1) < VISIBLE).float()
    both = (visible[1:] * visible[:-1])[:, None]
    return F.cosine_similarity(
        (centre.diff(dim=0) * both).flatten(), (truth.diff(dim=0) * both).flatten(), dim=0
    ).item()


def centre_error(centre: Tensor, truth: Tensor) -> float:
    """Mean distance in pixels between two paths [f, 2] while the true sprite is in the picture."""
    visible = truth.abs().amax(-1) < VISIBLE
    return (centre - truth).norm(dim=-1)[visible].mean().item() * SIZE / 2


def size_correlation(log_size: Tensor, truth: Tensor) -> float:
    """Correlation over time of log sizes [f]: how well growth and zoom are followed."""
    return F.cosine_similarity(log_size - log_size.mean(), truth - truth.mean(), dim=0).item()
