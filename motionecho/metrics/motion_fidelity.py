"""Motion Fidelity: does the video move as its reference does? Compared in `motion_field` and `tracklets`."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from motionecho.cache import Recent
from motionecho.metrics.motion_field import agreement
from motionecho.metrics.protocol import Item, Scores
from motionecho.metrics.trackers import DisTracker, Tracker
from motionecho.metrics.tracklets import (
    COMPARED,
    MIN_COMMON,
    MIN_VALID,
    NEAR,
    Fidelity,
    Tracks,
    fidelity,
    steps,
)

COLUMNS = (
    *("follows", "follows_why"),
    *("mf_dmt", "mf_dmt_oneway", "mf_traj", "mf_traj_near"),
    *("mf_dmt_floor", "mf_traj_floor", "mf_traj_near_floor", "mf_floor", "mf_frames", "mf_status"),
    *("mf_tracks_video", "mf_kept_video", "mf_speed_video"),
    *("mf_tracks_reference", "mf_kept_reference", "mf_speed_reference"),
)


WHY = {
    "no_reference": "there is no reference",
    "too_few_frames": "one frame shows no motion",
    "static_reference": "the reference stands still",
    "untracked_reference": "nothing in the reference could be followed",
}
REFERENCES = 32  # whose tracks are kept: many videos follow one


def static_clip(frame: NDArray[np.uint8], frames: int, sigma: float = 2.0) -> NDArray[np.uint8]:
    """Repeat one frame [h, w, 3] with slight noise (sd `sigma` of 255, always the same)."""
    noisy = frame.astype(np.int16) + _grain((frames, *frame.shape), sigma)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@lru_cache(maxsize=2)
def _grain(shape: tuple[int, ...], sigma: float) -> NDArray[np.int8]:
    """Whole grey levels: drawing them takes as long as tracking does."""
    return np.round(np.random.default_rng(0).normal(0, sigma, shape)).astype(np.int8)


@dataclass(frozen=True, eq=False)
class MotionFidelity:
    """Motion Fidelity of one item: `follows` in [0, 1] and, of the same flows, others in [-1, 1].

    follows        0 for a still video, low for other motion, 1 for equal (`motion_field`), the headline
    follows_why    in words, where there is none; the metric's status says whether there is
    mf_dmt         symmetric DMT formula
    mf_dmt_oneway  as DMT's released code: best partners of the video's tracklets only (without its slip)
    mf_traj        symmetric, whole trajectories weighted by magnitude: tells motions apart better
    mf_traj_near   the same among tracklets near each other: sees where things move, zoom in from zoom out
    mf_*_floor     the same figure for a still clip of the video's first frame with slight noise
    mf_status      "ok", or why there is none of these
    mf_kept_*, mf_tracks_*, mf_speed_*   followed share, count, and mean motion in frame diagonals a step

    Trackers differ in level: never compare with figures of another tracker, CoTracker in papers included.
    """

    tracker: Tracker = field(default_factory=DisTracker)
    name: str = "motion_fidelity"
    known: Recent[Tracks] = field(default_factory=lambda: Recent(REFERENCES), init=False, repr=False)

    @property
    def setting(self) -> str:
        return f"{self.tracker.settings} valid{MIN_VALID:g} common{MIN_COMMON:g} near{NEAR:g} at{COMPARED}"

    @property
    def version(self) -> str:
        return f"2 {self.setting}"

    def __call__(self, item: Item) -> Scores:
        row: Scores = dict.fromkeys(COLUMNS)
        row |= {"mf_tracker": self.tracker.settings.split()[0], "mf_setting": self.setting}
        status = f"{self.name}_status"
        if item.reference is None or min(len(item.video), len(item.reference)) < 2:
            missing = "no_reference" if item.reference is None else "too_few_frames"
            return row | {"follows_why": WHY[missing], "mf_status": missing, status: missing}
        video, reference = self.tracker.track(item.video), self._of_reference(item.reference)
        frames = min(video.frames, reference.frames, COMPARED)
        found, why = agreement(video.field, reference.field, frames)
        result = fidelity(video, reference)
        row |= {"follows": found, "follows_why": WHY.get(why), status: why}
        row |= {"mf_frames": frames, **_scores(result), "mf_status": result.status}
        row |= _followed("video", video, frames) | _followed("reference", reference, frames)
        if result.status == "ok":
            lowest = fidelity(self.tracker.track(static_clip(item.video[0], frames)), reference)
            row |= {f"{key}_floor": value for key, value in _scores(lowest).items() if key != "mf_dmt_oneway"}
            row["mf_floor"] = "static" if lowest.status == "ok" else f"static {lowest.status}"
        return row

    def _of_reference(self, frames: NDArray[np.uint8]) -> Tracks:
        """Track a reference, or know it by its pixels from an earlier item."""
        content = hashlib.sha256(repr(frames.shape).encode() + frames.tobytes()).digest()
        return self.known.get(content, lambda: self.tracker.track(frames))


def _scores(result: Fidelity) -> Scores:
    values = (result.dmt, result.dmt_oneway, result.traj, result.near)
    return dict(zip(("mf_dmt", "mf_dmt_oneway", "mf_traj", "mf_traj_near"), values, strict=True))


def _followed(side: str, tracks: Tracks, frames: int) -> Scores:
    followed = steps(tracks, frames)
    speed = followed.speed()
    return {
        f"mf_tracks_{side}": len(followed.moves),
        f"mf_kept_{side}": round(followed.kept, 4),
        f"mf_speed_{side}": None if speed is None else speed / float(np.hypot(*tracks.size)),
    }
