"""Noise schedule, timestep grids and the solvers of the student.

Notation of the paper: z_t = alpha_t x0 + sigma_t eps, with alpha_t^2 + sigma_t^2 = 1.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

TRAIN_STEPS = 1000


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The 1000-step variance-preserving schedule of a latent diffusion model."""

    alphas_cumprod: tuple[float, ...]

    @classmethod
    def from_betas(
        cls, start: float, end: float, kind: Literal["linear", "scaled_linear"] = "linear"
    ) -> "NoiseSchedule":
        """Build from betas rising linearly, or in their square root (`scaled_linear`, as in LVDM)."""
        power = 0.5 if kind == "scaled_linear" else 1.0
        betas = torch.linspace(start**power, end**power, TRAIN_STEPS, dtype=torch.float64) ** (1 / power)
        return cls(tuple(torch.cumprod(1 - betas, 0).tolist()))

    def alpha(self, t: int) -> float:
        return self.alphas_cumprod[t] ** 0.5

    def sigma(self, t: int) -> float:
        return (1 - self.alphas_cumprod[t]) ** 0.5

    def rates(self) -> Tensor:
        """alpha_t and sigma_t of all times, [2, 1000] in float32."""
        squares = torch.tensor(self.alphas_cumprod, dtype=torch.float64)
        return torch.stack([squares, 1 - squares]).sqrt().float()

    def add_noise(self, x0: Tensor, eps: Tensor, t: int) -> Tensor:
        """Eq. 4: alpha_t x0 + sigma_t eps."""
        return self.alpha(t) * x0 + self.sigma(t) * eps

    def x0(self, z: Tensor, eps: Tensor, t: int) -> Tensor:
        """Clean prediction (z_t - sigma_t eps) / alpha_t."""
        return (z - self.sigma(t) * eps) / self.alpha(t)


class Solver(Protocol):
    """How a student turns predicted noise into a clean video, on which timesteps, and how it renoises."""

    @property
    def noise(self) -> Literal["fresh", "predicted"]: ...
    def timesteps(self, steps: int) -> list[int]: ...
    def x0(self, schedule: NoiseSchedule, z: Tensor, eps: Tensor, t: int) -> Tensor: ...


@dataclass(frozen=True)
class Consistency:
    """Latent consistency sampling (LCM): boundary-scaled prediction, fresh noise at every step.

    c_skip = s^2 / ((10 t)^2 + s^2), c_out = 10 t / sqrt((10 t)^2 + s^2), s = 0.5.
    """

    origin_steps: int = 50
    sigma_data: float = 0.5
    timestep_scaling: float = 10.0
    noise: Literal["fresh", "predicted"] = "fresh"

    def timesteps(self, steps: int) -> list[int]:
        """`steps` times from 999 down, every (origin // steps)-th point of the distillation grid."""
        if not 1 <= steps <= self.origin_steps:
            raise ValueError(
                f"steps={steps} has to be between 1 and {self.origin_steps}, the student's distillation grid"
            )
        spacing = TRAIN_STEPS // self.origin_steps
        grid = [spacing * (k + 1) - 1 for k in range(self.origin_steps)]
        return grid[:: -(self.origin_steps // steps)][:steps]

    def x0(self, schedule: NoiseSchedule, z: Tensor, eps: Tensor, t: int) -> Tensor:
        scaled = (self.timestep_scaling * t) ** 2
        total = scaled + self.sigma_data**2
        return self.sigma_data**2 / total * z + (scaled / total) ** 0.5 * schedule.x0(z, eps, t)


@dataclass(frozen=True)
class EulerTrailing:
    """Euler on trailing timesteps (AnimateDiff-Lightning); in variance-preserving form, DDIM with eta 0."""

    noise: Literal["fresh", "predicted"] = "predicted"

    def timesteps(self, steps: int) -> list[int]:
        return [round(TRAIN_STEPS - k * TRAIN_STEPS / steps) - 1 for k in range(steps)]

    def x0(self, schedule: NoiseSchedule, z: Tensor, eps: Tensor, t: int) -> Tensor:
        return schedule.x0(z, eps, t)


def uniform_grid(steps: int) -> list[int]:
    """`steps` times of the teacher from 999 down in equal strides; the walk ends at 0, not listed."""
    return [round((TRAIN_STEPS - 1) * (1 - k / steps)) for k in range(steps)]
