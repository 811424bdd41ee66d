"""The drawing of sprite scenes: signed distances for shapes, sines for textures, all in torch."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from motionecho.sprites.scenes import SIZE, Scenes, sample_scenes
from motionecho.sprites.words import BACKGROUNDS, COLORS, TEXTURES


def _circle(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 0.85


def _square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.75


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(0.87 * x.abs() - 0.5 * y, y) - 0.5


def _star(x: Tensor, y: Tensor) -> Tensor:
    tip = ((torch.atan2(x, -y) * 5 / (2 * math.pi)) % 1 - 0.5).abs() * 2
    return 0.7 * (torch.hypot(x, y) - 0.40 - 0.62 * tip**1.5)


def _cross(x: Tensor, y: Tensor) -> Tensor:
    x, y = x.abs(), y.abs()
    return torch.minimum(torch.maximum(x - 0.95, y - 0.3), torch.maximum(y - 0.95, x - 0.3))


def _ring(x: Tensor, y: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.64).abs() - 0.22


def _heart(x: Tensor, y: Tensor) -> Tensor:
    lobe = -1.05 * (y - 0.15) - 0.62 * (x.abs() + 1e-4).sqrt()
    return 0.6 * (x * x + lobe * lobe - 0.62)


def _moon(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(torch.hypot(x, y) - 0.9, 0.68 - torch.hypot(x - 0.42, y))


DISTANCE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": _circle, "square": _square, "triangle": _triangle, "star": _star,
    "cross": _cross, "ring": _ring, "heart": _heart, "moon": _moon,
}  # fmt: skip


def _texture(index: Tensor, u: Tensor, v: Tensor, pattern: Tensor) -> Tensor:
    """Draw a pattern in [-1, 1] at world coordinates u, v [n, f, h, w], zero for plain."""
    frequency, *phase = pattern[:, 1:7].T[..., None, None, None]
    stripes, bars = torch.sin(2 * frequency * u + phase[0]), torch.sin(2 * frequency * v + phase[1])
    waves = torch.sin(2.3 * u + 1.7 * v + phase[2]) + torch.sin(3.1 * v - 1.9 * u + phase[3])
    cloud = (
        waves + 0.8 * torch.sin(3.7 * u - 2.2 * v + phase[4]) + 0.6 * torch.sin(4.6 * v + 1.1 * u + phase[0])
    ) / 2
    looks = {
        "gradient": u.clamp(-1.2, 1.2),
        "striped": torch.tanh(3 * stripes),
        "checkered": torch.tanh(4.5 * stripes * bars),
        "dotted": torch.tanh(3 * (stripes + bars - 0.9)),
        "cloudy": cloud,
    }
    drawn = torch.zeros_like(u)
    for name, look in looks.items():
        drawn = torch.where((index == TEXTURES.index(name))[:, None, None, None], look, drawn)
    return drawn


def render(scenes: Scenes, size: int = SIZE) -> Tensor:
    """Draw the scenes: float32 [n, f, 3, size, size] in [-1, 1]."""
    device = scenes.shape.device
    path, wide = scenes.path, (slice(None), slice(None), None, None)
    axis = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    camera_x, camera_y, zoom, roll = (part[wide] for part in path.camera.unbind(-1))
    x, y = x / zoom, y / zoom
    world_x = roll.cos() * x - roll.sin() * y + camera_x
    world_y = roll.sin() * x + roll.cos() * y + camera_y

    turn = scenes.pattern[:, 0, None, None, None]
    u, v = world_x * turn.cos() + world_y * turn.sin(), world_y * turn.cos() - world_x * turn.sin()
    contrast = scenes.pattern[:, 7, None, None, None]
    look = (_texture(scenes.texture, u, v, scenes.pattern) * contrast)[:, :, None]
    ground = (
        torch.tensor(list(BACKGROUNDS.values()), device=device)[scenes.background] + 0.7 * scenes.tint[:, 3:]
    )
    ground = ground[:, None, :, None, None] * (1 + look) + 0.1 * look

    extent = (scenes.size[:, None] * path.scale)[wide]
    dx, dy = (world_x - path.center[..., 0][wide]) / extent, (world_y - path.center[..., 1][wide]) / extent
    cos, sin = path.angle[wide].cos(), path.angle[wide].sin()
    local_x, local_y = cos * dx + sin * dy, cos * dy - sin * dx
    distance = torch.zeros_like(local_x)
    for k, shape in enumerate(DISTANCE.values()):
        rows = scenes.shape == k
        distance[rows] = shape(local_x[rows], local_y[rows])
    cover = (0.5 - distance * extent * zoom * size / 2).clamp(0, 1)[:, :, None]  # one pixel of soft edge
    light = (
        local_x.clamp(-1, 1) * scenes.shade[:, 0, None, None, None]
        + local_y.clamp(-1, 1) * scenes.shade[:, 1, None, None, None]
    )
    paint = (torch.tensor(list(COLORS.values()), device=device)[scenes.color] + scenes.tint[:, :3])[
        :, None, :, None, None
    ]
    return (ground * (1 - cover) + paint * (1 + light[:, :, None]) * cover).clamp(0, 1) * 2 - 1


def to_uint8(video: Tensor) -> np.ndarray:
    """Turn [..., f, 3, h, w] in [-1, 1] into uint8 [..., f, h, w, 3]."""
    return ((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()


def reference_clip(seed: int, motion: str, looks: str = "any") -> tuple[np.ndarray, dict[str, object]]:
    """Draw a clip, uint8 [16, 64, 64, 3], and its truth: motion, words, centre [16, 2] in pixels."""
    scenes = sample_scenes(1, torch.Generator().manual_seed(seed), motions=(motion,), looks=looks)
    centre = (scenes.screen()[0] + 1) * SIZE / 2
    truth: dict[str, object] = {"motion": motion, "words": scenes.path.words[0], "centre": centre.tolist()}
    return to_uint8(render(scenes))[0], truth
