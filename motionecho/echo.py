"""START HERE: MotionEcho, the paper's Algorithm 1, line by line.

A few-step student generates; where its motion strays from the reference, a slow teacher takes the
student's clean prediction, walks a stretch of its own guided trajectory, and the student's prediction
is pulled towards the teacher's endpoint. Symbols: z_t = alpha_t x0 + sigma_t eps; G is the motion loss.

    motion = invert(pair, frames, config)
    latents, traces = generate(pair, [motion], ["a red star on a blue background"], [42], config)
    videos = pair.codec.decode(latents)
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from motionecho.adaptive import ActivationWindow, Step, itinerary
from motionecho.carrying import Carrier, carrying
from motionecho.config import EchoConfig
from motionecho.device import to_device_of
from motionecho.guidance.steering import Prediction, steer_of
from motionecho.guidance.strategy import strategy_of
from motionecho.inversion import Motion, initial
from motionecho.models.pair import ModelPair
from motionecho.noise import batch_noise
from motionecho.runs.waits import counted
from motionecho.schedules import renoise
from motionecho.steplog import StepLog
from motionecho.teacher import Teacher, alone, structured
from motionecho.trace import StepTrace, Trace

OnStep = Callable[[list[StepTrace]], None]
BASELINES = {"teacher": alone, "structure": structured}  # without Algorithm 1, by method


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
    Raises BadSample where latents become not finite or a prompt cannot be read, ValueError where motions,
    prompts, seeds and negative prompts are not equally many.
    """
    negatives = negative_prompts or [""] * len(prompts)
    if not len(motions) == len(prompts) == len(seeds) == len(negatives):
        raise ValueError("generate takes one motion, one seed and one negative prompt for every prompt")
    traces = [Trace() for _ in prompts]

    def record(steps: list[StepTrace]) -> None:
        for trace, step in zip(traces, steps, strict=True):
            trace.steps.append(step)
        if on_step:
            on_step(steps)

    text, null = pair.encode_text([*prompts, *negatives]).chunk(2)
    motion = Motion.stack(motions, pair.device)
    sample = BASELINES.get(config.sampling.method, echo)
    return sample(pair, motion, text, null, seeds, config, record), traces


@torch.no_grad()
def echo(
    pair: ModelPair,
    motion: Motion,
    text: Tensor,
    null: Tensor,
    seeds: Sequence[int],
    config: EchoConfig,
    on_step: OnStep,
) -> Tensor:
    """Sample a batch: motion, text and null states lead with [b]. Returns the last x0 [b, c, f, h, w]."""
    with carrying(pair, motion, config) as carrier:
        return algorithm_1(pair, carrier, motion, text, null, seeds, config, on_step)


def algorithm_1(
    pair: ModelPair,
    carrier: Carrier,
    motion: Motion,
    text: Tensor,
    null: Tensor,
    seeds: Sequence[int],
    config: EchoConfig,
    on_step: OnStep,
) -> Tensor:
    """Follow Algorithm 1, on networks that carry what was trained on the references; the rest as `echo`."""
    student, energy = carrier.student, strategy_of(pair.student, config.reference).energy
    steer = steer_of(config.guidance, config.guidance.student_update)
    teacher = Teacher.bind(pair, carrier, motion, text, null, config)
    window = ActivationWindow(config.activation)
    own, chosen = student.noise, config.student.student_noise
    noise = own if chosen == "solver" else chosen

    steps = itinerary(config, pair.schedule, student, pair.teacher)

    # z_T = sqrt(g) z_T^ref + sqrt(1 - g) eps
    z = pair.schedule.start(initial(motion, seeds, config), steps[0].at)
    x0 = z
    log = StepLog(z.device, on_step)
    for step in counted("steps", steps):
        # stage 1: the student's prediction, motion loss G and guidance by its gradient (Eq. 3)
        target = motion.student.targets[energy.time_for(float(step.at.t))]
        seen = steer(student, z, step.at, text, energy, target, step.ask)
        x0 = seen.x0

        # stage 2: step-wise activation, mean of the last W losses against delta_1
        mean = None if seen.loss is None else window.push(seen.loss)
        active = window.active(mean, len(z)) & step.teachable
        lines = _open_lines(step, seen, mean, active)

        # stage 3: the teacher starts from the unguided prediction; interpolate towards its endpoint (Eq. 5)
        if bool(active.any()):
            index = active.nonzero()[:, 0]
            place = to_device_of(z, index)
            fresh_lift = config.teacher.renoise == "fresh"
            lift = batch_noise(seeds, "teacher", step.index, z) if fresh_lift else seen.eps
            delta_2 = window.truncation(len(z))[index]
            endpoint = teacher.walk(seen.plain[place], lift[place], index, step, delta_2, lines)
            x0 = x0.index_copy(0, place, torch.lerp(x0[place], endpoint, config.teacher.teacher_weight))

        # renoise to the next step (Eq. 4); guidance of the direction alone acts here
        fresh = None if noise == "predicted" else batch_noise(seeds, "student", step.index, z)
        z = renoise(x0, seen.noise(noise, fresh), step.to)
        log.close(lines, z)
    log.settle()
    return x0


def _open_lines(step: Step, seen: Prediction, mean: Tensor | None, active: Tensor) -> list[StepTrace]:
    """Write down what stages 1 and 2 know, one trace line a sample."""
    losses = [None] * len(active) if seen.loss is None else seen.loss.tolist()
    means = [None] * len(active) if mean is None else mean.tolist()
    t, t_next = float(step.at.t), float(step.to.t)
    known = zip(losses, means, active.tolist(), strict=True)
    lines = [StepTrace(step.index, t, t_next, *row) for row in known]
    for line, forwards, backwards in zip(lines, seen.forwards.tolist(), seen.backwards.tolist(), strict=True):
        line.spend("student", forwards, backwards)
    return lines
