"""Means with honest intervals: the bootstrap draws whole groups, since results that share one are alike."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
NORMAL = 1.96  # standard errors that hold as much on either side
LARGE = 2000  # groups from which on the normal law says what the bootstrap does, which would take gigabytes


@dataclass(frozen=True)
class Estimate:
    """A mean over n values, and the interval that holds it with 95 %; None where one group tells nothing."""

    mean: float
    low: float | None
    high: float | None
    n: int


def estimate(values: Sequence[float], groups: Sequence[Hashable] | None = None) -> Estimate:
    """Average, and bootstrap percentiles over groups (default: every value its own). Always equal draws."""
    names = list(dict.fromkeys(groups if groups is not None else range(len(values))))
    place = {name: index for index, name in enumerate(names)}
    member = [place[name] for name in (groups if groups is not None else range(len(values)))]
    sums = np.bincount(member, weights=np.asarray(values, float), minlength=len(names))
    counts = np.bincount(member, minlength=len(names))
    mean = float(sums.sum() / counts.sum())
    if len(names) < 2:
        return Estimate(mean, None, None, len(values))
    if len(names) > LARGE:
        spread = float(np.sqrt(((sums - mean * counts) ** 2).sum()) / counts.sum())
        return Estimate(mean, mean - NORMAL * spread, mean + NORMAL * spread, len(values))
    drawn = [(weight @ sums) / (weight @ counts) for weight in bootstrap(len(names))]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high), len(values))


def bootstrap(groups: int, draws: int = DRAWS, seed: int = 0) -> NDArray[np.float64]:
    """Draw how often every group is taken, [draws, groups]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(float)
