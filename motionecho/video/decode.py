"""Frames out of an indexed file, by decord or by PyAV: the same frames, pixel for pixel.

decord decodes what it was seen to decode exactly as PyAV does; for the rest it is DecordUnable, and PyAV
decodes.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from motionecho.errors import BadSample
from motionecho.video.alpha import Beside, pixels
from motionecho.video.index import REENCODE, Source, check_size, codec_options, open_video

# Where decord 0.6 gives PyAV's pixels bit for bit; its 10-bit colours differ by up to 87 levels.
DECORD_FORMATS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuv444p"})
Color = tuple[int, int, int]
THREADS = 2  # a worker shares its machine with others


class DecordUnable(Exception):
    """A file that decord cannot read, or would read differently than PyAV, or that has no decord here."""


def decode(
    source: Source, indices: list[int], backend: str, background: Color = (0, 0, 0)
) -> Iterator[np.ndarray]:
    """Yield the frames at ascending distinct `indices`, upright, uint8 [h, w, 3] RGB, one at a time.

    `backend` is "decord" or "pyav"; `background` is laid under what is transparent. Raises DecordUnable
    (decord) or BadSample (PyAV) where a frame cannot be had. Bytes flipped inside a stream that still parses
    give wrong pixels without an error in both.
    """
    return _decord(source, indices) if backend == "decord" else _pyav(source, indices, background)


def _decord(source: Source, indices: list[int]) -> Iterator[np.ndarray]:
    if not source.steady:  # it rescales frames of another size, in silence and however large they are
        raise DecordUnable("only H.264 with one parameter set is sure to keep its size")
    if source.beside or source.info.orientation.mirrored:
        raise DecordUnable("it knows no transparency and no mirrored pictures")
    if source.pixel_format not in DECORD_FORMATS:
        raise DecordUnable(f"it converts {source.pixel_format} differently")
    # a neighbour of the frame asked for: seen with open-GOP H.264 and HEVC, MPEG-2 and -4, H.264 in avi
    if source.stamps is None or not source.closed:
        raise DecordUnable("it takes wrong frames where groups of pictures are open or times are missing")
    try:
        import decord
    except (ImportError, OSError) as problem:  # OSError: a wheel whose shared library does not load here
        raise DecordUnable("it is not installed") from problem
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(source.path, ctx=decord.cpu(0), num_threads=THREADS)
        if len(reader) != source.info.frames:
            raise DecordUnable(f"it counts {len(reader)} frames instead of {source.info.frames}")
        for index in indices:
            frame = reader[index].asnumpy()
            if frame.shape != (source.info.height, source.info.width, 3):
                raise DecordUnable(f"it gives frames of another shape, {frame.shape}")
            yield frame
    except (RuntimeError, decord.DECORDError) as problem:
        raise DecordUnable("it cannot read the file") from problem


def _pyav(source: Source, indices: list[int], background: Color) -> Iterator[np.ndarray]:
    """Decode from the last keyframe that serves; where that does not give every frame, from the start."""
    missing = list(indices)
    try:
        for seek in dict.fromkeys((_keyframe(source, indices[0]), None)):
            for index, frame, beside in _from(source, seek):
                check_size(source.name, source.stored, frame.width, frame.height, index)
                if index > missing[0]:
                    break
                if index == missing[0]:
                    yield source.info.orientation.upright(pixels(frame, beside, background))
                    missing.pop(0)
                    if not missing:
                        return
    except av.FFmpegError as problem:
        raise BadSample(
            f'"{source.name}" cannot be decoded ({problem.strerror}): a part is damaged, or its frames grow '
            f"beyond what is read; {REENCODE}"
        ) from problem
    raise BadSample(f'"{source.name}" does not give its frame {missing[0]}; {REENCODE}')


def _keyframe(source: Source, index: int) -> int | None:
    """Find where to seek for frame `index`: the last keyframe shown up to then; None for the start."""
    if source.stamps is None:
        return None
    place = bisect_right(source.keyframes, source.stamps[index])
    return source.keyframes[place - 1] if place > 1 else None


def _from(source: Source, seek: int | None) -> Iterator[tuple[int, Any, np.ndarray | None]]:
    """Yield (index, frame, transparency beside it) as shown, from the start or from a keyframe's stamp on."""
    place = None if source.stamps is None else {stamp: k for k, stamp in enumerate(source.stamps)}
    with open_video(source.path) as container:
        stream = container.streams.best("video")
        stream.codec_context.options = codec_options()
        stream.codec_context.thread_count = THREADS
        beside = _beside(stream) if source.beside else None
        if seek is not None:
            container.seek(seek, stream=stream)
        count = -1
        for packet in container.demux(stream):
            if beside is not None:
                beside.see(packet)
            for frame in packet.decode():
                count += 1
                index = count if place is None else place.get(frame.pts)
                if index is not None:
                    yield index, frame, None if beside is None else beside.of(frame)


def _beside(stream: Any) -> Beside:
    coder = av.CodecContext.create(stream.codec_context.name, "r")
    coder.options, coder.thread_count = codec_options(), 1
    return Beside(coder)
