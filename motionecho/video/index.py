"""The contents of a video file: every check on a file that a stranger made lives here.

The index (when each frame is shown, where the keyframes are) is always PyAV's, so both decoders are asked
for the same frames. It reads packets, not pictures: a 1080p minute takes milliseconds.
"""

import os
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from motionecho.errors import BadSample
from motionecho.video.alpha import is_beside
from motionecho.video.orientation import Orientation
from motionecho.video.packets import Packet, ends_early, is_closed, shown_from, times_of
from motionecho.video.parameter_sets import FILTERS, ParameterSets
from motionecho.video.shown import shows

# Caps that keep one row of a manifest from holding a worker for minutes or filling its memory.
MAX_SECONDS = 600.0  # a reference shows one motion: the models here look at one to six seconds of it
MAX_FRAMES = 144_000  # ten minutes at 240 frames per second: bounds the index of a file with false times
MAX_FRAME_PIXELS = 2**25  # 8K UHD is 33.2 million; a decoder may hold 17 such frames of 50 MB each
MAX_PIXELS = 50_000_000_000  # width*height*frames: ten minutes of 1080p at 30 fps are 37 billion

# What a file may be. Playlists (hls, concat, dash) are left out: they would open other files and URLs.
OPEN_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif",
    "protocol_whitelist": "file",
}
# PyAV 19 reads odd metadata without being asked to, and no longer takes the word.
LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
HDR = {16: "PQ", 18: "HLG"}  # by the number of a stream's transfer characteristics (ITU-T H.273)
CUT = "cut out and scale down what you need: ffmpeg -ss START -t SECONDS -i IN -vf scale=-2:720 OUT.mp4"
REENCODE = "make it again or re-encode it: ffmpeg -i IN -pix_fmt yuv420p OUT.mp4"


UPRIGHT = Orientation()


@dataclass(frozen=True)
class VideoInfo:
    """A video as it is shown: `width` and `height` in pixels once it is upright, `duration` in seconds.

    `fps` is the mean rate, `orientation` what sets stored frames upright, `pixel_aspect` the width of a shown
    pixel over its height. `hdr` names the kind of light that its values stand for, "HLG" or "PQ", or is "".
    """

    frames: int
    fps: float
    width: int
    height: int
    duration: float
    orientation: Orientation = UPRIGHT
    pixel_aspect: float = 1.0
    hdr: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in square pixels: as wide as it is shown, where its pixels are not square."""
        return self.height, max(1, round(self.width * self.pixel_aspect))


@dataclass(frozen=True)
class Source:
    """A checked file and its index. `times` [frames]: when each is shown, in seconds from the first.

    Frames are those that a decoder can show: none that lean on a part which the file does not hold.
    """

    path: str
    name: str  # what messages call it
    info: VideoInfo
    times: np.ndarray
    tick: float  # seconds by which a time may be rounded: half a unit of the stream's clock
    stamps: tuple[int, ...] | None  # `times` in the stream's clock; None where frames are told by number
    keyframes: tuple[int, ...]  # their stamps, ascending
    closed: bool  # no frame is shown before the keyframe that it follows in the file
    pixel_format: str
    stored: tuple[int, int]  # width and height of frames before they are turned
    steady: bool  # nothing in the file can be of another size or format; else only decoding tells
    beside: bool  # its transparency is in packets beside it


def open_video(path: str, name: str | None = None) -> Any:
    """Open a PyAV input, a plain container on the local disk; the caller closes it. Else raise BadSample.

    The sizes in its header are those that memory is taken for: margins that a stream cuts off are in them.
    """
    try:
        return av.open(path, options=OPEN_OPTIONS | codec_options(margins=True), **LENIENT)
    except av.FFmpegError as problem:
        raise BadSample(
            f'"{name or path}" is no mp4, mov, mkv, webm, avi or gif, whatever its name, or a part of one; '
            f"copy or download it again, or {REENCODE}"
        ) from problem


def codec_options(margins: bool = False) -> dict[str, str]:
    """Make options for a decoder: none takes memory beyond the cap, which is for frames with `margins`."""
    # FFmpeg applies max_pixels to what is left of a frame: 64x64 may be all that is shown of 16384x16384
    return {"max_pixels": str(MAX_FRAME_PIXELS), "flags2": f"{'+' if margins else '-'}ignorecrop"}


def inspect(path: str | os.PathLike[str], name: str | None = None) -> Source:
    """Index a local video file: read every packet, decode one frame.

    `name` is what messages call the file (default: its path). Raises BadSample, one sentence, where the
    file is missing, empty, no regular file, not a video, cut short, beyond the caps above, of more than one
    size, or undecodable at its first frame. Where H.264 or HEVC hold several parameter sets, all frames are
    decoded to see their sizes; for codecs without any, `check_size` sees each frame that is asked for.
    """
    path = os.fspath(path)
    name = name or path
    check_file(path, name)
    try:
        with open_video(path, name) as container:
            stream = _video_stream(container, name)
            sets = ParameterSets(stream)
            packets = _packets(container, stream, sets, name)
            rate = float(stream.average_rate or 1)
            aspect = float(stream.sample_aspect_ratio or 1)
            unit = float(stream.time_base or 0)
            steady = sets.single and len(container.streams.video) == 1
            beside, kind = is_beside(stream), container.format.name
            _check_area(stream.codec_context, len(packets), name)
        for margins in (True, False) if sets.codec in FILTERS else (False,):
            first = _first_frame(path, name, sets.several or beside, margins)
            _check_area(first, len(packets), name)
    except av.FFmpegError as problem:
        raise BadSample(f'"{name}" cannot be decoded ({problem.strerror}); {REENCODE}') from problem
    times, end, stamps = times_of(shown_from(packets, first.pts), unit, rate)
    if end > MAX_SECONDS:
        raise BadSample(_too_long(name, end))
    orientation = Orientation.of(first)
    if orientation is None:
        raise BadSample(f'"{name}" asks to be shown turned by {first.rotation} degrees; {REENCODE}')
    turned = orientation.transposed
    aspect = aspect if 0.25 <= aspect <= 4 else 1.0  # beyond that it is a mistake, and players ignore it
    info = VideoInfo(
        frames=len(times),
        fps=(len(times) - 1) / float(times[-1]) if len(times) > 1 and times[-1] else rate,
        width=first.height if turned else first.width,
        height=first.width if turned else first.height,
        duration=end,
        orientation=orientation,
        pixel_aspect=1 / aspect if turned else aspect,
        hdr=HDR.get(int(first.color_trc), ""),
    )
    keyframes = sorted(p.stamp for p in packets if p.keyframe and p.stamp is not None)
    # avi stamps packets by their place while decoders reorder them; gif frames build on all before them
    stamps = None if kind in ("avi", "gif") else stamps
    stored, closed = (first.width, first.height), is_closed(packets)
    return Source(
        path, name, info, times, unit / 2, stamps, tuple(keyframes), closed, first.format.name, stored,
        steady, beside,
    )  # fmt: skip


def check_size(name: str, first: tuple[int, int], width: int, height: int, number: int) -> None:
    """Raise BadSample where frame `number` is not as wide and high as the first: no decoder rescales it."""
    if (width, height) != first:
        raise BadSample(
            f'"{name}" changes its size from {first[0]}x{first[1]} to {width}x{height} at frame {number}; '
            f"{REENCODE}"
        )


def check_file(path: str, name: str) -> None:
    """Raise BadSample where there is no readable, non-empty, regular file at `path`."""
    if os.path.isdir(path):
        raise BadSample(f'"{name}" is a folder, not a video file; name a file in it')
    if not os.path.exists(path):
        raise BadSample(f'"{name}" does not exist; check the path')
    if not os.path.isfile(path):  # a pipe would block for ever
        raise BadSample(f'"{name}" is not a regular file; copy the video to one')
    if not os.access(path, os.R_OK):
        raise BadSample(f'no permission to read "{name}"; change its mode or owner')
    if os.path.getsize(path) == 0:
        raise BadSample(f'"{name}" is empty (0 bytes); copy or download it again')


def _video_stream(container: Any, name: str) -> Any:
    """Pick the video stream that players choose, once its header has passed the caps."""
    stream = container.streams.best("video")
    if stream is None or stream.disposition & stream.disposition.attached_pic:
        raise BadSample(f'"{name}" holds no moving pictures, only sound or a cover; name a video file')
    if stream.codec_context is None:
        raise BadSample(f'"{name}" is coded in a way that this FFmpeg does not know; {REENCODE}')
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_FRAME_PIXELS:
        raise BadSample(f'"{name}" has {width}x{height} frames, {MAX_FRAME_PIXELS} pixels are read; {CUT}')
    if not width * height:  # all that FFmpeg leaves of a size beyond the cap where it looks at frames to tell
        raise BadSample(f'"{name}" has frames of no size, or of more than {MAX_FRAME_PIXELS} pixels; {CUT}')
    duration = (container.duration or 0) / av.time_base
    if duration > MAX_SECONDS:
        raise BadSample(_too_long(name, duration))
    return stream


def _too_long(name: str, seconds: float) -> str:
    return f'"{name}" lasts {seconds:.0f} s, and no more than {MAX_SECONDS:.0f} s are read; {CUT}'


def _too_many(name: str, limit: int) -> str:
    return f'"{name}" has more than {limit} frames, too many to read at its size; {CUT}'


def _check_area(picture: Any, frames: int, name: str) -> None:
    limit = MAX_PIXELS // max(1, picture.width * picture.height)
    if frames > limit:
        raise BadSample(_too_many(name, limit))


def _packets(container: Any, stream: Any, sets: ParameterSets, name: str) -> list[Packet]:
    """Read the shown frames' packets in decoding order; BadSample where some are missing or beyond caps."""
    packets: list[Packet] = []
    others, slots, whole = 0, 0, True
    codec = stream.codec_context.name
    for packet in container.demux(stream):
        if packet.size == 0:
            continue  # a slot for no picture, or the end
        whole &= not packet.is_corrupt
        slots = max(slots, (packet.dts or 0) + 1)
        # decoded but never shown: what an edit list leaves before a lossless cut, or what others lean on
        if packet.is_discard or not shows(codec, packet):
            others += 1
        else:
            packets.append(Packet(packet.pts, packet.dts, packet.duration or 0, bool(packet.is_keyframe)))
        if len(packets) + others > MAX_FRAMES:
            raise BadSample(_too_many(name, MAX_FRAMES))
        sets.see(packet)
    if not packets:
        raise BadSample(f'"{name}" holds no frames; {REENCODE}')
    found = max(len(packets) + others, slots if container.format.name == "avi" else 0)
    # what an edit list leaves out is in the header's count, and not among the entries
    promised = min(stream.frames, len(getattr(stream, "index_entries", None) or ()) or stream.frames)
    if not whole or found < promised or ends_early(container, stream, packets):
        raise BadSample(f'"{name}" is cut short after {len(packets)} frames; copy or download it again')
    return packets


def _first_frame(path: str, name: str, every: bool, margins: bool) -> Any:
    """Decode the first frame, or `every` one to see that all are of its size; BadSample where one is not."""
    first, begun, shown = None, 0, 0
    with open_video(path) as container:
        stream = container.streams.best("video")
        decoder = stream.codec_context
        decoder.options = codec_options(margins)
        decoder.thread_count = 1  # more would read ahead, one packet each
        try:
            for packet in container.demux(stream):
                begun += 1
                for frame in packet.decode():
                    first = first or frame
                    check_size(name, (first.width, first.height), frame.width, frame.height, shown)
                    shown += 1
                    if not every:
                        return first
        except av.FFmpegError:
            if first and decoder.width:  # to a decoder a size beyond the cap is an error
                check_size(name, (first.width, first.height), decoder.width, decoder.height, begun - 1)
            raise
    if first is None:
        raise BadSample(f'"{name}" holds no picture that can be decoded; {REENCODE}')
    return first
