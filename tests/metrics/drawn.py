"""Videos drawn for these tests: a textured square over a textured wall, moved by square or by camera."""

import cv2
import numpy as np
from numpy.typing import NDArray


def texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Smooth coloured noise uint8 [h, w, 3] with structure at two scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for sigma, weight in ((1.5, 1.0), (5.0, 1.5)):
        layer = cv2.GaussianBlur(rng.normal(size=(height, width, 3)), (0, 0), sigma)
        total += weight * layer / layer.std()
    return np.clip(128 + 35 * total, 0, 255).astype(np.uint8)


def square(
    dx: float, dy: float = 0.0, *, seed: int = 0, size: int = 64, frames: int = 16
) -> NDArray[np.uint8]:
    """A square of size/2.5 crosses the centre by (dx, dy) px a frame over a wall that stays."""
    wall = texture(size, size, seed)
    side = int(size / 2.5)
    patch = texture(side, side, seed + 100)
    video = []
    for index in range(frames):
        offset = index - (frames - 1) / 2
        x, y = (size - side) / 2 + offset * dx, (size - side) / 2 + offset * dy
        move = np.array([[1, 0, x], [0, 1, y]], np.float32)
        drawn = cv2.warpAffine(patch, move, (size, size))
        alpha = cv2.warpAffine(np.ones((side, side), np.float32), move, (size, size))[..., None]
        video.append(np.clip(drawn * (alpha > 0.5) + wall * (alpha <= 0.5), 0, 255).astype(np.uint8))
    return np.stack(video)


def camera(
    dx: float = 0.0, zoom: float = 1.0, *, seed: int = 0, height: int = 64, width: int = 64, frames: int = 16
) -> NDArray[np.uint8]:
    """The picture moves by dx px a frame and grows by the factor `zoom` a frame about its centre."""
    world = texture(3 * height, 3 * width, seed)
    video = []
    for index in range(frames):
        offset = index - (frames - 1) / 2
        scale = zoom**offset
        x, y = width / 2 + offset * dx - scale * 1.5 * width, height / 2 - scale * 1.5 * height
        move = np.array([[scale, 0, x], [0, scale, y]], np.float32)
        video.append(cv2.warpAffine(world, move, (width, height), borderMode=cv2.BORDER_REFLECT))
    return np.stack(video)


def ball(
    path: NDArray[np.float64], ground: int, seed: int | None = None, size: int = 64
) -> NDArray[np.uint8]:
    """A ball 5 px wide is where `path` [f, 2] says, on plain grey or, with a seed, on a texture."""
    wall = np.full((size, size, 3), ground) if seed is None else texture(size, size, seed)
    y, x = np.mgrid[:size, :size]
    video = []
    for centre in path:
        alpha = np.clip(3 - np.hypot(x - centre[0], y - centre[1]), 0, 1)[..., None]
        video.append((wall * (1 - alpha) + np.array([250, 220, 40]) * alpha).astype(np.uint8))
    return np.stack(video)
