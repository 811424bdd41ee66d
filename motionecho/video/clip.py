"""Clips out of videos: choose frames, bring them to a size. Writing, in `write.py`, has its names here too.

    clip = read_clip("horse.mp4", frames=16, height=320, width=512, window=Window(start=1.0, fps=8))
    write_video("echo.mp4", clip.frames, clip.fps, provenance=None)

Whatever is wrong with a file is a BadSample of one sentence: its name, what is wrong, the way out.
"""

import math
import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from motionecho.errors import BadSample, UserError, nearest
from motionecho.video.alpha import color
from motionecho.video.decode import Color, DecordUnable, decode
from motionecho.video.index import Source, VideoInfo, inspect
from motionecho.video.write import read_provenance, write_video

__all__ = ["Clip", "VideoInfo", "Window", "probe", "read_clip", "read_provenance", "select", "write_video"]

FITS = ("crop", "resize", "pad")
BACKENDS = ("auto", "decord", "pyav")
TICK = 1e-3  # seconds: many files have been through matroska, which rounds times to milliseconds


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a clip to take: from `start` for at most `duration` seconds, at `fps` frames per second.

    Without `fps` the frames are spread evenly over the window. A duration beyond the clip's end stops at
    the end. Raises BadSample where a value is not a finite number in its range.
    """

    start: float = 0.0
    duration: float | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start >= 0):
            raise BadSample(f"the window's start is {self.start}; give seconds from 0 on")
        limits = (("duration", self.duration, "seconds"), ("fps", self.fps, "frames per second"))
        for field, value, unit in limits:
            if value is not None and not (math.isfinite(value) and value > 0):
                raise BadSample(f"the window's {field} is {value}; give {unit} above 0, or leave it out")


@dataclass(frozen=True)
class Clip:
    """A clip of frames uint8 [f, h, w, 3] RGB, their rate, and where they came from.

    `indices` are the frames' places in the file as shown; `backend` is what decoded them.
    """

    frames: np.ndarray
    fps: float
    indices: tuple[int, ...]
    info: VideoInfo
    backend: str
    remarks: tuple[str, ...] = ()  # what its viewer should know, a sentence each


def probe(path: str | os.PathLike[str], name: str | None = None) -> VideoInfo:
    """Describe a local video, decoding only its first frame; raises BadSample like `read_clip`."""
    return inspect(path, name).info


def frames_in(path: str | os.PathLike[str], window: Window, name: str | None = None) -> int:
    """Count the frames of a local video in a window, at the window's rate if it has one; as `read_clip`."""
    source = inspect(path, name)
    tick = max(TICK, 1.01 * source.tick)
    stop = _stop(source.info.duration, window)
    if window.fps is not None:
        return max(0, math.ceil((stop - tick - window.start) * window.fps))
    return len(_inside(source.times, window, stop, tick))


def read_clip(
    path: str | os.PathLike[str],
    frames: int,
    height: int,
    width: int,
    window: Window = Window(),
    fit: str = "crop",
    *,
    backend: str = "auto",
    name: str | None = None,
    background: str = "black",
) -> Clip:
    """Read `frames` frames of a local video at `height` x `width` pixels; see `select` for which ones.

    `fit`: "crop" scales to cover and crops the centre, "resize" stretches, "pad" scales to fit between
    black bars. Scaling is Pillow's bicubic: antialiased when it shrinks, and integer arithmetic, so the
    same on every machine. `backend`: "decord", "pyav", or "auto", which is decord where it reads the file
    exactly as PyAV does. `name` is what messages call the file. `background` is the colour, by name or
    as #rrggbb, that is laid under what is transparent. One frame is in memory at full size at a time.

    Raises BadSample, one sentence with the file and the way out, for everything that is wrong with the file
    or the window, and UserError for an unknown `fit`, `backend` or colour.
    """
    for value, choices, what in ((fit, FITS, "fit"), (backend, BACKENDS, "backend")):
        if value not in choices:
            raise UserError(f'unknown {what} "{value}"{nearest(value, choices)}; use {", ".join(choices)}')
    if min(frames, height, width) < 1:
        raise UserError(f"asked for {frames} frames of {height}x{width} pixels; ask for 1 or more of each")
    source = inspect(path, name)
    indices = select(source.times, source.info.duration, frames, window, source.name, source.tick)
    under = color(background)
    pixels, used = _decode(source, sorted(set(indices)), height, width, fit, backend, under)
    span = float(source.times[indices[-1]] - source.times[indices[0]])
    fps = window.fps or ((frames - 1) / span if frames > 1 else source.info.fps)
    stacked = np.stack([pixels[index] for index in indices])
    return Clip(stacked, fps, indices, source.info, used, _remarks(source))


def select(
    times: np.ndarray, end: float, frames: int, window: Window, name: str, tick: float = 0.0
) -> tuple[int, ...]:
    """Choose `frames` indices, ascending, out of frames first shown at `times` [n] seconds until `end`.

    Without fps: MotionClone's rule, integer linspace(0, total - 1, frames) over the window's frames; where
    they are spaced unevenly (variable frame rate), the frames on display at evenly spaced instants instead.
    With fps: the frames on display at start, start + 1/fps, ... A frame may be repeated, but never so that
    fewer than half of those asked for (or than 2) are different ones: a stutter is not a motion to copy.
    `tick` is how far times may be rounded. Raises BadSample saying how many there are and are needed.
    """
    tick = max(TICK, 1.01 * tick)
    stop = _stop(end, window)
    if window.start >= end - tick:
        raise BadSample(f'"{name}" ends at {end:.2f} s, the window starts at {window.start:g}; start earlier')
    if window.fps is not None:
        instants = window.start + np.arange(frames) / window.fps
        if instants[-1] >= stop - tick:
            fitting = int(np.count_nonzero(instants < stop - tick))
            raise BadSample(
                f'"{name}" has {fitting} frames from {window.start:g} to {stop:.2f} s at {window.fps:g} fps '
                f"and {frames} are needed; lower the fps, widen the window, or leave the fps out"
            )
        chosen, stop = _on_display(times, instants + tick), float(instants[-1]) + 1 / window.fps
    else:
        inside = _inside(times, window, stop, tick)
        if not len(inside):
            raise BadSample(f'"{name}" has no frame from {window.start:g} to {stop:.2f} s; widen the window')
        if _even(times[inside]):
            chosen = [int(inside[k * (len(inside) - 1) // max(1, frames - 1)]) for k in range(frames)]
        else:
            chosen = _on_display(times, np.linspace(times[inside[0]], times[inside[-1]], frames) + tick)
    different, needed = len(set(chosen)), max(min(frames, 2), -(-frames // 2))
    if different < needed:
        count = "1 frame" if different == 1 else f"{different} different frames"
        raise BadSample(
            f'"{name}" has {count} from {window.start:g} to {stop:.2f} s and {frames} are needed, at least '
            f"{needed} of them different; use a longer clip, a wider window, or a lower fps"
        )
    return tuple(chosen)


def _remarks(source: Source) -> tuple[str, ...]:
    if not source.info.hdr:
        return ()
    return (
        f'"{source.name}" is HDR ({source.info.hdr}): read as it is, its colours come out pale; to have true '
        "ones, convert it: ffmpeg -i IN -vf zscale=t=linear:npl=100,format=gbrpf32le,tonemap=hable,"
        "zscale=p=bt709:t=bt709:m=bt709:r=tv,format=yuv420p OUT.mp4",
    )


def _stop(end: float, window: Window) -> float:
    return end if window.duration is None else min(end, window.start + window.duration)


def _inside(times: np.ndarray, window: Window, stop: float, tick: float) -> np.ndarray:
    return np.flatnonzero((times >= window.start - tick) & (times < stop - tick))


def _on_display(times: np.ndarray, instants: np.ndarray) -> list[int]:
    return [max(0, int(k) - 1) for k in np.searchsorted(times, instants, side="right")]


def _even(times: np.ndarray) -> bool:
    """Tell whether every frame is within half an interval of its place on an even scale."""
    if len(times) < 3:
        return True
    scale = np.linspace(times[0], times[-1], len(times))
    return bool(np.abs(times - scale).max() < 0.5 * (scale[1] - scale[0]))


def _decode(
    source: Source, indices: list[int], height: int, width: int, fit: str, backend: str, background: Color
) -> tuple[dict[int, np.ndarray], str]:
    for used in ("decord", "pyav") if backend == "auto" else (backend,):
        try:
            frames = decode(source, indices, used, background)
            aspect = source.info.pixel_aspect
            fitted = (_fit(frame, height, width, fit, aspect) for frame in frames)
            return dict(zip(indices, fitted, strict=True)), used
        except DecordUnable as problem:
            if backend == "decord":
                sentence = f'decord cannot read "{source.name}": {problem}; use backend "auto"'
                raise BadSample(sentence) from problem
    raise AssertionError("PyAV either decodes or raises BadSample")


def _fit(frame: np.ndarray, height: int, width: int, fit: str, pixel_aspect: float) -> np.ndarray:
    """Bring [h, w, 3] to [height, width, 3]; `pixel_aspect` is width over height of a source pixel."""
    image = Image.fromarray(frame)
    shown = image.width * pixel_aspect  # width in units of a pixel's height
    if fit == "resize":
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    if fit == "crop":
        left = max(0.0, image.width - image.height * width / height / pixel_aspect) / 2
        top = max(0.0, image.height - shown * height / width) / 2
        box = (left, top, image.width - left, image.height - top)
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))
    scale = min(width / shown, height / image.height)
    inner = (max(1, round(shown * scale)), max(1, round(image.height * scale)))
    canvas = Image.new("RGB", (width, height))
    place = ((width - inner[0]) // 2, (height - inner[1]) // 2)
    canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), place)
    return np.asarray(canvas)
