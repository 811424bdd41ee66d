"""The parameter sets of H.264 and HEVC: they alone set a picture's size and format, so one set is one size.

They are found by FFmpeg's bitstream filters in packets as they are read, which decodes nothing.
"""

from typing import Any

import av
from av.bitstream import BitStreamFilterContext

# What brings packets into one form, the header's sets included, and leaves just the sequence parameter sets.
FILTERS = {
    "h264": "h264_mp4toannexb,filter_units=pass_types=7",
    "hevc": "hevc_mp4toannexb,filter_units=pass_types=33",
}
SET = 7  # the type of H.264's
START = b"\0\0\1"  # between units


class ParameterSets:
    """The different parameter sets of a stream; `see` every packet, hidden ones too."""

    def __init__(self, stream: Any) -> None:
        self.codec = stream.codec_context.name
        self.header = bytes(stream.codec_context.extradata or b"")
        self.found: set[bytes] = set()
        self.filter: BitStreamFilterContext | None = None
        try:
            if self.codec in FILTERS:
                self.filter = BitStreamFilterContext(FILTERS[self.codec], stream)
        except av.FFmpegError:  # a header that cannot be read: nothing is sure
            pass

    def see(self, packet: Any) -> None:
        """Note a packet's sets. The packet is empty afterwards: filters take what they are given."""
        if self.filter is None:
            return
        try:
            left = self.filter.filter(packet)
        except av.FFmpegError:
            self.filter = None
            return
        self.found |= {unit.strip(b"\0") for part in left for unit in bytes(part).split(START)} - {b""}

    @property
    def several(self) -> bool:
        """Whether the size may change on the way."""
        return len(self.found) > 1

    @property
    def single(self) -> bool:
        """Whether it is sure that it does not: H.264 with one set, in packets and header together."""
        if self.filter is None or self.codec != "h264":
            return False
        try:
            return len(self.found | _in_header(self.header)) == 1
        except IndexError:  # it ends within a unit
            return False


def _in_header(data: bytes) -> set[bytes]:
    """Return the sequence parameter sets in H.264's header of mp4 and matroska: two lists of sized units."""
    if data[0] != 1:
        raise IndexError
    place, units = 5, set()
    for bits in (31, 255):
        count, place = data[place] & bits, place + 1
        for _ in range(count):
            size, place = 256 * data[place] + data[place + 1], place + 2
            if data[place] & 31 == SET:
                units.add(data[place : place + size].strip(b"\0"))
            place += size
    return units
