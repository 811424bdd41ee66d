"""Procedural videos with known motion: coloured shapes over textured backgrounds, 16 frames of 64x64.

They train the embedded pair, make the demo's reference clips, and give tests and benchmarks a ground
truth: where the sprite is on the screen in every frame. Coordinates run from -1 (left, top) to 1.

    scenes = sample_scenes(4, motions=("bounce",)); video = render(scenes); truth = scenes.screen()
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from motionecho.sprites.motions import CAMERA_MOTIONS, MOTIONS, TRAINING_SHARE, Dice, Track
from motionecho.sprites.words import BACKGROUNDS, COLORS, SHAPES, TEXTURES

SIZE = 64

TEXTURE_SHARE = (0.45, 0.19, 0.09, 0.09, 0.09, 0.09)


@dataclass(frozen=True)
class Scenes:
    """A batch of n scenes: appearance indices [n], motion, and what was drawn at random for the looks."""

    shape: Tensor
    color: Tensor
    background: Tensor
    texture: Tensor
    size: Tensor  # [n] half-width of the sprite
    motion: list[str]
    path: Track
    tint: Tensor  # [n, 6] small shifts of sprite and background colour
    shade: Tensor  # [n, 2] light direction on the sprite
    pattern: Tensor  # [n, 8] texture angle, frequency, phases, contrast

    def __len__(self) -> int:
        return len(self.shape)

    def screen(self) -> Tensor:
        """Return ground truth [n, f, 2]: the sprite's centre as the camera sees it."""
        camera = self.path.camera
        offset = self.path.center - camera[..., :2]
        cos, sin = camera[..., 3].cos(), camera[..., 3].sin()
        x = cos * offset[..., 0] + sin * offset[..., 1]
        y = cos * offset[..., 1] - sin * offset[..., 0]
        return torch.stack([x, y], -1) * camera[..., 2:3]

    def screen_size(self) -> Tensor:
        """Return ground truth [n, f]: the sprite's half-width as the camera sees it."""
        return self.size[:, None] * self.path.scale * self.path.camera[..., 2]


def held_out_look(shape: Tensor, color: Tensor) -> Tensor:
    """Tell the eight (shape, colour) couples, one a shape, that training never shows."""
    return (3 * shape + color) % 8 == 0


def sample_scenes(
    n: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    motions: tuple[str, ...] | None = None,
    looks: str = "training",
) -> Scenes:
    """Draw n scenes; `motions` default to the training mix, `looks` is "training", "held_out" or "any"."""
    dice = Dice(n, device, generator)
    names = tuple(TRAINING_SHARE) if motions is None else motions
    shares = tuple(TRAINING_SHARE.values()) if motions is None else (1.0,) * len(names)
    which = dice.choice(shares)
    motion = [names[k] for k in which.tolist()]
    shape, color = dice.choice((1.0,) * len(SHAPES)), dice.choice((1.0,) * len(COLORS))
    if looks == "held_out":
        color = (-3 * shape) % 8
    elif looks == "training":
        color = torch.where(held_out_look(shape, color), (color + 1) % 8, color)
    background = dice.choice((1.0,) * len(BACKGROUNDS))
    background = torch.where((background == color) & (background < 7), (background + 1) % 9, background)
    texture = dice.choice(TEXTURE_SHARE)
    moving_camera = torch.tensor([m in CAMERA_MOTIONS for m in motion], device=device)
    # a camera's motion shows only on a pattern
    texture = torch.where(moving_camera & (texture < 2), 2 + dice.choice((1.0, 1.0, 1.0, 1.0)), texture)
    turn, frequency = dice.uniform(0, 2 * math.pi, 1), dice.uniform(2.5, 5.0, 1)
    phases, contrast = dice.uniform(0, 2 * math.pi, 5), dice.uniform(0.28, 0.46, 1)
    pattern = torch.cat([turn, frequency, phases, contrast], 1)
    paths = [MOTIONS[name](dice) for name in names]
    return Scenes(
        shape, color, background, texture, dice.uniform(0.28, 0.48), motion,
        _pick(paths, which), dice.uniform(-0.06, 0.06, 6), dice.uniform(-0.15, 0.15, 2), pattern,
    )  # fmt: skip


def _pick(paths: list[Track], which: Tensor) -> Track:
    rows = torch.arange(len(which), device=which.device)
    parts = {
        name: torch.stack([getattr(p, name) for p in paths])[which, rows]
        for name in ("center", "scale", "angle", "camera")
    }
    return Track(**parts, words=[paths[k].words[i] for i, k in enumerate(which.tolist())])


def captions(scenes: Scenes, motion: bool = False, texture: bool = True) -> list[str]:
    """Describe the scenes, e.g. "a red star on a striped blue background moving left"."""
    colors, grounds = list(COLORS), list(BACKGROUNDS)
    looks = (drawn.tolist() for drawn in (scenes.color, scenes.shape, scenes.texture, scenes.background))
    lines = []
    for color, shape, pattern, ground, moving in zip(*looks, scenes.path.words, strict=True):
        sprite = ("a", colors[color], SHAPES[shape])
        behind = ("on a", TEXTURES[pattern] if texture and pattern else "", grounds[ground], "background")
        lines.append(" ".join(word for word in (*sprite, *behind, moving if motion else "") if word))
    return lines
