"""H.264 files that say where they come from, and that appear whole or not at all."""

import json
import math
import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np

from motionecho.atomic import replacing
from motionecho.errors import BadSample, Transient
from motionecho.video_index import REENCODE, inspect, open_video

# In order of preference. A build of FFmpeg without GPL parts has no libx264; MPEG-4 part 2 is in every one.
ENCODERS = ("libx264", "mpeg4")
OPTIONS = {
    # A fixed number of threads, as x264's output depends on it: the same frames give the same bytes everywhere.
    "libx264": {"crf": "18", "preset": "medium", "threads": "2"},
    "mpeg4": {"flags": "+qscale", "global_quality": str(2 * 118), "threads": "1"},  # 118 is FFmpeg's FF_QP2LAMBDA
}
# The colours are coded by BT.601 and marked so: readers that ignore the mark assume BT.601 too.
SMPTE170M = 6
MAX_SIDE = 16384


def write_video(
    path: str | os.PathLike[str],
    frames: np.ndarray,
    fps: float,
    provenance: Mapping[str, Any] | None = None,
    encoders: tuple[str, ...] = ENCODERS,
) -> None:
    """Write frames uint8 [f, h, w, 3] RGB as an mp4: H.264, yuv420p, crf 18, index in front (streams at once).

    `provenance` goes into the container's comment as JSON, with what was done to the pixels under "encoding": the
    codec and, as yuv420p has even sizes only, the columns and rows repeated at the right and bottom edge. Written
    beside `path`, decoded again to see that it holds, and moved into place: on any failure `path` is untouched.
    Raises ValueError for frames of another kind, UserError where the folder cannot be written to, Transient where
    encoding fails or the file does not decode to what was written (a full disk, as a rule).
    """
    _check(frames, fps)
    codec = _encoder(encoders)
    height, width = frames.shape[1:3]
    right, bottom = width % 2, height % 2
    encoding: dict[str, Any] = {"codec": codec, "options": OPTIONS[codec], "pixel_format": "yuv420p"}
    if right or bottom:
        encoding["padding"] = {"right": right, "bottom": bottom}
    comment = json.dumps({**(provenance or {}), "encoding": encoding}, ensure_ascii=False, allow_nan=False)
    padded = np.pad(frames, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")
    with replacing(path) as temporary:
        try:
            _encode(temporary, padded, fps, codec, comment)
            info = inspect(temporary).info
        except (av.FFmpegError, BadSample, OSError) as problem:
            raise Transient(f'could not write "{os.fspath(path)}": {problem}') from problem
        shown = sum(1 for _ in _shapes(temporary, padded.shape[1:3]))
        if (shown, info.frames) != (len(frames), len(frames)):
            raise Transient(f'"{os.fspath(path)}" holds {shown} of {len(frames)} frames after writing')
