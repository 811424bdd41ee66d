"""Adaptive acceleration (Sec. 4.3): when the teacher runs, and over which times."""

from collections import deque

import torch
from torch import Tensor

from motionecho.config import EchoConfig
from motionecho.schedules import uniform_grid


class ActivationWindow:
    """The last W student motion losses of every sample, and what they decide against delta_1 and delta_2.

    All is on the CPU. Losses of quiet references are small from the start, so thresholds may be shares of a
    sample's first.
    """

    def __init__(self, config: EchoConfig):
        self.config = config
        window, current = config.activation.window, config.activation.window_includes_current
        # without the current loss in the window, one more has to be remembered
        self.losses: deque[Tensor] = deque(maxlen=window + (not current))
        self.first: Tensor | None = None

    def push(self, loss: Tensor) -> Tensor:
        """Add this step's losses [b]; return the windowed mean [b] over what is there so far."""
        self.losses.append(loss)
        self.first = loss if self.first is None else self.first
        seen = list(self.losses)
        if not self.config.activation.window_includes_current and len(seen) > 1:
            seen = seen[:-1]
        return torch.stack(seen[-self.config.activation.window :]).mean(0)

    def active(self, step: int, mean: Tensor | None, batch: int) -> Tensor:
        """Which samples the teacher serves at this student step, bool [b]."""
        allowed = step < teachable_steps(self.config) and self.config.activation.activation != "never"
        if not allowed or self.config.teacher.teacher_weight == 0:
            return torch.zeros(batch, dtype=torch.bool)
        if self.config.activation.activation == "always" or mean is None:
            return torch.ones(batch, dtype=torch.bool)
        return mean > self._threshold(self.config.activation.activation_threshold, batch)

    def truncation(self, batch: int) -> Tensor:
        """Loss [b] below which the teacher's guided walk ends, 0: only its cap ends it."""
        adaptive = self.config.activation.activation == "adaptive"
        return self._threshold(self.config.activation.truncation_threshold if adaptive else 0.0, batch)

    def _threshold(self, value: float, batch: int) -> Tensor:
        if self.config.activation.threshold_unit == "first_loss" and self.first is not None:
            return value * self.first
        return torch.full((batch,), value)


def teachable_steps(config: EchoConfig) -> int:
    """The number of leading student steps in which the teacher may run."""
    share = config.teacher.teacher_fraction
    return config.student.steps_in(config.guidance.guided_fraction if share is None else share)


def ramp(config: EchoConfig, step: int) -> float:
    """Factor in (0, 1] on the strength (MotionClone): rises at first, falls over the last guided steps."""
    factor, guided = 1.0, config.student.steps_in(config.guidance.guided_fraction)
    if step < config.guidance.warm_up:
        factor *= (step + 1) / config.guidance.warm_up
    if step >= guided - config.guidance.cool_down:
        factor *= (guided - step) / config.guidance.cool_down
    return factor


def teacher_times(config: EchoConfig, t: int, t_next: int) -> list[int]:
    """The teacher's times within one student interval, descending from t_s < t, all above t_next."""
    top = min(t - 1, round(t_next + config.teacher.renoise_position * (t - t_next)))
    if config.teacher.teacher_grid == "dense":
        times = [s for s in uniform_grid(config.teacher.teacher_grid_steps) if t_next < s <= top]
    else:
        steps = config.teacher.teacher_max_steps
        times = [round(top + (t_next - top) * k / steps) for k in range(steps)]
    times = [s for s in dict.fromkeys(times) if s > t_next]
    return times or [max(top, t_next + 1)]
