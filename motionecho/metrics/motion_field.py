"""Motion as a field: what moves where, when and how fast, and whether two videos agree in that.

Tracks say where single points go; a field says what moves at every place in every step, so nothing is missed
that no track began on. Two fields are compared as currents are (Vaillant and Glaunes 2005): blurred over the
picture, then by their cosine, which is 1 for equal motion, 0 on average over unrelated motions, whatever the
reference, and -1 for the opposite. Half of the blur spans the whole picture, so that a thing may be elsewhere
or of another size; the other half is local and tells zooming in from zooming out.
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


def agreement(video: MotionField, reference: MotionField, instants: int) -> tuple[float | None, str]:
    """Compare two fields at `instants`: 0 for a still video, low for other motion, 1 for equal, and "ok".

    None, and a status, where the reference shows no motion to follow.
    """
    if not reference.followed.any():
        return None, "untracked_reference"
    ours, theirs = binned(video, instants), binned(reference, instants)
    wanted = speed(theirs)
    if wanted < STILL_SPEED:
        return None, "static_reference"
    alike = float(np.clip(cosine(ours, theirs) / CEILING, 0, 1))
    return alike * min(1.0, speed(ours) / (PACE * wanted)), "ok"


def binned(field: MotionField, instants: int) -> Array:
    """Sum the moves between evenly spaced instants in bins: [instants - 1, BINS, BINS, 2] frame diagonals."""
    total, count = field.moves.shape[:2]
    moves = np.where(field.followed[..., None], field.moves, 0) / np.hypot(*field.size)
    moves *= BINS**2 / count  # as if every bin held one place
    if field.places.ndim == 2:
        steps = _shares(field.places) @ moves
    else:  # step by step, as the shares of all would fill the memory
        steps = np.stack([_shares(at) @ move for at, move in zip(field.places, moves, strict=True)])
    begin = np.round(np.linspace(0, total, instants)).astype(int)[:-1]
    return np.add.reduceat(steps, begin).reshape(instants - 1, BINS, BINS, 2)


def _shares(places: NDArray[np.float32]) -> Array:
    """Compute the share that every bin has in every place: [BINS^2, n], bilinear."""
    at = np.clip(places * BINS - 0.5, 0, BINS - 1)
    across, down = (np.maximum(0, 1 - np.abs(side - np.arange(BINS)[:, None])) for side in at.T)
    return np.asarray(down[:, None] * across).reshape(BINS**2, -1)


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
    typical = square.sum(within, keepdims=True) / np.maximum(
        np.sqrt(square).sum(within, keepdims=True), 1e-12
    )
    return np.asarray(moves * (square / np.maximum(square + (SLOW * typical) ** 2, 1e-24)))


def _product(one: Array, other: Array) -> float:
    everywhere = (one.sum((1, 2)) * other.sum((1, 2))).sum()
    blurred = np.moveaxis(_NEAR @ np.moveaxis(other, -1, 1) @ _NEAR, 1, -1)
    return float(everywhere + (one * blurred).sum()) / 2


_CENTRES = (np.arange(BINS) + 0.5) / BINS
_NEAR = np.exp(-((_CENTRES[:, None] - _CENTRES[None]) ** 2) / (2 * REACH**2))
