"""Small videos whose frames tell their number, written as users' files are; shared by the video tests."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest

from motionecho.errors import BadSample
from motionecho.video import Window, read_clip

HEIGHT, WIDTH = 48, 64
WHOLE = Window()
# decord has no wheel for some machines
INSTALLED = ("decord", "pyav") if find_spec("decord") else ("pyav",)


def numbered(count: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Frames that tell their number: grey level 5*k + 10, with a bright block in the upper left corner."""
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = (10 + 5 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    frames[:, : height // 4, : width // 4] = (240, 60, 20)
    return frames


def numbers(frames: np.ndarray) -> list[int]:
    """Read the numbers back out of the middle of each frame."""
    height, width = frames.shape[1:3]
    middle = frames[:, height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4]
    return [round((level - 10) / 5) for level in middle.mean((1, 2, 3))]


def make(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int = 8,
    at_ms: Iterable[int] | None = None,
    turn: int = 0,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    gop: int = 12,
    front: bool = False,
    options: dict[str, str] | None = None,
    input: str = "rgb24",
) -> Path:
    with av.open(str(path), "w", options={"movflags": "+faststart"} if front else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.gop_size = gop
        if turn:
            stream.set_display_rotation(turn)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        clock = Fraction(1, rate) if at_ms is None else Fraction(1, 1000)
        stream.codec_context.time_base = clock
        for stamp, image in zip(range(len(frames)) if at_ms is None else at_ms, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format=input)
            frame.pts, frame.time_base = stamp, clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def both(path: Path, frames: int, window: Window = WHOLE, **how: object) -> np.ndarray:
    """Read by PyAV and, where it is installed, by decord; insist that they agree, return the frames."""
    size = {"height": HEIGHT, "width": WIDTH} | how
    clips = {b: read_clip(path, frames, window=window, backend=b, **size) for b in INSTALLED}
    for backend, clip in clips.items():
        assert clip.backend == backend
        assert clip.indices == clips["pyav"].indices
        np.testing.assert_array_equal(clip.frames, clips["pyav"].frames)
    return clips["pyav"].frames


def refusal(path: Path, frames: int = 16, **how: object) -> str:
    """The sentence with which every backend refuses the file: one line that names it."""
    said = set()
    for backend in ("auto", "decord", "pyav"):
        with pytest.raises(BadSample) as caught:
            read_clip(path, frames, HEIGHT, WIDTH, backend=backend, **how)
        said.add(str(caught.value))
    assert len(said) == 1
    sentence = said.pop()
    assert f'"{path}"' in sentence
    assert "\n" not in sentence
    assert ";" in sentence  # the way out follows
    return sentence


REPEATED = {
    "x264-params": "repeat-headers=1:bframes=0",
    "x265-params": "repeat-headers=1:bframes=0:log-level=none",
}


def joined(
    path: Path, parts: Iterable[np.ndarray], codec: str = "libx264", header: tuple[int, int] | None = None
) -> Path:
    """Write parts, each coded on its own, one after the other; the header says `header` (height, width)."""
    parts = list(parts)
    options = {"libx264": REPEATED, "libx265": REPEATED, "libvpx-vp9": {"lag-in-frames": "0"}}.get(codec, {})
    shown = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8, options=options)
        stream.height, stream.width = header or parts[0].shape[1:3]
        stream.pix_fmt = pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for frames in parts:
            coder = av.CodecContext.create(codec, "w")
            coder.height, coder.width = frames.shape[1:3]
            coder.pix_fmt, coder.framerate, coder.time_base, coder.options = (
                pixels,
                8,
                Fraction(1, 8),
                options,
            )
            images = [av.VideoFrame.from_ndarray(image, format="rgb24") for image in frames]
            for frame in [*images, None]:
                if frame is not None:
                    frame.pts, frame.time_base, shown = shown, Fraction(1, 8), shown + 1
                for packet in coder.encode(frame and frame.reformat(format=pixels)):
                    packet.stream, packet.time_base = stream, Fraction(1, 8)
                    container.mux(packet)
    return path
