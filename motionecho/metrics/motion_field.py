"""Motion as a field: what moves where, when and how fast, and whether two videos agree in that.

Tracks say where single points go; a field says what moves at every place in every step, so nothing is missed
that no track began on. Two fields are compared as currents are (Vaillant and Glaunes 2005): blurred over the
picture, then by their cosine, which is 1 for equal motion, 0 for unrelated motion whatever the reference, and -1
for the opposite. Half of the blur spans the whole picture, so that a thing may be elsewhere or of another size;
the other half is local and tells zooming in from zooming out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 24  # along each side of the picture
REACH = 0.25  # of the local half of the blur, in units of the frame's sides
SLOW = 0.3  # of a step's typical speed: what is slower is rather drift and flicker than what moves
PACE = 0.5  # of the reference's speed: a video that is slower does not follow, however well it points
STILL_SPEED = 1e-3  # frame diagonals an instant: a reference that moves less stands still
CEILING = 0.95  # the cosine that equal motion of other things reaches, as a tracker sees it

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MotionField:
    """n places of one video and how what is there moves in each of s steps.

    places [n, 2] or [s, n, 2] in units of the frame's sides; moves [s, n, 2] in pixels, 0 where not followed;
    followed [s, n] bool; size (height, width) of the frames.
    """

    places: NDArray[np.float32]
    moves: NDArray[np.float32]
    followed: NDArray[np.bool_]
    size: tuple[int, int]


@dataclass(frozen=True)
class Agreement:
    """The agreement of a video with its reference: `follows` in [0, 1], or None and why in words."""

    follows: float | None
    why: str | None = None


def agreement(video: MotionField, reference: MotionField, instants: int) -> Agreement:
    """Compare two fields at `instants`: 0 for a still video or another motion, 1 for equal motion."""
    if not reference.followed.any():
        return Agreement(None, "nothing in the reference could be followed")
    ours, theirs = binned(video, instants), binned(reference, instants)
    pace, wanted = speed(ours), speed(theirs)
    if wanted < STILL_SPEED:
        return Agreement(None, "the reference stands still")
    kept = min(1.0, pace / (PACE * wanted))
    return Agreement(float(np.clip(cosine(ours, theirs) / CEILING, 0, 1)) * kept)


def binned(field: MotionField, instants: int) -> Array:
    """Sum the moves between evenly spaced instants in bins: [instants - 1, BINS, BINS, 2] in frame diagonals."""
    total, count = field.moves.shape[:2]
    at = np.clip(field.places * BINS - 0.5, 0, BINS - 1)
    across, down = (np.maximum(0, 1 - np.abs(at[..., axis, None] - np.arange(BINS))) for axis in (0, 1))
    shares = (down[..., :, None] * across[..., None, :]).reshape(*at.shape[:-1], BINS**2)  # [s,] n, bins
    moves = np.where(field.followed[..., None], field.moves, 0) / np.hypot(*field.size)
    steps = shares.swapaxes(-1, -2) @ moves * (BINS**2 / count)  # as if every bin held one place
    begin = np.round(np.linspace(0, total, instants)).astype(int)[:-1]
    return np.add.reduceat(steps.astype(np.float64), begin).reshape(instants - 1, BINS, BINS, 2)


def speed(moves: Array) -> float:
    """Return how fast that moves which does move: the mean speed, weighted by itself."""
    length = np.linalg.norm(moves, axis=-1)
    return float((length**2).sum() / max(float(length.sum()), 1e-12))


def cosine(ours: Array, theirs: Array) -> float:
    """Compute the cosine in [-1, 1] of two binned motions under the blur; 0 where one has none."""
    one, other = _moving(ours), _moving(theirs)
    norm = np.sqrt(_product(one, one) * _product(other, other))
    return _product(one, other) / norm if norm > 0 else 0.0


def _moving(moves: Array) -> Array:
    """Take away what is slow beside the rest of its step."""
    square = (moves**2).sum(-1, keepdims=True)
    within = (1, 2, 3)
    typical = square.sum(within, keepdims=True) / np.maximum(np.sqrt(square).sum(within, keepdims=True), 1e-12)
    return np.asarray(moves * (square / np.maximum(square + (SLOW * typical) ** 2, 1e-24)))


def _product(one: Array, other: Array) -> float:
    everywhere = (one.sum((1, 2)) * other.sum((1, 2))).sum()
    blurred = np.moveaxis(_NEAR @ np.moveaxis(other, -1, 1) @ _NEAR, 1, -1)
    return float(everywhere + (one * blurred).sum()) / 2


_CENTRES = (np.arange(BINS) + 0.5) / BINS
_NEAR = np.exp(-((_CENTRES[:, None] - _CENTRES[None]) ** 2) / (2 * REACH**2))
