"""Motion programs: how a sprite and its camera move through the 16 frames of a procedural clip.

Each program draws n random motions of one kind. The order of its draws is part of what a seed means:
moving one changes the demo's clips and every split of the data.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FRAMES, FPS = 16, 8


@dataclass(frozen=True)
class Track:
    """The motion of n scenes: the sprite in the world, and the camera looking at it. All [n, FRAMES, ...]."""

    center: Tensor  # [n, f, 2] sprite centre in the world
    scale: Tensor  # [n, f] factor on the sprite's size
    angle: Tensor  # [n, f] radians
    camera: Tensor  # [n, f, 4] x, y, zoom, roll in radians
    words: list[str]  # what a caption may say of the motion, one string a scene


class Dice:
    """A source of uniform random numbers from one generator, by shape."""

    def __init__(self, n: int, device: torch.device | str, generator: torch.Generator | None):
        self.n, self.device, self.generator = n, device, generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(self.n, *shape, device=self.device, generator=self.generator)
        return low + (high - low) * drawn

    def sign(self) -> Tensor:
        return torch.where(self.uniform(0, 1) < 0.5, -1.0, 1.0)

    def choice(self, shares: tuple[float, ...]) -> Tensor:
        weights = torch.tensor(shares, device=self.device)
        return torch.multinomial(weights, self.n, replacement=True, generator=self.generator)


def _still(dice: Dice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw a centre near the middle, unit scale, a slight tilt, and a camera at rest."""
    center = dice.uniform(-0.4, 0.4, 1, 2).expand(-1, FRAMES, -1)
    ones = torch.ones(dice.n, FRAMES, device=dice.device)
    camera = torch.stack([0 * ones, 0 * ones, ones, 0 * ones], -1)
    return center, ones, dice.uniform(-0.25, 0.25, 1) * ones, camera


def _time(dice: Dice) -> Tensor:
    return torch.linspace(0, 1, FRAMES, device=dice.device).expand(dice.n, FRAMES)


def _segment(dice: Dice) -> tuple[Tensor, Tensor]:
    """Draw start and displacement [n, 2] of a straight run, 0.7 or longer, that stays on the screen."""
    start = dice.uniform(-0.72, 0.72, 2)
    heading, length = dice.uniform(0, 2 * math.pi), dice.uniform(0.8, 1.5)
    run = torch.stack([heading.cos(), heading.sin()], -1) * length[:, None]
    run = torch.where((start + run).abs() > 0.8, -run, run)
    return start, (start + run).clamp(-0.8, 0.8) - start


def _headings(run: Tensor, names: tuple[str, str, str, str] = ("left", "right", "up", "down")) -> list[str]:
    sideways, (right, down) = (run[:, 0].abs() > run[:, 1].abs()).tolist(), (run > 0).T.tolist()
    axes = zip(sideways, right, down, strict=True)
    return [names[int(x)] if side else names[2 + int(y)] for side, x, y in axes]


def _linear(dice: Dice) -> Track:
    _, scale, angle, camera = _still(dice)
    start, run = _segment(dice)
    center = start[:, None] + run[:, None] * _time(dice)[..., None]
    return Track(center, scale, angle, camera, [f"moving {h}" for h in _headings(run)])


def _accelerate(dice: Dice) -> Track:
    _, scale, angle, camera = _still(dice)
    start, run = _segment(dice)
    u = _time(dice)
    pace = torch.where(dice.uniform(0, 1)[:, None] < 0.5, u**2.2, 1 - (1 - u) ** 2.2)
    center = start[:, None] + run[:, None] * pace[..., None]
    return Track(center, scale, angle, camera, [f"moving {h}" for h in _headings(run)])


def _arc(dice: Dice) -> Track:
    _, scale, angle, camera = _still(dice)
    sweep = dice.sign() * dice.uniform(0.8, 2.0) * math.pi
    theta = dice.uniform(0, 2 * math.pi)[:, None] + sweep[:, None] * _time(dice)
    around = torch.stack([theta.cos(), theta.sin()], -1) * dice.uniform(0.3, 0.55, 1, 1)
    return Track(dice.uniform(-0.2, 0.2, 1, 2) + around, scale, angle, camera, ["circling"] * dice.n)


def _bounce(dice: Dice) -> Track:
    _, scale, angle, camera = _still(dice)
    u = _time(dice)
    hops, height = dice.uniform(1, 3).floor()[:, None], dice.uniform(0.6, 1.1)[:, None]
    y = 0.6 - height * torch.sin(math.pi * (hops * u + dice.uniform(0, 1)[:, None])).abs()
    start = (dice.sign() * dice.uniform(0.3, 0.7))[:, None]
    x = start * (1 - u * dice.uniform(1.0, 2.0)[:, None])
    return Track(torch.stack([x, y], -1), scale, angle, camera, ["bouncing"] * dice.n)


def _swing(dice: Dice, offset: Tensor, word: str) -> Track:
    """Draw a straight run with `offset` [n, f] added across it."""
    _, scale, angle, camera = _still(dice)
    start, run = _segment(dice)
    across = torch.stack([-run[:, 1], run[:, 0]], -1) / run.norm(dim=1, keepdim=True).clamp_min(0.1)
    along = 0.85 * (start[:, None] + run[:, None] * _time(dice)[..., None])
    return Track(along + across[:, None] * offset[..., None], scale, angle, camera, [word] * dice.n)


def _zigzag(dice: Dice) -> Track:
    phase = dice.uniform(1.5, 3.0)[:, None] * _time(dice) + dice.uniform(0, 1)[:, None]
    return _swing(dice, 0.7 * (2 * (phase % 1 - 0.5).abs() - 0.5), "zigzagging")


def _wave(dice: Dice) -> Track:
    phase = dice.uniform(0.9, 1.8)[:, None] * _time(dice) + dice.uniform(0, 1)[:, None]
    return _swing(dice, 0.3 * torch.sin(2 * math.pi * phase), "waving")


def _drift(dice: Dice) -> Tensor:
    start, run = _segment(dice)
    return 0.6 * start[:, None] + 0.25 * run[:, None] * _time(dice)[..., None]


def _scale(dice: Dice) -> Track:
    _, _, angle, camera = _still(dice)
    growing = dice.uniform(0, 1) < 0.5
    factor, u = dice.uniform(1.8, 2.6)[:, None], _time(dice)
    scale = torch.where(growing[:, None], factor ** (u - 0.4), factor ** (0.6 - u))
    words = ["growing" if g else "shrinking" for g in growing.tolist()]
    return Track(_drift(dice), scale, angle, camera, words)


def _spin(dice: Dice) -> Track:
    _, scale, angle, camera = _still(dice)
    turn = (dice.sign() * dice.uniform(1.5, 3.5))[:, None] * _time(dice)
    return Track(_drift(dice), scale, angle + turn, camera, ["spinning"] * dice.n)


def _pan(dice: Dice) -> Track:
    center, scale, angle, camera = _still(dice)
    heading, length = dice.uniform(0, 2 * math.pi), dice.uniform(0.7, 1.6)
    run = torch.stack([heading.cos(), heading.sin()], -1) * length[:, None]
    axis = run.abs() >= run.abs().amax(1, keepdim=True)
    run = torch.where((dice.uniform(0, 1) < 0.5)[:, None] | axis, run, 0.0)
    camera = torch.cat([run[:, None] * (_time(dice) - 0.5)[..., None], camera[..., 2:]], -1)
    return Track(center, scale, angle, camera, [f"camera panning {h}" for h in _headings(run)])


def _zoom(dice: Dice) -> Track:
    center, scale, angle, camera = _still(dice)
    inward = dice.uniform(0, 1) < 0.5
    factor, u = dice.uniform(1.7, 2.5)[:, None], _time(dice)
    zoom = torch.where(inward[:, None], factor ** (u - 0.3), factor ** (0.7 - u))
    camera = torch.cat([camera[..., :2], zoom[..., None], camera[..., 3:]], -1)
    words = [f"camera zooming {'in' if i else 'out'}" for i in inward.tolist()]
    return Track(center, scale, angle, camera, words)


def _roll(dice: Dice) -> Track:
    center, scale, angle, camera = _still(dice)
    roll = (dice.sign() * dice.uniform(0.7, 1.6))[:, None] * (_time(dice) - 0.5)
    camera = torch.cat([camera[..., :3], roll[..., None]], -1)
    return Track(center, scale, angle, camera, ["camera rotating"] * dice.n)


def _pan_zoom(dice: Dice) -> Track:
    zoom, pan = _zoom(dice), _pan(dice)
    camera = torch.cat([0.6 * pan.camera[..., :2], zoom.camera[..., 2:]], -1)
    return Track(zoom.center, zoom.scale, zoom.angle, camera, zoom.words)


def _figure_eight(dice: Dice) -> Track:
    _, scale, angle, camera = _still(dice)
    theta = dice.uniform(0, 2 * math.pi)[:, None] + (dice.sign() * 2 * math.pi)[:, None] * _time(dice)
    loop = torch.stack([0.6 * theta.sin(), 0.4 * (2 * theta).sin()], -1)
    return Track(dice.uniform(-0.1, 0.1, 1, 2) + loop, scale, angle, camera, ["circling"] * dice.n)


def _spiral(dice: Dice) -> Track:
    _, scale, angle, camera = _still(dice)
    u = _time(dice)
    start, sweep = dice.uniform(0, 2 * math.pi), dice.sign() * dice.uniform(2.0, 3.0) * math.pi
    theta = start[:, None] + sweep[:, None] * u
    around = torch.stack([theta.cos(), theta.sin()], -1) * (0.12 + 0.55 * u)[..., None]
    return Track(dice.uniform(-0.1, 0.1, 1, 2) + around, scale, angle, camera, ["circling"] * dice.n)


MOTIONS: dict[str, Callable[[Dice], Track]] = {
    "linear": _linear, "accelerate": _accelerate, "arc": _arc, "bounce": _bounce, "zigzag": _zigzag,
    "wave": _wave, "scale": _scale, "spin": _spin, "pan": _pan, "zoom": _zoom, "roll": _roll,
    "pan_zoom": _pan_zoom, "figure_eight": _figure_eight, "spiral": _spiral,
}  # fmt: skip
CAMERA_MOTIONS = ("pan", "zoom", "roll", "pan_zoom")
TRAVELLING_MOTIONS = (
    "linear", "accelerate", "arc", "bounce", "zigzag", "wave", "pan", "figure_eight", "spiral",
)  # fmt: skip
# figure_eight and spiral are never trained on
TRAINING_SHARE = {
    "linear": 0.16, "accelerate": 0.08, "arc": 0.12, "bounce": 0.09, "zigzag": 0.09, "wave": 0.08,
    "scale": 0.07, "spin": 0.06, "pan": 0.11, "zoom": 0.06, "roll": 0.05, "pan_zoom": 0.03,
}  # fmt: skip
