"""The way in which players show a picture: any of the eight that a file's display matrix can ask for."""

import struct
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

SLANT = 0.02  # of a matrix's larger part: what its smaller may be where it means a quarter turn


@dataclass(frozen=True)
class Orientation:
    """What turns a stored picture upright: its rows become columns first, then it is mirrored."""

    transposed: bool = False
    left_right: bool = False
    top_bottom: bool = False

    @classmethod
    def of(cls, frame: Any) -> Self | None:
        """Read a PyAV frame's display matrix; None where it asks for a turn by part of a quarter.

        A point (x, y) of the stored picture is shown at (ax + cy, bx + dy); scale and place do not matter.
        """
        found = [data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
        if not found:
            return cls()
        a, b, _, c, d, *_ = struct.unpack("=9i", bytes(found[0])[:36])
        straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
        if min(straight, crossed) > SLANT * max(straight, crossed):
            return None
        if crossed > straight:
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    @property
    def mirrored(self) -> bool:
        """Whether it is no mere turn: writing in the picture would be back to front otherwise."""
        return (self.left_right != self.top_bottom) != self.transposed

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """Return a stored picture [h, w, ...] as it is shown."""
        picture = picture.swapaxes(0, 1) if self.transposed else picture
        rows, columns = (slice(None, None, -1 if flip else 1) for flip in (self.top_bottom, self.left_right))
        return np.ascontiguousarray(picture[rows, columns])
