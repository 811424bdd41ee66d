"""The packets of a video stream: when their frames are shown, and which of them a decoder can show at all."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import av
import numpy as np


@dataclass(frozen=True)
class Packet:
    stamp: int | None
    decoding_stamp: int | None
    duration: int
    keyframe: bool

    @property
    def written(self) -> int | None:
        """The time that it bears, in the stream's clock: of showing, or else of decoding."""
        return self.decoding_stamp if self.stamp is None else self.stamp


def ends_early(container: Any, stream: Any, packets: list[Packet]) -> bool:
    """Tell a lone stream without a frame count (matroska) that stops before the time its header promises.

    A piece cut out of a longer file may count its time from the beginning of that.
    """
    if stream.frames or len(container.streams) > 1 or not container.duration or len(packets) < 2:
        return False
    known = sorted(stamp for p in packets if (stamp := p.written) is not None)
    if len(known) < 2:
        return False
    gap = max(later - earlier for earlier, later in pairwise(known))
    last = known[-1] + max(p.duration for p in packets)
    return (last + 1.5 * gap) * float(stream.time_base or 0) < container.duration / av.time_base


def shown_from(packets: list[Packet], first: int | None) -> list[Packet]:
    """Leave out what the decoder shows nothing of before its first picture: it leans on what is not there."""
    if first is None:
        return packets
    return [p for p in packets if p.stamp is None or p.stamp >= first] or packets


def is_closed(packets: list[Packet]) -> bool:
    """Tell whether groups of pictures are closed: no frame leans on a keyframe that is shown after it."""
    key: int | None = None
    for packet in packets:
        if packet.stamp is None:
            return False
        if packet.keyframe:
            key = packet.stamp
        elif key is None or packet.stamp < key:
            return False
    return True


def times_of(
    packets: list[Packet], unit: float, rate: float
) -> tuple[np.ndarray, float, tuple[int, ...] | None]:
    """Return when frames are shown, when the last ends (in seconds from the first), and the stamps.

    One without a stamp is between its neighbours, which two of one stamp are as well: in the order in which
    they come. Stamps are None where they do not tell the frames of a file apart.
    """
    written = [p.written for p in packets]
    known = [k for k, stamp in enumerate(written) if stamp is not None]
    if not unit or 2 * len(known) < len(packets):
        return np.arange(len(packets)) / rate, len(packets) / rate, None
    places = np.interp(np.arange(len(packets)), known, [float(written[k] or 0) for k in known])
    order = np.argsort(places, kind="stable")
    times = (places[order] - places[order[0]]) * unit
    mean = float(times[-1]) / (len(times) - 1) if len(times) > 1 and times[-1] else 1 / rate
    end = float(times[-1]) + (packets[order[-1]].duration * unit or mean)
    stamps = tuple(int(places[k]) for k in order)
    return times, end, stamps if len(known) == len(packets) == len(set(stamps)) else None
