"""Packets that a decoder turns into a picture, and those that show nothing: VP8 and VP9 hide some."""

from typing import Any

SUPERFRAME = 0b110  # the upper bits of the last byte of several VP9 frames in one packet


def shows(codec: str, data: Any) -> bool:
    """Tell whether a packet shows a picture, by the first bytes of its frames (RFC 6386; VP9, annex B)."""
    data = memoryview(data)
    if not len(data):
        return False
    if codec == "vp8":
        return bool(data[0] >> 4 & 1)
    if codec == "vp9":
        return any(_vp9_shows(data[start]) for start in _starts(data))
    return True


def _vp9_shows(first: int) -> bool:
    """Read frame marker, profile, show_existing_frame, frame_type and show_frame out of a frame's first byte.

    Profile 3 has one bit more before them.
    """
    profile = (first >> 5 & 1) | (first >> 4 & 1) << 1
    skip = 1 if profile == 3 else 0
    existing, shown = first >> (3 - skip) & 1, first >> (1 - skip) & 1
    return bool(existing or shown)


def _starts(data: memoryview) -> list[int]:
    """Return where each of the frames in a packet begins."""
    last = data[-1]
    count, size = (last & 7) + 1, (last >> 3 & 3) + 1
    index = 2 + size * count
    if last >> 5 != SUPERFRAME or len(data) < index or data[-index] != last:
        return [0]
    starts, place = [], 0
    for number in range(count):
        begin = len(data) - index + 1 + number * size
        starts.append(place)
        place += int.from_bytes(data[begin : begin + size], "little")
    return [start for start in starts if start < len(data)]
