"""The sizes that a pair can be asked for by name, as in wan2.1-1.3b@33x320x512: frames, height, width."""

import re
from dataclasses import dataclass

from motionecho.errors import UserError

SIZE = re.compile(r"(\d+)x(\d+)x(\d+)")
POSITIONS = 1024  # that a transformer knows along each axis


@dataclass(frozen=True)
class Sizes:
    """What is right: frames of one more than a multiple of `stride`, sides of a multiple of `side` pixels."""

    stride: int
    side: int

    def read(self, text: str, pair: str) -> tuple[int, int, int]:
        """Read "FRAMESxHEIGHTxWIDTH".

        Raises UserError naming all that is wrong with it, and the nearest that is right.
        """
        found = SIZE.fullmatch(text)
        if found is None:
            raise UserError(
                f'"{pair}@{text}" has to end in FRAMESxHEIGHTxWIDTH, for instance {pair}@33x320x512'
            )
        frames, height, width = (int(number) for number in found.groups())
        rules = (
            (frames, "frames", self.stride, 1, f"a multiple of {self.stride} and one more"),
            (height, "pixels of height", self.side, 0, f"a multiple of {self.side}"),
            (width, "pixels of width", self.side, 0, f"a multiple of {self.side}"),
        )
        wrong = [
            f"{asked} {what} ({rule}: {' or '.join(str(n) for n in near)})"
            for asked, what, step, more, rule in rules
            if asked not in (near := _nearest(asked, step, more))
        ]
        if wrong:
            raise UserError(f"pair {pair} cannot make {', nor '.join(wrong)}")
        return frames, height, width


def _nearest(asked: int, step: int, more: int) -> list[int]:
    """Return the right numbers next to one, in order; the number alone where it is right."""
    below = (asked - more) // step
    counts = {min(max(count, 1), POSITIONS - more) for count in (below, below + ((asked - more) % step > 0))}
    return sorted(count * step + more for count in counts)
