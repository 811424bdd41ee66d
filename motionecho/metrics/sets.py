"""Distances between two sets of videos from their frames' features: KID first, CMMD beside it, FID if asked.

Frames of one video are alike, so what counts is the number of videos. KID and CMMD are squared maximum mean
discrepancies; `between` leaves out every pair of frames of one video, which makes it unbiased for videos, and
its interval draws videos. FID is biased upwards by hundreds at such counts: compare it at equal n only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motionecho.errors import UserError
from motionecho.metrics.stats import LEVEL, bootstrap

Array = NDArray[np.floating[Any]]
Kernel = Callable[[Array, Array], Array]

SETS = {"kid": "inception", "cmmd": "clip", "fid": "inception"}  # set metric -> whose features it compares
FID_VIDEOS = 50  # fewer on either side: refused unless asked for
CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0  # Jayasumana et al. 2024
AT_ONCE = 4096  # rows of a kernel matrix in memory


def cubic(x: Array, y: Array) -> Array:
    """Compute KID's kernel (Binkowski et al. 2018): (<x, y> / d + 1)^3."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian(x: Array, y: Array, sigma: float = CMMD_SIGMA) -> Array:
    """Compute exp(-|x - y|^2 / (2 sigma^2))."""
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    return np.asarray(np.exp(-np.maximum(squares, 0) / (2 * sigma**2)))


@dataclass(frozen=True)
class Discrepancy:
    """The kernel sums between n and m videos, all that the estimators need.

    xx [n, n], yy [m, m], xy [n, m]: sums over pairs of frames; nx [n], ny [m]: frames a video; sx, sy: sums
    of every frame with itself.
    """

    xx: Array
    yy: Array
    xy: Array
    nx: Array
    ny: Array
    sx: float
    sy: float

    @classmethod
    def of(cls, x: Sequence[Array], y: Sequence[Array], kernel: Kernel) -> "Discrepancy":
        """Sum over features [f, d] of every video."""
        nx, ny = (np.array([len(video) for video in side], float) for side in (x, y))
        own = [float(sum(np.trace(kernel(v, v)) for v in side)) for side in (x, y)]
        return cls(_sums(x, x, kernel), _sums(y, y, kernel), _sums(x, y, kernel), nx, ny, *own)

    def published(self, biased: bool) -> float:
        """Estimate over all frames as if independent: the V-statistic, or unbiased, without the diagonal."""
        n, m = self.nx.sum(), self.ny.sum()
        cross = self.xy.sum() / (n * m)
        if biased:
            return float(self.xx.sum() / n**2 + self.yy.sum() / m**2 - 2 * cross)
        xx, yy = (self.xx.sum() - self.sx) / (n * (n - 1)), (self.yy.sum() - self.sy) / (m * (m - 1))
        return float(xx + yy - 2 * cross)

    def between(self, wx: Array | None = None, wy: Array | None = None) -> float:
        """Estimate over pairs of frames of different videos; `wx`, `wy` say how often each was drawn."""
        wx = np.ones_like(self.nx) if wx is None else wx
        wy = np.ones_like(self.ny) if wy is None else wy
        sides = ((self.xx, self.nx, wx), (self.yy, self.ny, wy))
        xx, yy = (
            (w @ k @ w - w**2 @ np.diag(k)) / max((w @ n) ** 2 - ((w * n) ** 2).sum(), 1.0)
            for k, n, w in sides
        )
        return float(xx + yy - 2 * (wx @ self.xy @ wy) / ((wx @ self.nx) * (wy @ self.ny)))

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of `between`, drawing videos on both sides."""
        draws = zip(bootstrap(len(self.nx), 500), bootstrap(len(self.ny), 500, seed=1), strict=True)
        kept = [self.between(wx, wy) for wx, wy in draws if min((wx > 0).sum(), (wy > 0).sum()) > 1]
        low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def frechet(x: Array, y: Array) -> float:
    """Compute the exact squared Frechet distance of Gaussians fitted to [n, d] and [m, d], low rank or not.

    tr sqrt(S1 S2) is the nuclear norm of Xc Yc^T / sqrt((n-1)(m-1)), an n x m matrix however large d is; a
    side longer than d is first replaced by its triangular factor, which leaves the norm as it is.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    shift = x.mean(0) - y.mean(0)
    xc, yc = (side - side.mean(0) for side in (x, y))
    traces = (xc**2).sum() / (len(x) - 1) + (yc**2).sum() / (len(y) - 1)
    cross = np.linalg.svd(_short(xc) @ _short(yc).T, compute_uv=False).sum()
    return float(shift @ shift + traces - 2 * cross / np.sqrt((len(x) - 1) * (len(y) - 1)))


def _short(side: Array) -> Array:
    return np.asarray(np.linalg.qr(side, mode="r")) if len(side) > side.shape[1] else side


def check_fid(videos: int, references: int, allow_small: bool) -> None:
    """Refuse FID where its bias is all there is; raises UserError with the way out."""
    if min(videos, references) < FID_VIDEOS and not allow_small:
        raise UserError(
            f"FID of {videos} videos against {references} references says little but their numbers: "
            f"take kid, or ask for it with --allow-small-fid (refused below {FID_VIDEOS} on either side)"
        )


def set_score(name: str, x: Sequence[Array], y: Sequence[Array]) -> dict[str, float | int | bool | str]:
    """Compute a set metric, with its n: features [f, d] of every video, and of every distinct reference."""
    counts: dict[str, float | int | bool | str] = {
        "videos": len(x),
        "references": len(y),
        "frames": sum(map(len, x)),
        "reference_frames": sum(map(len, y)),
    }
    if min(len(x), len(y)) < 2:
        return counts | {"status": "too_few_videos"}
    if name == "fid":
        frames, others = np.concatenate(list(x)), np.concatenate(list(y))
        low_rank = min(len(frames), len(others)) <= frames.shape[1]
        return {"fid": frechet(frames, others)} | counts | {"rank_deficient": low_rank, "status": "ok"}
    found = Discrepancy.of(x, y, cubic if name == "kid" else gaussian)
    scale = 1.0 if name == "kid" else CMMD_SCALE
    low, high = found.interval()
    figures = {name: found.between(), "low": low, "high": high, "published": found.published(name == "cmmd")}
    return {key: scale * value for key, value in figures.items()} | counts | {"status": "ok"}


def _sums(x: Sequence[Array], y: Sequence[Array], kernel: Kernel) -> Array:
    """Sum the kernel over the frames of every two videos, [n, m]; some rows of it at a time."""
    others = np.concatenate(list(y)).astype(np.float64)
    columns = np.cumsum([0, *(len(video) for video in y[:-1])])
    blocks: list[Array] = []
    waiting: list[Array] = []
    for index, video in enumerate(x):
        waiting.append(video.astype(np.float64))
        if sum(map(len, waiting)) * len(others) >= AT_ONCE**2 or index == len(x) - 1:
            rows = np.cumsum([0, *(len(video) for video in waiting[:-1])])
            matrix = kernel(np.concatenate(waiting), others)
            blocks.append(np.add.reduceat(np.add.reduceat(matrix, columns, axis=1), rows, axis=0))
            waiting = []
    return np.concatenate(blocks)
