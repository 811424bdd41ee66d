"""START HERE: MotionEcho, the paper's Algorithm 1, line by line.

A few-step student generates; where its motion strays from the reference, a slow teacher takes the
student's clean prediction, walks a stretch of its own guided trajectory, and the student's prediction
is pulled towards the teacher's endpoint. Symbols: z_t = alpha_t x0 + sigma_t eps; G is the motion loss.

    motion = invert(pair, frames, config)
    latents, traces = generate(pair, [motion], ["a red star on a blue background"], [42], config)
    video = pair.decode_video(latents)
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from motionecho.adaptive import ActivationWindow, ramp, teachable_steps, teacher_times
from motionecho.config import EchoConfig
from motionecho.denoiser import Backbone, Prediction
from motionecho.device import beside
from motionecho.guidance.steering import predict, scaled, steer
from motionecho.inversion import Motion, guidance_of
from motionecho.models.pair import ModelPair
from motionecho.noise import batch_noise, blend
from motionecho.steplog import StepLog
from motionecho.teacher import GuidedTeacher
from motionecho.trace import StepTrace, Trace

OnStep = Callable[[list[StepTrace]], None]


def generate(
    pair: ModelPair,
    motions: Sequence[Motion],
    prompts: Sequence[str],
    seeds: Sequence[int],
    config: EchoConfig,
    negative_prompts: Sequence[str] | None = None,
    on_step: OnStep | None = None,
) -> tuple[Tensor, list[Trace]]:
    """Generate a batch of b samples: clean latents [b, c, f, h, w] and one Trace each.

    A sample's result depends on its own motion, prompt and seed alone, not on its neighbours.
    Raises BadSample where latents become not finite or a prompt cannot be read.
    """
    traces = [Trace() for _ in prompts]

    def record(steps: list[StepTrace]) -> None:
        for trace, step in zip(traces, steps, strict=True):
            trace.steps.append(step)
        if on_step:
            on_step(steps)

    text, null = pair.encode_text([*prompts, *(negative_prompts or [""] * len(prompts))]).chunk(2)
    motion = Motion.stack(motions, pair.device)
    return echo(pair.student, pair.teacher, motion, text, null, seeds, config, record), traces


@torch.no_grad()
def echo(
    student: Backbone,
    teacher: Backbone,
    motion: Motion,
    text: Tensor,
    null: Tensor,
    seeds: Sequence[int],
    config: EchoConfig,
    on_step: OnStep,
) -> Tensor:
    """Algorithm 1; motion, text and null states lead with [b]. Returns the last x0 [b, c, f, h, w]."""
    schedule, solver, guidance = student.schedule, student.solver, guidance_of(student, config)
    bound = GuidedTeacher(teacher, motion.teacher, text, null, config)
    window = ActivationWindow(config)
    guided_steps = config.student.steps_in(config.guidance.guided_fraction)
    teacher_steps = teachable_steps(config)
    fresh = (
        solver.noise if config.student.student_noise == "solver" else config.student.student_noise
    ) == "fresh"
    times = [*solver.timesteps(config.student.steps), 0]

    # z_T = sqrt(g) z_T^ref + sqrt(1 - g) eps
    z = blend(motion.z_T, batch_noise(seeds, "initial", 0, motion.z_T), config.student.noise_blend)
    x0 = z
    log = StepLog(z.device, on_step)
    for step, (t, t_next) in enumerate(pairwise(times)):
        # stage 1: student prediction eps, motion loss G and its gradient; guided noise (Eq. 3)
        strength = config.guidance.student_strength * ramp(config, step) if step < guided_steps else 0.0
        watched = strength > 0 or (config.activation.activation == "adaptive" and step < teacher_steps)
        above = 0.0 if strength > 0 else None
        seen = predict(student, z, t, text, guidance if watched else None, motion.student, above)
        shift = None if seen.gradient is None else scaled(seen.gradient, strength, config.guidance.gradient)
        eps_x0, eps_next = steer(seen.eps, shift, schedule.sigma(t), config.guidance.student_update)
        x0 = solver.x0(schedule, z, eps_x0, t)

        # stage 2: step-wise activation, mean of the last W losses against delta_1
        mean = None if seen.loss is None else window.push(seen.loss)
        active = window.active(step, mean, len(z))
        lines = _open_lines(step, t, t_next, seen, mean, active)

        # stage 3: the teacher starts from the unguided prediction; interpolate towards its endpoint (Eq. 5)
        if bool(active.any()):
            index = active.nonzero()[:, 0]
            unguided = solver.x0(schedule, z, seen.eps, t)
            lift = batch_noise(seeds, "teacher", step, z) if config.teacher.renoise == "fresh" else seen.eps
            below = window.truncation(len(z))[index]
            endpoint = teacher_endpoint(bound, unguided, lift, index, t, t_next, below, lines)
            at = beside(index, z)
            x0[at] = torch.lerp(x0[at], endpoint, config.teacher.teacher_weight)

        # renoise to the next step (Eq. 4); guidance of the direction alone acts here
        eps = batch_noise(seeds, "student", step, z) if fresh else seen.eps
        z = schedule.add_noise(x0, eps + (eps_next - seen.eps), t_next)
        log.close(lines, z)
    log.settle()
    return x0


def teacher_endpoint(
    teacher: GuidedTeacher,
    x0: Tensor,
    lift: Tensor,
    index: Tensor,
    t: int,
    t_next: int,
    below: Tensor,
    lines: list[StepTrace],
) -> Tensor:
    """Test-time distillation (Sec. 4.2): the teacher's endpoint x0_{0 <- t_i} for the samples `index`.

    x0 and the lifting noise are [b, c, f, h, w]; `below` is delta_2, [len(index)]. Returns
    [len(index), c, f, h, w] and notes the work in `lines`.
    """
    config, schedule = teacher.config, teacher.backbone.schedule
    times = teacher_times(config, t, t_next)

    # renoise the unguided student prediction to t_s, a time on the teacher's trajectory
    z = schedule.add_noise(x0, lift, times[0])[beside(index, x0)]
    live = torch.arange(len(index))  # samples still on the guided walk
    for count, (s, s_next) in enumerate(zip(times, [*times[1:], t_next], strict=True)):
        # guided DDIM; dynamic truncation: below delta_2, or at the cap N_max, one plain jump to t_i
        capped = count == config.teacher.teacher_max_steps
        at = beside(live, z)
        seen = teacher.predict(z[at], s, index[live], None if capped else below[live])
        done = torch.full_like(live, capped).bool() if seen.loss is None else seen.loss < below[live]
        onward, _ = teacher.ddim(z[at], seen, s, s_next)
        jump, _ = teacher.ddim(z[at], Prediction(seen.eps), s, t_next)
        z[at] = torch.where(beside(done, z).view(-1, 1, 1, 1, 1), jump, onward)
        teacher.note(lines, index[live], seen, done)
        _note_walk([lines[k] for k in index[live].tolist()], seen, done)
        live = live[~done]
        if len(live) == 0:
            break

    # endpoint prediction at t_i
    seen = teacher.predict(z, t_next, index, 0.0 if config.teacher.endpoint_guidance else None)
    eps_x0, _ = steer(seen.eps, teacher.shift(seen), schedule.sigma(t_next), "x0")
    teacher.note(lines, index, seen)
    for k in index.tolist():
        lines[k].teacher_start, lines[k].teacher_weight = times[0], config.teacher.teacher_weight
    return schedule.x0(z, eps_x0, t_next)


def _open_lines(
    step: int, t: int, t_next: int, seen: Prediction, mean: Tensor | None, active: Tensor
) -> list[StepTrace]:
    """What stages 1 and 2 know, one trace line a sample."""
    losses = [None] * len(active) if seen.loss is None else seen.loss.tolist()
    means = [None] * len(active) if mean is None else mean.tolist()
    lines = [StepTrace(step, t, t_next, *row) for row in zip(losses, means, active.tolist(), strict=True)]
    for line in lines:
        line.evaluations["student" if seen.gradient is None else "student_guided"] += 1
    return lines


def _note_walk(lines: list[StepTrace], seen: Prediction, done: Tensor) -> None:
    losses = [None] * len(lines) if seen.loss is None else seen.loss.tolist()
    for line, loss, left in zip(lines, losses, done.tolist(), strict=True):
        line.teacher_steps += 1
        line.truncated = left
        line.teacher_loss = line.teacher_loss if loss is None else loss
