"""H.264 files that say where they come from, and that appear whole or not at all."""

import json
import math
import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import numpy as np

from motionecho.errors import BadSample, Damaged, Transient
from motionecho.runs.local import replacing
from motionecho.runs.provenance import description_of, is_generated, title_of, xmp
from motionecho.runs.sealed import read_object
from motionecho.video.boxes import XMP, append_box
from motionecho.video.index import check_file, open_video

# In order of preference. A build of FFmpeg without GPL parts has no libx264; MPEG-4 part 2 is in every one.
ENCODERS = ("libx264", "mpeg4")
CRF = 18  # of x264: smaller is better, and larger
OPTIONS = {
    # x264's output depends on the number of threads, and with B-frames varied from run to run at 64x64.
    # "medium" takes 2.5 times as long for a tenth of a decibel, and a GPU may be waiting.
    "libx264": {"crf": str(CRF), "preset": "veryfast", "threads": "2", "bf": "0"},
    "mpeg4": {"flags": "+qscale", "global_quality": str(2 * 118), "threads": "1"},  # 118: FF_QP2LAMBDA
}
SMPTE170M = 6  # BT.601 colours, and marked so: readers that ignore the mark assume BT.601 too


def write_video(
    path: str | os.PathLike[str],
    frames: np.ndarray,
    fps: float,
    provenance: Mapping[str, Any] | None = None,
    encoders: tuple[str, ...] = ENCODERS,
    crf: int = CRF,
) -> None:
    """Write frames uint8 [f, h, w, 3] RGB as an mp4: H.264, yuv420p, index in front.

    `provenance` goes into the container's comment as JSON, with what was done to the pixels under
    "encoding": the codec, its options and, as yuv420p has even sizes only, the columns and rows repeated at
    the right and bottom. Its prompt, or sample, is the title that players show; where it says that a model
    made the video, so do the description and an XMP packet, in IPTC's words. The file is written beside
    `path`, decoded again to see that it holds, and moved into place; on any failure `path` is untouched. The
    same arguments and FFmpeg give the same bytes.
    Raises ValueError for frames of another kind, UserError where the folder cannot be written to, Transient
    where encoding fails or the file does not decode to what was written (a full disk, as a rule).
    """
    _check(frames, fps)
    codec = _encoder(encoders)
    options = OPTIONS[codec] | ({"crf": str(crf)} if "crf" in OPTIONS[codec] else {})
    height, width = frames.shape[1:3]
    right, bottom = width % 2, height % 2
    encoding: dict[str, Any] = {"codec": codec, "options": options, "pixel_format": "yuv420p"}
    if right or bottom:
        encoding["padding"] = {"right": right, "bottom": bottom}
    origin = provenance or {}
    comment = json.dumps({**origin, "encoding": encoding}, ensure_ascii=False, allow_nan=False)
    told = {"comment": comment, "title": title_of(origin), "description": description_of(origin)}
    padded = np.pad(frames, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")
    with replacing(path) as temporary:
        try:
            _encode(temporary, padded, Fraction(fps).limit_denominator(1001), codec, options, told)
            if is_generated(origin):
                append_box(temporary, XMP, xmp(origin))  # FFmpeg writes none into an mp4
            held = _count(temporary, height + bottom, width + right)
        except (av.FFmpegError, BadSample, OSError) as problem:
            raise Transient(f'cannot write "{os.fspath(path)}" ({problem}); is the disk full?') from problem
        if held != len(frames):
            raise Transient(f'"{os.fspath(path)}" would hold {held} of {len(frames)} frames: it was not kept')


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what `write_video` noted in the file; an empty dict where the file says nothing of the kind.

    Raises BadSample where it is not a readable video.
    """
    path = os.fspath(path)
    check_file(path, path)
    with open_video(path) as container:
        comment = container.metadata.get("comment", "")
    try:
        return read_object(comment)
    except Damaged:  # somebody else's comment
        return {}


def _check(frames: np.ndarray, fps: float) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"frames must be uint8 [f, h, w, 3], f > 0, not {frames.dtype} {frames.shape}")
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a finite number above 0, not {fps}")


def _encoder(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            av.Codec(name, "w")
        except ValueError:  # av.codec.codec.UnknownCodecError
            continue
        return name
    raise ValueError(f"this FFmpeg has none of the encoders {', '.join(names)}; install PyAV's own wheel")


def _encode(
    path: str, frames: np.ndarray, rate: Fraction, codec: str, options: dict[str, str], told: dict[str, str]
) -> None:
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata.update({name: text for name, text in told.items() if text})
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = SMPTE170M
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=SMPTE170M)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _count(path: str, height: int, width: int) -> int:
    """Return how many frames of this size the file decodes to."""
    with open_video(path) as container:
        return sum((frame.height, frame.width) == (height, width) for frame in container.decode(video=0))
