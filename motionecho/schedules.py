"""Noise levels, the schedules that say them by time, and the grids of times that are walked.

Notation of the paper: z_t = alpha_t x0 + sigma_t eps. Times are floats; a network is told the time as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

TRAIN_STEPS = 1000
Answer = Literal["x0", "eps", "v", "flow"]  # what a network's own output means
Scalar = float | Tensor  # in a recorded pass a tensor on the device, without dimensions


@dataclass(frozen=True)
class Level:
    """A noise level: z = alpha x0 + sigma eps; `t` in [0, 1000] is what the network is told."""

    t: Scalar
    alpha: Scalar
    sigma: Scalar


class Schedule(Protocol):
    """The levels of a pair's latents by time, one schedule for student and teacher."""

    @property
    def top(self) -> float:
        """The time of pure noise, where inversion ends and sampling begins."""
        ...

    def at(self, t: float) -> Level: ...

    def pace(self, t: float) -> float:
        """Say how far up a time is, from 0 to `top`, by the measure in which walks take equal strides."""
        ...

    def time(self, pace: float) -> float:
        """Return the time so far up, the inverse of `pace`, or the closest that networks are trained on."""
        ...

    def start(self, noise: Tensor, at: Level) -> Tensor:
        """Make the latent that sampling begins with at a level, of unit noise."""
        ...


@dataclass(frozen=True, eq=False)
class Discrete:
    """The variance-preserving schedule of 1000 steps: alpha_t^2 + sigma_t^2 = 1.

    Between two steps it is linear in alpha_t^2.
    """

    alphas_cumprod: tuple[float, ...]
    top: float = TRAIN_STEPS - 1.0

    @classmethod
    def from_betas(
        cls,
        start: float,
        end: float,
        kind: Literal["linear", "scaled_linear"] = "linear",
        shift: float = 1.0,
        to_pure_noise: bool = False,
    ) -> "Discrete":
        """Build from betas rising linearly, or in their square root (`scaled_linear`, as in LVDM).

        `shift` divides the ratio of signal to noise, alpha^2 / sigma^2. With `to_pure_noise` alpha is
        stretched to end at 0 (zero terminal SNR), where networks that answer v alone can begin.
        """
        power = 0.5 if kind == "scaled_linear" else 1.0
        betas = torch.linspace(start**power, end**power, TRAIN_STEPS, dtype=torch.float64) ** (1 / power)
        squares = torch.cumprod(1 - betas, 0)
        squares = squares / (shift + (1 - shift) * squares)
        if to_pure_noise:
            alphas = squares.sqrt()
            squares = ((alphas - alphas[-1]) * alphas[0] / (alphas[0] - alphas[-1])).square()
        return cls(tuple(squares.tolist()))

    def at(self, t: float) -> Level:
        low = min(int(t), TRAIN_STEPS - 2)
        share = t - low
        square = (1 - share) * self.alphas_cumprod[low] + share * self.alphas_cumprod[low + 1]
        return Level(float(t), square**0.5, (1 - square) ** 0.5)

    def pace(self, t: float) -> float:
        return t

    def time(self, pace: float) -> float:
        return float(round(pace))

    def start(self, noise: Tensor, at: Level) -> Tensor:
        return noise  # at the top it passes for the latent, whose deviation is 1 at every level


@dataclass(frozen=True)
class Flow:
    """The straight path of flow matching: z = (1 - s) x0 + s eps at s = t / 1000.

    Walks take equal strides of u, where s = shift u / (1 + (shift - 1) u): most of them near the noise.
    """

    shift: float = 1.0
    top: float = 1000.0

    def at(self, t: float) -> Level:
        return Level(float(t), 1 - t / self.top, t / self.top)

    def pace(self, t: float) -> float:
        s = t / self.top
        return self.top * s / (self.shift - (self.shift - 1) * s)

    def time(self, pace: float) -> float:
        u = pace / self.top
        return self.top * self.shift * u / (1 + (self.shift - 1) * u)

    def start(self, noise: Tensor, at: Level) -> Tensor:
        return at.sigma * noise


def renoise(x0: Tensor, eps: Tensor, to: Level) -> Tensor:
    """Renoise by Eq. 4: alpha x0 + sigma eps."""
    return to.alpha * x0 + to.sigma * eps


def eps_of(z: Tensor, x0: Tensor, at: Level) -> Tensor:
    """Return the noise that a clean prediction implies, (z - alpha x0) / sigma; sigma has to be above 0."""
    return (z - at.alpha * x0) / at.sigma


def clean(answer: Answer, z: Tensor, out: Tensor, at: Level) -> Tensor:
    """The clean video that an output means: x0, eps, v = alpha eps - sigma x0, or flow = eps - x0."""
    if answer == "eps":
        return (z - at.sigma * out) / at.alpha
    if answer == "v":
        return at.alpha * z - at.sigma * out
    return z - at.sigma * out if answer == "flow" else out


def output_of(answer: Answer, x0: Tensor, z: Tensor, at: Level) -> Tensor:
    """Turn a clean video back into the output that means it, at a level that is not clean: see `clean`."""
    if answer == "x0":
        return x0
    if answer == "v":
        return (at.alpha * z - x0) / at.sigma
    return (z - (at.alpha if answer == "eps" else 1) * x0) / at.sigma


def climb(z: Tensor, eps: Tensor, at: Level, to: Level) -> Tensor:
    """Walk up one step along given noise, as DDIM inversion does; alpha at `at` has to be above 0."""
    return renoise((z - at.sigma * eps) / at.alpha, eps, to)


Grid = Callable[[int], list[float]]  # n to n times, descending; the closing 0 is not listed


def uniform(schedule: Schedule) -> Grid:
    """Return the grid of n times from the top down in equal strides, as a teacher walks."""
    return lambda n: [schedule.time(schedule.top * (1 - k / n)) for k in range(n)]


def trailing(n: int) -> list[float]:
    """Return n times of Euler on trailing timesteps (AnimateDiff-Lightning): 1000 - 1000 k / n, less 1."""
    return [float(round(TRAIN_STEPS - k * TRAIN_STEPS / n) - 1) for k in range(n)]


def unipc(shift: float) -> Grid:
    """Make UniPC's grid of n times for flow matching, as diffusers 0.42 has it: no step ends near 0."""
    flow = Flow(shift)

    def times(n: int) -> list[float]:
        lowest = flow.top / TRAIN_STEPS  # of the n + 1 points from the top, which is left by a hair
        points = [flow.time(flow.top + (lowest - flow.top) * k / n) for k in range(n)]
        return [points[0] - flow.top * 1e-6, *points[1:]]

    return times


def listed(*points: float) -> Grid:
    """Make the grid of a student that is distilled for these times alone; fewer steps take the first ones.

    Raises ValueError where more steps are asked for than there are times.
    """

    def times(n: int) -> list[float]:
        if n > len(points):
            raise ValueError(
                f"steps={n} has to be at most {len(points)}: the student is distilled for no more"
            )
        return list(points[:n])

    return times


def consistency(origin_steps: int) -> Grid:
    """Make the grid of n times from 999 down, every (origin // n)-th point of a distillation grid (LCM).

    Raises ValueError where n is not between 1 and `origin_steps`.
    """

    def times(n: int) -> list[float]:
        if not 1 <= n <= origin_steps:
            raise ValueError(
                f"steps={n} has to be between 1 and {origin_steps}, the student's distillation grid"
            )
        spacing = TRAIN_STEPS // origin_steps
        points = [float(spacing * (k + 1) - 1) for k in range(origin_steps)]
        return points[:: -(origin_steps // n)][:n]

    return times


def boundary(z: Tensor, x0: Tensor, at: Level, sigma_data: float = 0.5, scaling: float = 10.0) -> Tensor:
    """Return a consistency model's clean prediction, which at t = 0 is its input (LCM).

    c_skip z + c_out x0, c_skip = s^2 / ((10 t)^2 + s^2), c_out = 10 t / sqrt((10 t)^2 + s^2), s = 0.5.
    """
    squared = (scaling * at.t) ** 2
    total = squared + sigma_data**2
    return sigma_data**2 / total * z + (squared / total) ** 0.5 * x0
