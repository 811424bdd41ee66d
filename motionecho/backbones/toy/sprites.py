"""Procedural videos with known motion: coloured shapes over textured backgrounds, 16 frames of 64x64.

They train the embedded pair, make the demo's reference clips, and give tests and benchmarks a ground
truth: where the sprite is on the screen in every frame. Coordinates run from -1 (left, top) to 1.

    scenes = sample_scenes(4, motions=("bounce",)); video = render(scenes); truth = scenes.screen()
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FRAMES, SIZE, FPS = 16, 64, 8

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "moon")
COLORS = {
    "red": (0.90, 0.12, 0.12), "orange": (0.98, 0.55, 0.06), "yellow": (0.97, 0.92, 0.15), "green": (0.15, 0.76, 0.20),
    "cyan": (0.15, 0.86, 0.90), "blue": (0.15, 0.28, 0.94), "purple": (0.62, 0.18, 0.84), "white": (0.97, 0.97, 0.97),
}  # fmt: skip
BACKGROUNDS = {
    "red": (0.50, 0.09, 0.10), "orange": (0.55, 0.32, 0.08), "yellow": (0.58, 0.54, 0.14), "green": (0.09, 0.38, 0.14),
    "cyan": (0.09, 0.45, 0.49), "blue": (0.10, 0.15, 0.50), "purple": (0.33, 0.12, 0.45), "gray": (0.45, 0.45, 0.45),
    "black": (0.06, 0.06, 0.06),
}  # fmt: skip
TEXTURES = ("plain", "gradient", "striped", "checkered", "dotted", "cloudy")
TEXTURE_SHARE = (0.45, 0.19, 0.09, 0.09, 0.09, 0.09)


@dataclass(frozen=True)
class Path:
    """Motion of n scenes: the sprite in the world, and the camera that looks at it. All [n, FRAMES, ...]."""

    center: Tensor  # [n, f, 2] sprite centre in the world
    scale: Tensor  # [n, f] factor on the sprite's size
    angle: Tensor  # [n, f] radians
    camera: Tensor  # [n, f, 4] x, y, zoom, roll in radians
    words: list[str]  # what a caption may say of the motion, one string a scene


@dataclass(frozen=True)
class Scenes:
    """A batch of n scenes: appearance indices [n], motion, and what was drawn at random for the looks."""

    shape: Tensor
    color: Tensor
    background: Tensor
    texture: Tensor
    size: Tensor  # [n] half-width of the sprite
    motion: list[str]
    path: Path
    tint: Tensor  # [n, 6] small shifts of sprite and background colour
    shade: Tensor  # [n, 2] light direction on the sprite
    pattern: Tensor  # [n, 8] texture angle, frequency, phases, contrast

    def __len__(self) -> int:
        return len(self.shape)

    def screen(self) -> Tensor:
        """Ground truth [n, f, 2]: the sprite's centre as the camera sees it."""
        camera = self.path.camera
        offset = self.path.center - camera[..., :2]
        cos, sin = camera[..., 3].cos(), camera[..., 3].sin()
        x = cos * offset[..., 0] + sin * offset[..., 1]
        y = cos * offset[..., 1] - sin * offset[..., 0]
        return torch.stack([x, y], -1) * camera[..., 2:3]

    def screen_size(self) -> Tensor:
        """Ground truth [n, f]: the sprite's half-width as the camera sees it."""
        return self.size[:, None] * self.path.scale * self.path.camera[..., 2]


class Dice:
    """Uniform random numbers from one generator, by shape."""

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
    """Centre near the middle, unit scale, a slight tilt, and a camera at rest."""
    center = dice.uniform(-0.4, 0.4, 1, 2).expand(-1, FRAMES, -1)
    ones = torch.ones(dice.n, FRAMES, device=dice.device)
    camera = torch.stack([0 * ones, 0 * ones, ones, 0 * ones], -1)
    return center, ones, dice.uniform(-0.25, 0.25, 1) * ones, camera


def _time(dice: Dice) -> Tensor:
    return torch.linspace(0, 1, FRAMES, device=dice.device).expand(dice.n, FRAMES)


def _segment(dice: Dice) -> tuple[Tensor, Tensor]:
    """Start and displacement [n, 2] of a straight run of length 0.7 or more that stays on the screen."""
    start = dice.uniform(-0.72, 0.72, 2)
    heading, length = dice.uniform(0, 2 * math.pi), dice.uniform(0.8, 1.5)
    run = torch.stack([heading.cos(), heading.sin()], -1) * length[:, None]
    run = torch.where((start + run).abs() > 0.8, -run, run)
    return start, (start + run).clamp(-0.8, 0.8) - start


def _headings(run: Tensor, names: tuple[str, str, str, str] = ("left", "right", "up", "down")) -> list[str]:
    sideways = (run[:, 0].abs() > run[:, 1].abs()).tolist()
    signs = (run > 0).tolist()
    return [
        names[int(s[0])] if side else names[2 + int(s[1])] for side, s in zip(sideways, signs, strict=True)
    ]


def _linear(dice: Dice) -> Path:
    center, scale, angle, camera = _still(dice)
    start, run = _segment(dice)
    return Path(start[:, None] + run[:, None] * _time(dice)[..., None], scale, angle, camera,
                [f"moving {h}" for h in _headings(run)])  # fmt: skip


def _accelerate(dice: Dice) -> Path:
    _, scale, angle, camera = _still(dice)
    start, run = _segment(dice)
    u = _time(dice)
    pace = torch.where(dice.uniform(0, 1)[:, None] < 0.5, u**2.2, 1 - (1 - u) ** 2.2)
    return Path(start[:, None] + run[:, None] * pace[..., None], scale, angle, camera,
                [f"moving {h}" for h in _headings(run)])  # fmt: skip


def _arc(dice: Dice) -> Path:
    _, scale, angle, camera = _still(dice)
    sweep = dice.sign() * dice.uniform(0.8, 2.0) * math.pi
    theta = dice.uniform(0, 2 * math.pi)[:, None] + sweep[:, None] * _time(dice)
    around = torch.stack([theta.cos(), theta.sin()], -1) * dice.uniform(0.3, 0.55, 1, 1)
    return Path(dice.uniform(-0.2, 0.2, 1, 2) + around, scale, angle, camera, ["circling"] * dice.n)


def _bounce(dice: Dice) -> Path:
    _, scale, angle, camera = _still(dice)
    u = _time(dice)
    hops, height = dice.uniform(1, 3).floor()[:, None], dice.uniform(0.6, 1.1)[:, None]
    y = 0.6 - height * torch.sin(math.pi * (hops * u + dice.uniform(0, 1)[:, None])).abs()
    start = (dice.sign() * dice.uniform(0.3, 0.7))[:, None]
    x = start * (1 - u * dice.uniform(1.0, 2.0)[:, None])
    return Path(torch.stack([x, y], -1), scale, angle, camera, ["bouncing"] * dice.n)


def _swing(dice: Dice, offset: Tensor, word: str) -> Path:
    """A straight run with `offset` [n, f] added across it."""
    _, scale, angle, camera = _still(dice)
    start, run = _segment(dice)
    across = torch.stack([-run[:, 1], run[:, 0]], -1) / run.norm(dim=1, keepdim=True).clamp_min(0.1)
    along = 0.85 * (start[:, None] + run[:, None] * _time(dice)[..., None])
    return Path(along + across[:, None] * offset[..., None], scale, angle, camera, [word] * dice.n)


def _zigzag(dice: Dice) -> Path:
    phase = dice.uniform(1.5, 3.0)[:, None] * _time(dice) + dice.uniform(0, 1)[:, None]
    return _swing(dice, 0.7 * (2 * (phase % 1 - 0.5).abs() - 0.5), "zigzagging")


def _wave(dice: Dice) -> Path:
    phase = dice.uniform(0.9, 1.8)[:, None] * _time(dice) + dice.uniform(0, 1)[:, None]
    return _swing(dice, 0.3 * torch.sin(2 * math.pi * phase), "waving")


def _drift(dice: Dice) -> Tensor:
    start, run = _segment(dice)
    return 0.6 * start[:, None] + 0.25 * run[:, None] * _time(dice)[..., None]


def _scale(dice: Dice) -> Path:
    _, _, angle, camera = _still(dice)
    growing = dice.uniform(0, 1) < 0.5
    factor, u = dice.uniform(1.8, 2.6)[:, None], _time(dice)
    scale = torch.where(growing[:, None], factor ** (u - 0.4), factor ** (0.6 - u))
    return Path(
        _drift(dice), scale, angle, camera, ["growing" if g else "shrinking" for g in growing.tolist()]
    )


def _spin(dice: Dice) -> Path:
    _, scale, angle, camera = _still(dice)
    turn = (dice.sign() * dice.uniform(1.5, 3.5))[:, None] * _time(dice)
    return Path(_drift(dice), scale, angle + turn, camera, ["spinning"] * dice.n)


def _pan(dice: Dice) -> Path:
    center, scale, angle, camera = _still(dice)
    heading, length = dice.uniform(0, 2 * math.pi), dice.uniform(0.7, 1.6)
    run = torch.stack([heading.cos(), heading.sin()], -1) * length[:, None]
    axis = run.abs() >= run.abs().amax(1, keepdim=True)
    run = torch.where((dice.uniform(0, 1) < 0.5)[:, None] | axis, run, 0.0)
    camera = torch.cat([run[:, None] * (_time(dice) - 0.5)[..., None], camera[..., 2:]], -1)
    return Path(center, scale, angle, camera, [f"camera panning {h}" for h in _headings(run)])


def _zoom(dice: Dice) -> Path:
    center, scale, angle, camera = _still(dice)
    inward = dice.uniform(0, 1) < 0.5
    factor, u = dice.uniform(1.7, 2.5)[:, None], _time(dice)
    zoom = torch.where(inward[:, None], factor ** (u - 0.3), factor ** (0.7 - u))
    camera = torch.cat([camera[..., :2], zoom[..., None], camera[..., 3:]], -1)
    return Path(
        center, scale, angle, camera, [f"camera zooming {'in' if i else 'out'}" for i in inward.tolist()]
    )


def _roll(dice: Dice) -> Path:
    center, scale, angle, camera = _still(dice)
    roll = (dice.sign() * dice.uniform(0.7, 1.6))[:, None] * (_time(dice) - 0.5)
    return Path(
        center, scale, angle, torch.cat([camera[..., :3], roll[..., None]], -1), ["camera rotating"] * dice.n
    )


def _pan_zoom(dice: Dice) -> Path:
    zoom, pan = _zoom(dice), _pan(dice)
    camera = torch.cat([0.6 * pan.camera[..., :2], zoom.camera[..., 2:]], -1)
    return Path(zoom.center, zoom.scale, zoom.angle, camera, zoom.words)


def _figure_eight(dice: Dice) -> Path:
    _, scale, angle, camera = _still(dice)
    theta = dice.uniform(0, 2 * math.pi)[:, None] + (dice.sign() * 2 * math.pi)[:, None] * _time(dice)
    loop = torch.stack([0.6 * theta.sin(), 0.4 * (2 * theta).sin()], -1)
    return Path(dice.uniform(-0.1, 0.1, 1, 2) + loop, scale, angle, camera, ["circling"] * dice.n)


def _spiral(dice: Dice) -> Path:
    _, scale, angle, camera = _still(dice)
    u = _time(dice)
    theta = (
        dice.uniform(0, 2 * math.pi)[:, None] + (dice.sign() * dice.uniform(2.0, 3.0) * math.pi)[:, None] * u
    )
    around = torch.stack([theta.cos(), theta.sin()], -1) * (0.12 + 0.55 * u)[..., None]
    return Path(dice.uniform(-0.1, 0.1, 1, 2) + around, scale, angle, camera, ["circling"] * dice.n)


MOTIONS: dict[str, Callable[[Dice], Path]] = {
    "linear": _linear, "accelerate": _accelerate, "arc": _arc, "bounce": _bounce, "zigzag": _zigzag, "wave": _wave,
    "scale": _scale, "spin": _spin, "pan": _pan, "zoom": _zoom, "roll": _roll, "pan_zoom": _pan_zoom,
    "figure_eight": _figure_eight, "spiral": _spiral,
}  # fmt: skip
CAMERA_MOTIONS = ("pan", "zoom", "roll", "pan_zoom")
TRAVELLING_MOTIONS = (
    "linear",
    "accelerate",
    "arc",
    "bounce",
    "zigzag",
    "wave",
    "pan",
    "figure_eight",
    "spiral",
)
HELD_OUT_MOTIONS = ("figure_eight", "spiral")  # never trained on
TRAINING_SHARE = {"linear": 0.16, "accelerate": 0.08, "arc": 0.12, "bounce": 0.09, "zigzag": 0.09, "wave": 0.08,
                  "scale": 0.07, "spin": 0.06, "pan": 0.11, "zoom": 0.06, "roll": 0.05, "pan_zoom": 0.03}  # fmt: skip


def held_out_look(shape: Tensor, color: Tensor) -> Tensor:
    """True for the eight (shape, colour) couples, one a shape, that training never shows."""
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
    pattern = torch.cat(
        [dice.uniform(0, 2 * math.pi, 1), dice.uniform(2.5, 5.0, 1), dice.uniform(0, 2 * math.pi, 5), dice.uniform(0.28, 0.46, 1)], 1
    )  # fmt: skip
    paths = [MOTIONS[name](dice) for name in names]
    return Scenes(
        shape, color, background, texture, dice.uniform(0.28, 0.48), motion,
        _pick(paths, which), dice.uniform(-0.06, 0.06, 6), dice.uniform(-0.15, 0.15, 2), pattern,
    )  # fmt: skip


def _pick(paths: list[Path], which: Tensor) -> Path:
    rows = torch.arange(len(which), device=which.device)
    parts = {
        name: torch.stack([getattr(p, name) for p in paths])[which, rows]
        for name in ("center", "scale", "angle", "camera")
    }
    return Path(**parts, words=[paths[k].words[i] for i, k in enumerate(which.tolist())])


def captions(scenes: Scenes, motion: bool = False, texture: bool = True) -> list[str]:
    """What the scenes show, e.g. "a red star on a striped blue background moving left"."""
    looks = zip(
        scenes.color.tolist(),
        scenes.shape.tolist(),
        scenes.texture.tolist(),
        scenes.background.tolist(),
        strict=True,
    )
    colors, grounds = list(COLORS), list(BACKGROUNDS)
    lines = []
    for (color, shape, pattern, ground), moving in zip(looks, scenes.path.words, strict=True):
        words = ["a", colors[color], SHAPES[shape], "on a", TEXTURES[pattern] if texture and pattern else "", grounds[ground],
                 "background", moving if motion else ""]  # fmt: skip
        lines.append(" ".join(word for word in words if word))
    return lines
