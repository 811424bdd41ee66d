"""Adaptive acceleration (Sec. 4.3): the steps of a run, when the teacher serves them, over which levels."""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from motionecho.config import ActivationSettings, EchoConfig, GuidanceSettings, TeacherSettings
from motionecho.denoiser import Ask, Denoiser
from motionecho.schedules import Grid, Level, Schedule


@dataclass(frozen=True)
class Step:
    """One student step, known before the first: from `at` to `to`, what is asked of the student's prediction.

    Where the teacher may run (`teachable`), it walks the levels of `walk`, all below `at` and above `to`.
    """

    index: int
    at: Level
    to: Level
    ask: Ask
    teachable: bool
    walk: tuple[Level, ...]


def itinerary(config: EchoConfig, schedule: Schedule, student: Denoiser, teacher: Denoiser) -> list[Step]:
    """Work out the steps of a run. The last one goes to time 0."""
    guidance, adaptive = config.guidance, config.activation.activation == "adaptive"
    guided = config.student.steps_in(guidance.guided_fraction)
    share = config.teacher.teacher_fraction
    served = guided if share is None else config.student.steps_in(share)
    if config.activation.activation == "never" or config.teacher.teacher_weight == 0:
        served = 0
    steps = []
    for index, (t, t_next) in enumerate(pairwise([*student.grid(config.student.steps), 0.0])):
        full = guidance.student_strength * guidance.motion_strength
        strength = full * ramp(guidance, guided, index) if index < guided else 0.0
        teachable = index < served
        walk = teacher_times(config.teacher, schedule, teacher.grid, t, t_next) if teachable else []
        ask = Ask(watch=adaptive and teachable, strength=strength)
        levels = tuple(schedule.at(s) for s in walk)
        steps.append(Step(index, schedule.at(t), schedule.at(t_next), ask, teachable, levels))
    return steps


def ramp(guidance: GuidanceSettings, guided: int, step: int) -> float:
    """Factor in (0, 1] on the strength (MotionClone): rises at first, falls over the last guided steps."""
    factor = 1.0
    if step < guidance.warm_up:
        factor *= (step + 1) / guidance.warm_up
    if step >= guided - guidance.cool_down:
        factor *= (guided - step) / guidance.cool_down
    return factor


def teacher_times(
    teacher: TeacherSettings, schedule: Schedule, grid: Grid, t: float, t_next: float
) -> list[float]:
    """List the teacher's times within one student interval, descending from t_s < t, all above t_next.

    t_s is a whole time or more below t, where the student already was; there always is one time.
    """
    low, high = schedule.pace(t_next), schedule.pace(t)
    top = min(t - 1, schedule.time(low + teacher.renoise_position * (high - low)))
    if teacher.teacher_grid == "dense":
        times = [s for s in grid(teacher.teacher_grid_steps) if t_next < s <= top]
    else:
        steps, high = teacher.teacher_max_steps, schedule.pace(top)
        times = [schedule.time(high + (low - high) * k / steps) for k in range(steps)]
    times = [s for s in dict.fromkeys(times) if s >= t_next + 1]
    return times or [max(top, t_next + 1)]


class ActivationWindow:
    """The last W student motion losses of every sample, and what they decide against delta_1 and delta_2.

    All is on the CPU. Losses of quiet references are small from the start, so thresholds may be shares of a
    sample's first.
    """

    def __init__(self, activation: ActivationSettings):
        self.activation = activation
        current = activation.window_includes_current
        # without the current loss in the window, one more has to be remembered
        self.losses: deque[Tensor] = deque(maxlen=activation.window + (not current))
        self.first: Tensor | None = None

    def push(self, loss: Tensor) -> Tensor:
        """Add this step's losses [b]; return the windowed mean [b] over what is there so far."""
        self.losses.append(loss)
        self.first = loss if self.first is None else self.first
        seen = list(self.losses)
        if not self.activation.window_includes_current and len(seen) > 1:
            seen = seen[:-1]
        return torch.stack(seen[-self.activation.window :]).mean(0)

    def active(self, mean: Tensor | None, batch: int) -> Tensor:
        """Which samples the teacher serves where it may, bool [b]: all, or those whose mean is high."""
        if self.activation.activation == "always" or mean is None:
            return torch.ones(batch, dtype=torch.bool)
        return mean > self._threshold(self.activation.activation_threshold, batch)

    def truncation(self, batch: int) -> Tensor:
        """Loss [b] below which the teacher's guided walk ends, 0: only its cap ends it."""
        adaptive = self.activation.activation == "adaptive"
        return self._threshold(self.activation.truncation_threshold if adaptive else 0.0, batch)

    def _threshold(self, value: float, batch: int) -> Tensor:
        if self.activation.threshold_unit == "first_loss" and self.first is not None:
            return value * self.first
        return torch.full((batch,), value)
