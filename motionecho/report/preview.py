"""Reference and result side by side in one small file, so that a browser cannot but play them in step."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from motionecho.runs.provenance import beside_reference
from motionecho.video import write_video

HEIGHT = 256  # pixels at most; smaller frames are enlarged by whole factors up to it
ENCODERS = ("libx264",)  # no browser plays what takes its place elsewhere


def write_preview(
    path: str | os.PathLike[str],
    reference: np.ndarray,
    result: np.ndarray,
    fps: float,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write an mp4 of both clips, uint8 [f, h, w, 3] RGB; raises as `write_video` does.

    `origin` is the provenance of the result. ValueError, too, where this FFmpeg writes no H.264.
    """
    frames = side_by_side(reference, result)
    write_video(path, frames, fps, beside_reference(origin or {}), encoders=ENCODERS, crf=23)


def side_by_side(reference: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Return frames [f, h', 2w', 3] with the reference at the left; sizes even, as many frames as results.

    A reference of another length or size is spread over the result's.
    """
    return np.concatenate([at_height(spread(reference, len(result)), result.shape), at_height(result)], 2)


def spread(frames: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the frames, spread evenly from the first to the last, repeated where they are few."""
    if len(frames) == count:
        return frames
    return frames[[k * (len(frames) - 1) // max(1, count - 1) for k in range(count)]]


def at_height(frames: np.ndarray, shape: tuple[int, ...] = ()) -> np.ndarray:
    """Bring frames to what a preview shows of frames of that shape (their own): 256 pixels high, or less.

    Small ones are enlarged unsmoothed, so that every pixel made is seen.
    """
    height, width = (shape or frames.shape)[1:3]
    factor = HEIGHT // height if height <= HEIGHT else HEIGHT / height
    size = _even(width * factor), _even(height * factor)
    if factor >= 1 and size == (frames.shape[2] * factor, frames.shape[1] * factor):
        return frames.repeat(int(factor), 1).repeat(int(factor), 2)
    how = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, how)) for frame in frames])


def _even(side: float) -> int:
    return max(2, 2 * round(side / 2))
