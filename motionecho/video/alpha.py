"""Removed backgrounds: where a picture is transparent, a plain colour is shown and not what lies beneath."""

from typing import Any

import numpy as np
from PIL import ImageColor

from motionecho.errors import UserError

BESIDE = "matroska_block_additional"  # where webm keeps the transparency, as a grey video of its own
AHEAD = 8  # bytes before it: its kind


def color(name: str) -> tuple[int, int, int]:
    """Return a colour's red, green and blue of 255; UserError where `name` is none."""
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError:
        raise UserError(
            f'background "{name}" is no colour: use a name, as black or white, or a number, as #ff8800'
        ) from None


def is_beside(stream: Any) -> bool:
    """Tell whether a stream says that its transparency is beside it, which decoders pass over."""
    return str(stream.metadata.get("alpha_mode", "")) == "1"


def has_alpha(frame: Any) -> bool:
    """Tell whether a frame's pixels have a transparency of their own."""
    return any(component.is_alpha for component in frame.format.components)


class Beside:
    """A reader of the transparency that goes beside the packets of a stream."""

    def __init__(self, coder: Any) -> None:
        """Take a decoder of the stream's codec, to be used for nothing else."""
        self.coder = coder
        self.planes: dict[int | None, np.ndarray] = {}

    def see(self, packet: Any) -> None:
        """Decode what goes beside a packet."""
        if not packet.has_sidedata(BESIDE):
            return
        data = bytes(packet.get_sidedata(BESIDE))[AHEAD:]
        inner = type(packet)(data)
        inner.pts, inner.dts, inner.time_base = packet.pts, packet.dts, packet.time_base
        for frame in self.coder.decode(inner):
            plane = frame.planes[0]  # as it is: it has no range of its own to be converted from
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            self.planes[frame.pts] = rows[: frame.height, : frame.width].copy()

    def of(self, frame: Any) -> np.ndarray | None:
        """Return the transparency [h, w] of a frame, None where it has none; it is given once."""
        return self.planes.pop(frame.pts, None)


def over(colors: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Lay a picture uint8 [h, w, 3] over a plain background, by its alpha [h, w] of 255, rounded."""
    share = alpha[..., None].astype(np.uint32)
    under = np.array(background, np.uint32) * (255 - share)
    return ((colors * share + under + 127) // 255).astype(np.uint8)


def pixels(frame: Any, beside: np.ndarray | None, background: tuple[int, int, int]) -> np.ndarray:
    """Return a frame's pixels as stored, uint8 [h, w, 3] RGB, over `background` where it is transparent."""
    if beside is not None:
        return over(frame.to_ndarray(format="rgb24"), beside, background)
    if has_alpha(frame):
        both = frame.to_ndarray(format="rgba")
        return over(both[..., :3], both[..., 3], background)
    return np.asarray(frame.to_ndarray(format="rgb24"))
