"""Point trackers: frames in, tracklets out. Two classical ones that need no weights.

A grid of points on the middle frame is followed in both directions. A step counts only when going there and
back again returns to the start (forward-backward check): occlusions and textureless areas drop out. With the
same flows a finer grid begins anew in every frame: the field, which sees what moves wherever it does.
OpenCV's thread count is left as the process has it: DIS and Lucas-Kanade give the same bits with any number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from motionecho.metrics.motion_field import MotionField
from motionecho.metrics.protocol import MetricUnavailable
from motionecho.metrics.tracklets import Tracks

Points = NDArray[np.float32]
Move = Callable[[int, int, Points], Points]

SMALLEST, LARGEST = 256 * 256, 512 * 320  # areas in pixels between which tracking was found to work well
PLACES = 1024  # of the field
LEEWAY = (
    0.6  # of its length that a move of the field may miss its start by: fast things come back less exactly
)
SHORTEST_SIDE = 32  # below it the flow pyramids have no level left


class Tracker(Protocol):
    """A method that follows points. `settings` names it and every number that changes its tracks."""

    @property
    def settings(self) -> str: ...
    def track(self, frames: NDArray[np.uint8]) -> Tracks:
        """Follow points in frames uint8 RGB [t, h, w, 3]: tracklets in pixels of those frames."""
        ...


@dataclass(frozen=True)
class DisTracker:
    """A dense inverse search flow (Kroeger et al. 2016, preset MEDIUM), chained by bilinear sampling."""

    tolerance: float = 1.5  # forward-backward error in working pixels per step
    points: int = 240

    @property
    def settings(self) -> str:
        return f"dis-medium mid-grid{self.points} fb{self.tolerance:g}"

    def track(self, frames: NDArray[np.uint8]) -> Tracks:
        return _track(frames, _dis, self.tolerance, self.points)


@dataclass(frozen=True)
class LkTracker:
    """A pyramidal Lucas-Kanade (window 21, 4 levels): sharper on texture, blind without it."""

    tolerance: float = 1.5
    points: int = 240

    @property
    def settings(self) -> str:
        return f"lk-21x4 mid-grid{self.points} fb{self.tolerance:g}"

    def track(self, frames: NDArray[np.uint8]) -> Tracks:
        return _track(frames, _lk, self.tolerance, self.points)


def load_tracker(name: str, device: str = "auto") -> Tracker:
    """Load a tracker by name: "dis", "lk" or "cotracker"; MetricUnavailable where it cannot be had."""
    if name == "cotracker":
        from motionecho.metrics.cotracker import load_cotracker

        return load_cotracker(device)
    built_in: dict[str, Tracker] = {"dis": DisTracker(), "lk": LkTracker()}
    if name not in built_in:
        raise MetricUnavailable(f'there is no tracker "{name}": use dis, lk or cotracker')
    return built_in[name]


def working_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) for tracking: aspect kept, area between 256 x 256 and 512 x 320."""
    area = height * width
    scale = (min(max(area, SMALLEST), LARGEST) / area) ** 0.5
    return max(SHORTEST_SIDE, round(height * scale)), max(SHORTEST_SIDE, round(width * scale))


def grid(height: int, width: int, count: int) -> Points:
    """Return about `count` points [n, 2] as the cell centres of a grid with square cells."""
    columns = max(1, round((count * width / height) ** 0.5))
    rows = max(1, round(count / columns))
    x = (np.arange(columns) + 0.5) * width / columns - 0.5
    y = (np.arange(rows) + 0.5) * height / rows - 0.5
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2).astype(np.float32)


def _track(
    frames: NDArray[np.uint8], mover: Callable[[list[NDArray[Any]]], Move], tolerance: float, count: int
) -> Tracks:
    """Follow a grid from the middle frame to both ends, and a finer one from every frame to the next."""
    total, height, width = frames.shape[:3]
    size = working_size(height, width)
    gray = [_gray(frame, size) for frame in frames]
    move = mover(gray)
    middle = total // 2
    start = grid(*size, count)
    points = np.zeros((len(start), total, 2), np.float32)
    valid = np.zeros((len(start), total), np.bool_)
    points[:, middle], valid[:, middle] = start, True
    places = grid(*size, PLACES)
    moves = np.zeros((total - 1, len(places), 2), np.float32)
    followed = np.zeros(moves.shape[:2], np.bool_)
    for direction in (1, -1):
        here = start
        for source in range(middle, total - 1 if direction == 1 else 0, direction):
            target = source + direction
            there, drift = _there_and_back(move, source, target, here)
            inside = ((there >= -0.5) & (there <= np.array([size[1], size[0]]) - 0.5)).all(1)
            points[:, target], valid[:, target] = there, (drift <= tolerance) & inside
            here = there
            first = min(source, target)
            reached, drift = _there_and_back(move, first, first + 1, places)
            moves[first] = reached - places
            followed[first] = drift <= np.maximum(tolerance, LEEWAY * np.linalg.norm(moves[first], axis=1))
    ratio = np.array([width / size[1], height / size[0]], np.float32)
    sides = np.array(size[::-1], np.float32)
    motion = MotionField((places + 0.5) / sides, moves * ratio, followed, (height, width))
    return Tracks((points + 0.5) * ratio - 0.5, valid, (height, width), motion)


def _there_and_back(move: Move, source: int, target: int, here: Points) -> tuple[Points, NDArray[Any]]:
    """Move points and back again: where they arrive, and by how much they miss where they began.

    A lost point waits where it was last seen, and misses by infinity.
    """
    there = move(source, target, here)
    lost = np.isnan(there).any(1)
    there[lost] = here[lost]
    drift = np.linalg.norm(move(target, source, there) - here, axis=1)
    return there, np.where(lost | np.isnan(drift), np.inf, drift)


def _gray(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
    gray = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    shrinks = size[0] < gray.shape[0]
    return cv2.resize(gray, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _dis(gray: list[NDArray[Any]]) -> Move:
    """Move points by dense flow; points beyond the border take the flow of the border."""
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    no_guess: Any = None  # a flow passed in would be a first guess: results would depend on earlier calls

    @lru_cache(maxsize=2)  # there and back, for the tracklets and for the field
    def flow_between(source: int, target: int) -> NDArray[Any]:
        return engine.calc(gray[source], gray[target], no_guess)

    def move(source: int, target: int, points: Points) -> Points:
        flow = flow_between(source, target)
        x, y = np.ascontiguousarray(points[:, None, 0]), np.ascontiguousarray(points[:, None, 1])
        step = cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return points + step[:, 0]

    return move


def _lk(gray: list[NDArray[Any]]) -> Move:
    """Move points by Lucas-Kanade; a point that was lost comes back as NaN."""
    no_guess: Any = None

    def move(source: int, target: int, points: Points) -> Points:
        there, found, _ = cv2.calcOpticalFlowPyrLK(
            gray[source], gray[target], points[:, None], no_guess, winSize=(21, 21), maxLevel=3
        )
        return np.where(found == 1, there[:, 0], np.nan).astype(np.float32)

    return move
