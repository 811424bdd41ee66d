"""Comparing motion as tracklets, in numpy: do the points of two videos move alike?

Yatim et al. (DMT, CVPR 2024) compare tracklets by the cosine of their frame-to-frame displacements and let
every tracklet find its best partner in the other video. Because of that maximum unrelated videos score some
.2 to .5 and not 0: read every figure beside a floor. And because partners may be anywhere, zooming in equals
zooming out: only a comparison of nearby tracklets (`near`) tells those apart.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motionecho.metrics.motion_field import MotionField

COMPARED = 16  # instants, the paper's; over more, steps shrink to the tracker's noise and every floor sinks
MIN_TRACKS = 8  # with fewer, a best partner says nothing
MIN_VALID = 0.6  # share of the frames that a tracklet must have been followed in
MIN_COMMON = 0.3  # share of the steps that two tracklets must have been followed for together
STILL = 1e-3  # px a step: what moves less stands still, and has no direction
NEAR = 0.25  # distance in units of the frame's sides

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Status = Literal["ok", "no_reference", "too_few_frames", "insufficient_tracks", "static_reference"]


@dataclass(frozen=True, eq=False)
class Tracks:
    """n tracklets over t frames of one video.

    points [n, t, 2] float32, x and y in pixels; valid [n, t] bool; size (height, width) of the frames;
    dense, of trackers that have it, is how all places move, with tracklets or without (see `field`).
    Raises ValueError when the shapes do not fit each other.
    """

    points: NDArray[np.float32]
    valid: Mask
    size: tuple[int, int]
    dense: MotionField | None = None

    def __post_init__(self) -> None:
        shape = self.points.shape
        if len(shape) != 3 or shape[2] != 2 or self.valid.shape != shape[:2]:
            raise ValueError(f"points must be [n, t, 2] and valid [n, t], not {shape} and {self.valid.shape}")

    @property
    def frames(self) -> int:
        return int(self.points.shape[1])

    @property
    def field(self) -> MotionField:
        """The motion at all places: the tracker's own field or, failing that, of the tracklets alone."""
        if self.dense is not None:
            return self.dense
        good = _good(self)
        points = np.where(good[..., None], self.points, np.float32(0)).swapaxes(0, 1)
        moves, followed = np.diff(points, axis=0), (good[:, 1:] & good[:, :-1]).T
        places = (points[:-1] + 0.5) / np.array(self.size[::-1])
        return MotionField(places.astype(np.float32), moves, followed, self.size)


@dataclass(frozen=True, eq=False)
class Steps:
    """What is compared of the n tracklets that were followed long enough, over s = t - 1 steps.

    moves [n, s, 2] px, 0 where not valid; valid [n, s]; anchor [n, 2], the position at the middle frame in
    units of the frame's sides; kept, the share of all tracklets that these are.
    """

    moves: Array
    valid: Mask
    anchor: Array
    kept: float

    @property
    def length(self) -> Array:
        return np.linalg.norm(self.moves, axis=2)

    @property
    def still(self) -> Mask:
        """Valid steps [n, s] without motion."""
        return self.valid & (self.length < STILL)

    @property
    def mobile(self) -> Mask:
        """Tracklets [n] that move at all."""
        return np.asarray((self.length >= STILL).any(1))

    def speed(self) -> float | None:
        """Mean displacement in px a step; None without a valid step."""
        return float(self.length.sum() / self.valid.sum()) if self.valid.any() else None


@dataclass(frozen=True)
class Fidelity:
    """Scores in [-1, 1], None unless status is "ok"; `near` may be None on its own, without neighbours."""

    status: Status
    dmt: float | None = None
    dmt_oneway: float | None = None
    traj: float | None = None
    near: float | None = None


def steps(tracks: Tracks, instants: int | None = None) -> Steps:
    """Turn positions at `instants` (default: all frames) into displacements.

    A step is valid when both its ends are, and finite. Whether a tracklet was followed long enough is for all
    frames to say.
    """
    followed = _good(tracks).mean(1) >= MIN_VALID
    tracks = resampled(tracks, instants or tracks.frames)
    good = _good(tracks)
    points = np.where(good[..., None], tracks.points, 0).astype(np.float64)
    valid = good[:, 1:] & good[:, :-1]
    moves = np.where(valid[..., None], np.diff(points, axis=1), 0.0)
    middle = tracks.frames // 2
    seen = np.abs(np.arange(tracks.frames) - middle) + np.where(good, 0, 2 * tracks.frames)
    anchor = points[np.arange(len(points)), seen.argmin(1)] / np.array(tracks.size[::-1])
    keep = followed & valid.any(1)
    return Steps(moves[keep], valid[keep], anchor[keep], float(keep.mean()) if len(keep) else 0.0)


def resampled(tracks: Tracks, frames: int) -> Tracks:
    """Pick `frames` positions evenly in time; one is valid if all since the one before it were."""
    if frames == tracks.frames:
        return tracks
    index = np.round(np.linspace(0, tracks.frames - 1, frames)).astype(int)
    begin = np.concatenate([index[:1], index[:-1] + 1])
    valid = [tracks.valid[:, first : last + 1].all(1) for first, last in zip(begin, index, strict=True)]
    return Tracks(tracks.points[:, index], np.stack(valid, 1), tracks.size)


def cosine_similarity(video: Steps, reference: Steps) -> Array:
    """Matrix [n, m]: mean cosine of the displacements over common steps; -inf with too few of them.

    DMT: corr(a, b) = (1/F) sum_k <a_k, b_k> / (|a_k| |b_k|). The released code divides by zero where a point
    stands still. Here a step counts 0 when one of the two stands still, and not at all when both do.
    """
    total = _flat(_directions(video)) @ _flat(_directions(reference)).T
    counted = _overlap(video.valid, reference.valid) - _overlap(video.still, reference.still)
    return _where_comparable(video, reference, total / np.maximum(counted, 1))


def trajectory_similarity(video: Steps, reference: Steps) -> Array:
    """Matrix [n, m]: cosine of whole trajectories, in which nearly still steps carry little weight.

    sum_k <a_k, b_k> / sqrt(sum_k |a_k|^2 sum_k |b_k|^2) over common steps; 0 where one stands still.
    """
    dot = _flat(video.moves) @ _flat(reference.moves).T
    energy = (video.length**2 @ reference.valid.T) * (video.valid @ (reference.length**2).T)
    similarity = np.divide(dot, np.sqrt(energy), out=np.zeros_like(dot), where=energy > STILL**4)
    return _where_comparable(video, reference, np.clip(similarity, -1, 1))


def nearby(video: Steps, reference: Steps, radius: float = NEAR) -> Mask:
    """Matrix [n, m]: which tracklets lie within `radius` of each other at the middle of the video."""
    gap = np.linalg.norm(video.anchor[:, None] - reference.anchor[None], axis=2)
    return np.asarray(gap <= radius)


def one_way(similarity: Array) -> float | None:
    """Mean over rows of the best partner; rows without any (-inf throughout) are left out, None if all are.

    DMT's released code takes an identity matrix off the similarity of two different videos first: a slip,
    which this does not repeat.
    """
    if similarity.size == 0:
        return None
    best = similarity.max(1)
    best = best[np.isfinite(best)]
    return float(best.mean()) if len(best) else None


def fidelity(video: Tracks, reference: Tracks) -> Fidelity:
    """Compare two sets of tracklets at as many instants as the shorter has frames, COMPARED at most.

    The symmetric scores are halved sums of both directions, to stay in [-1, 1]. Tracklets that never move
    look for no partner (drawn videos have many still ones), and a video in which none moves scores 0.
    """
    frames = min(video.frames, reference.frames, COMPARED)
    if frames < 2:
        return Fidelity("too_few_frames")
    ours, theirs = steps(video, frames), steps(reference, frames)
    if min(len(ours.moves), len(theirs.moves)) < MIN_TRACKS:
        return Fidelity("insufficient_tracks")
    if not theirs.mobile.any():
        return Fidelity("static_reference")
    if not ours.mobile.any():
        return Fidelity("ok", 0.0, 0.0, 0.0, 0.0)
    cosine, trajectory = cosine_similarity(ours, theirs), trajectory_similarity(ours, theirs)
    local = np.where(nearby(ours, theirs), trajectory, -np.inf)
    dmt, traj, near = (
        _both_ways(matrix, ours.mobile, theirs.mobile) for matrix in (cosine, trajectory, local)
    )
    if dmt is None or traj is None:
        return Fidelity("insufficient_tracks")
    return Fidelity("ok", dmt, one_way(cosine[ours.mobile]), traj, near)


def _both_ways(similarity: Array, rows: Mask, columns: Mask) -> float | None:
    there, back = one_way(similarity[rows]), one_way(similarity[:, columns].T)
    return None if there is None or back is None else (there + back) / 2


def _where_comparable(video: Steps, reference: Steps, similarity: Array) -> Array:
    """Put -inf where two tracklets share too few steps, or none in which at least one of them moves."""
    common = _overlap(video.valid, reference.valid)
    moving = common - _overlap(video.still, reference.still)
    enough = (common >= max(1.0, MIN_COMMON * video.valid.shape[1])) & (moving >= 1)
    return np.where(enough, similarity, -np.inf)


def _good(tracks: Tracks) -> Mask:
    return np.asarray(tracks.valid & np.isfinite(tracks.points).all(2))


def _directions(tracks: Steps) -> Array:
    """Unit displacements [n, s, 2]; 0 where a tracklet stands still or was not followed."""
    length = tracks.length[..., None]
    return np.divide(tracks.moves, length, out=np.zeros_like(tracks.moves), where=length >= STILL)


def _flat(moves: Array) -> Array:
    return moves.reshape(len(moves), -1)


def _overlap(ours: Mask, theirs: Mask) -> Array:
    """Number of steps [n, m] in which both masks are set."""
    return ours.astype(np.float64) @ theirs.astype(np.float64).T


def _mean(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
