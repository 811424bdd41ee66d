"""The verbs of a notebook: a clip to its motion, a motion to a video, a video to figures.

The way from one to the other:

    pair = motionecho.load_pair("toy")
    motion = motionecho.invert(pair, "bounce.mp4")
    video = motionecho.generate(pair, motion, "a red star on a blue background", seed=42)
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motionecho.config import EchoConfig
from motionecho.errors import UserError, nearest
from motionecho.inversion import Motion
from motionecho.make import Made, Maker, OnStep
from motionecho.metrics import METRICS, Item, load_metrics, usual_metrics
from motionecho.models.pair import ModelPair
from motionecho.runs.files import fetch
from motionecho.video import Clip, Window
from motionecho.video.whole import read_like, read_whole

Video = str | Path | Made | Clip


def invert(pair: ModelPair, reference: str | Path | Clip, config: EchoConfig | None = None) -> Motion:
    """Distil the motion of a clip: a path, a URL, or what `read_clip` gave at the pair's size and length.

    Warns of what is odd about it, as HDR. Raises BadSample where it cannot be read or inverted.
    """
    maker, config = Maker(pair), config or pair.spec.defaults
    under = config.reference.background
    clip = reference if isinstance(reference, Clip) else maker.clip(str(reference), background=under)
    for remark in clip.remarks:
        warnings.warn(remark, stacklevel=2)
    return maker.motion(clip, config)


def generate(
    pair: ModelPair,
    motion: Motion,
    prompt: str,
    seed: int = 0,
    config: EchoConfig | None = None,
    negative_prompt: str = "",
    on_step: OnStep | None = None,
) -> Made:
    """Make a video that follows a motion and shows what the prompt says; settings default to the pair's own.

    on_step is called with the trace of every student step when it is done. Raises BadSample where the prompt
    cannot be read or latents become not finite.
    """
    return Maker(pair).make(motion, prompt, seed, config, negative_prompt, on_step=on_step)


def score(
    video: Video,
    reference: Video | None = None,
    prompt: str | None = None,
    metrics: Sequence[str] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Take the figures of one video, in this process: one flat dict, `<metric>_skipped` where one cannot run.

    Without `metrics` the usual ones are taken. Raises UserError on an unknown metric, BadSample on a video
    that cannot be read.
    """
    names = tuple(metrics or usual_metrics())
    for name in names:
        if name not in METRICS:
            raise UserError(f'unknown metric "{name}"{nearest(name, METRICS)}; known: {", ".join(METRICS)}')
    loaded, skipped = load_metrics(names, device)
    frames, fps = _whole(video)
    beside = None if reference is None else _beside(reference, frames)
    item = Item(frames, beside, prompt or "", fps)
    figures: dict[str, Any] = {name: value for metric in loaded for name, value in metric(item).items()}
    return figures | {f"{name}_skipped": reason for name, reason in skipped.items()}


def _whole(video: Video) -> tuple[NDArray[np.uint8], float]:
    if isinstance(video, Made | Clip):
        return video.frames, video.fps
    with fetch(str(video)) as path:
        clip = read_whole(path, str(video))
    return clip.frames, clip.fps


def _beside(reference: Video, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(reference, Made | Clip):
        return reference.frames
    size = (len(frames), *frames.shape[1:3])
    with fetch(str(reference)) as path:
        return read_like(path, size, Window(), "crop", str(reference)).frames
