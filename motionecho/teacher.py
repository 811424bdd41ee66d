"""The slow teacher: noise guided by text and motion, its DDIM step, and MotionClone, the teacher alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from motionecho.config import EchoConfig
from motionecho.denoiser import Backbone, Prediction
from motionecho.device import beside
from motionecho.guidance.steering import Target, predict, rows, scaled, steer
from motionecho.inversion import Motion, guidance_of
from motionecho.noise import batch_noise, blend
from motionecho.schedules import uniform_grid
from motionecho.trace import StepTrace


@dataclass(frozen=True)
class GuidedTeacher:
    """A teacher bound to a batch: reference target, text and null states lead with [b]."""

    backbone: Backbone
    target: Target
    text: Tensor
    null: Tensor
    config: EchoConfig

    def predict(self, z: Tensor, t: int, index: Tensor, guide_above: Tensor | float | None) -> Prediction:
        """Noise of the samples `index` by classifier-free guidance, eps_u + s (eps_c - eps_u).

        The motion loss and its gradient are those of the conditional branch; the gradient is taken for
        samples whose loss is at least `guide_above`, None asks for neither.
        """
        scale, at = self.config.teacher.teacher_guidance_scale, beside(index, z)
        text, null = self.text[at], self.null[at]
        if guide_above is None or self.config.guidance.teacher_strength == 0:
            if scale == 1:
                return Prediction(self.backbone.denoise(z, t, text))
            both = self.backbone.denoise(torch.cat([z, z]), t, torch.cat([text, null]))
            eps, plain = both.chunk(2)
            return Prediction(plain + scale * (eps - plain))
        guidance = guidance_of(self.backbone, self.config)
        seen = predict(self.backbone, z, t, text, guidance, rows(self.target, index), guide_above)
        if scale == 1:
            return seen
        plain = self.backbone.denoise(z, t, null)
        return replace(seen, eps=plain + scale * (seen.eps - plain))

    def shift(self, seen: Prediction) -> Tensor | None:
        """The guidance shift g of a prediction, None where it carries no gradient."""
        if seen.gradient is None:
            return None
        return scaled(seen.gradient, self.config.guidance.teacher_strength, self.config.guidance.gradient)

    def ddim(self, z: Tensor, seen: Prediction, t: int, t_next: int) -> tuple[Tensor, Tensor]:
        """One DDIM step (eta 0) from t to t_next: returns (z at t_next, the clean prediction x0)."""
        schedule = self.backbone.schedule
        eps_x0, eps_next = steer(
            seen.eps, self.shift(seen), schedule.sigma(t), self.config.guidance.teacher_update
        )
        x0 = schedule.x0(z, eps_x0, t)
        return schedule.add_noise(x0, eps_next, t_next), x0

    def note(
        self, steps: list[StepTrace], index: Tensor, seen: Prediction, done: Tensor | None = None
    ) -> None:
        """Count one prediction for the samples `index`; those `done` needed no gradient."""
        for row, k in enumerate(index.tolist()):
            guided = seen.gradient is not None and not (done is not None and bool(done[row]))
            steps[k].evaluations["teacher_guided" if guided else "teacher"] += 1
            steps[k].evaluations["teacher"] += self.config.teacher.teacher_guidance_scale != 1


@torch.no_grad()
def motionclone(
    teacher: Backbone,
    motion: Motion,
    text: Tensor,
    null: Tensor,
    seeds: Sequence[int],
    config: EchoConfig,
    steps: int,
) -> tuple[Tensor, list[list[StepTrace]]]:
    """MotionClone, the baseline without a student: guided DDIM over a uniform grid of `steps` times.

    The leading `guided_fraction` of the steps is guided. Returns x0 [b, c, f, h, w] and, per step, one
    trace line a sample.
    """
    bound = GuidedTeacher(teacher, motion.teacher, text, null, config)
    z = blend(motion.z_T, batch_noise(seeds, "initial", 0, motion.z_T), config.student.noise_blend)
    everyone, x0 = torch.arange(len(z)), z
    times, log = [*uniform_grid(steps), 0], []
    for step, (t, t_next) in enumerate(pairwise(times)):
        seen = bound.predict(z, t, everyone, 0.0 if step < config.guidance.guided_fraction * steps else None)
        z, x0 = bound.ddim(z, seen, t, t_next)
        lines = [StepTrace(step, t, t_next) for _ in seeds]
        bound.note(lines, everyone, seen)
        log.append(lines)
    return x0, log
