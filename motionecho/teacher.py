"""The slow teacher: classifier-free guidance, its guided walk, and baselines without a student."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from motionecho.adaptive import Step
from motionecho.carrying import Carrier, carrying
from motionecho.config import EchoConfig
from motionecho.denoiser import CLEAN, Ask, Denoiser, Energy, Look, Probe, Target, clean_look
from motionecho.device import to_device_of
from motionecho.errors import BadSample, UserError
from motionecho.guidance.steering import Prediction, Update, rows, steer_of
from motionecho.guidance.strategy import Carried, strategy_of
from motionecho.inversion import Motion, initial
from motionecho.models.pair import ModelPair
from motionecho.models.speed.wrapped import Wrapped
from motionecho.noise import batch_noise
from motionecho.runs.waits import counted
from motionecho.schedules import Level, eps_of, renoise, uniform
from motionecho.trace import StepTrace


@dataclass(frozen=True)
class ClassifierFree(Wrapped):
    """A denoiser under classifier-free guidance, x0_u + s (x0_c - x0_u).

    Its text leads with [2b]: the prompts' states, then those of the negative prompts. A look is of the
    conditional branch.
    """

    scale: float

    @property
    def passes(self) -> int:
        return self.denoiser.passes * (1 if self.scale == 1 else 2)

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        if self.scale == 1:
            return self.denoiser.x0(z, at, text.chunk(2)[0], probe)
        conditional, unconditional = self.denoiser.x0(torch.cat([z, z]), at, text, probe).chunk(2)
        return unconditional + self.scale * (conditional - unconditional)

    def conditional(self, text: Tensor) -> tuple[Denoiser, Tensor]:
        return self.denoiser, text.chunk(2)[0]

    def look(
        self, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, gradient: bool = True
    ) -> Look:
        if energy.taps == CLEAN:  # of what is sampled, both branches
            return clean_look(self, z, at, text, energy, target, gradient)
        text, null = text.chunk(2)
        if self.scale == 1:
            return self.denoiser.look(z, at, text, energy, target, gradient)
        # first, for no pass may come between a look and its gradient
        unconditional = self.denoiser.x0(z, at, null)
        look = self.denoiser.look(z, at, text, energy, target, gradient)
        return replace(look, x0=unconditional + self.scale * (look.x0 - unconditional))


@dataclass(frozen=True)
class Teacher:
    """A teacher bound to a batch: what it carries of the references, and texts, lead with [b]."""

    denoiser: Denoiser
    carrier: Carrier
    energy: Energy
    carried: Carried
    text: Tensor
    null: Tensor
    config: EchoConfig

    @classmethod
    def bind(
        cls,
        pair: ModelPair,
        carrier: Carrier,
        motion: Motion,
        text: Tensor,
        null: Tensor,
        config: EchoConfig,
    ) -> "Teacher":
        """Bind the pair's teacher; UserError where the motion was made with other settings than these."""
        motion.refuse_other(pair.spec.name, config.reference)
        guided = ClassifierFree(carrier.teacher, config.teacher.teacher_guidance_scale)
        energy = strategy_of(pair.teacher, config.reference).energy
        return cls(guided, carrier, energy, motion.teacher, text, null, config)

    def ask(self, above: Tensor) -> Ask:
        """Ask for guidance of the samples whose loss is at least `above` [b].

        Where guidance is off, their loss alone is asked for, and not even that where `above` is 0 throughout.
        """
        guidance = self.config.guidance
        strength = guidance.teacher_strength * guidance.motion_strength
        return Ask(watch=bool((above > 0).any()), strength=strength, above=above)

    def predict(self, z: Tensor, at: Level, index: Tensor, ask: Ask, update: Update) -> Prediction:
        """The prediction of the samples `index`, z [len(index), c, f, h, w], steered in the form `update`."""
        place = to_device_of(z, index)
        text = torch.cat([self.text[place], self.null[place]])
        target = rows(self.carried.targets[self.energy.time_for(float(at.t))], index)
        with self.carrier.of(place):
            return steer_of(self.config.guidance, update)(
                self.denoiser, z, at, text, self.energy, target, ask
            )

    def walk(
        self, x0: Tensor, lift: Tensor, index: Tensor, step: Step, delta_2: Tensor, lines: list[StepTrace]
    ) -> Tensor:
        """Test-time distillation (Sec. 4.2): the teacher's endpoint x0_{0 <- t_i} for the samples `index`.

        x0 is the student's unguided prediction and `lift` the noise that raises it to t_s, both
        [len(index), c, f, h, w]; `delta_2` [len(index)] is on the CPU. Returns the shape of x0 and
        notes the work in the trace lines, one a sample of the whole batch.
        """
        z = renoise(x0, lift, step.walk[0])
        live, form = torch.arange(len(index)), self.config.guidance.teacher_update  # those still guided
        for count, (at, to) in enumerate(pairwise([*step.walk, step.to])):
            # guided DDIM; dynamic truncation: below delta_2, or at the cap N_max, one plain jump to t_i
            capped = count == self.config.teacher.teacher_max_steps
            place = to_device_of(z, live)
            ask = Ask() if capped else self.ask(delta_2[live])
            seen = self.predict(z[place], at, index[live], ask, form)
            done = torch.full_like(live, capped).bool() if seen.loss is None else seen.loss < delta_2[live]
            onward = renoise(seen.x0, seen.noise(), to)
            jump = renoise(seen.plain, seen.eps, step.to)
            z[place] = torch.where(to_device_of(z, done).view(-1, 1, 1, 1, 1), jump, onward)
            note(lines, index[live], seen)
            _note_walk([lines[k] for k in index[live].tolist()], seen, done)
            live = live[~done]
            if len(live) == 0:
                break

        for k in index.tolist():
            lines[k].teacher_start = float(step.walk[0].t)
            lines[k].teacher_weight = self.config.teacher.teacher_weight
        if step.to.sigma == 0:  # the walk has ended in a clean video
            return z
        # endpoint prediction at t_i
        ask = self.ask(torch.zeros(len(index))) if self.config.teacher.endpoint_guidance else Ask()
        seen = self.predict(z, step.to, index, ask, "velocity" if form == "velocity" else "x0")
        note(lines, index, seen)
        return seen.x0


@torch.no_grad()
def alone(
    pair: ModelPair,
    motion: Motion,
    text: Tensor,
    null: Tensor,
    seeds: Sequence[int],
    config: EchoConfig,
    on_step: Callable[[list[StepTrace]], None],
) -> Tensor:
    """The baseline without a student: guided DDIM of the teacher over its uniform grid.

    The leading `guided_fraction` of the steps is guided. Returns x0 [b, c, f, h, w]; tells each step's trace
    lines, one a sample. Raises BadSample where latents become not finite.
    """
    grid = uniform(pair.schedule)(config.teacher.teacher_grid_steps)
    with carrying(pair, motion, config) as carrier:
        teacher = Teacher.bind(pair, carrier, motion, text, null, config)
        z = pair.schedule.start(initial(motion, seeds, config), pair.schedule.at(grid[0]))
        everyone, x0 = torch.arange(len(z)), z
        for step, (t, t_next) in enumerate(counted("steps", [*pairwise([*grid, 0.0])])):
            at, to = pair.schedule.at(t), pair.schedule.at(t_next)
            guided = step < config.guidance.guided_fraction * len(grid)
            ask = teacher.ask(torch.zeros(len(z))) if guided else Ask()
            lines = [StepTrace(step, t, t_next) for _ in seeds]
            again = guided and config.teacher.restart and t_next > 0
            for asked in (ask, Ask()) if again else (ask,):
                seen = teacher.predict(z, at, everyone, asked, config.guidance.teacher_update)
                note(lines, everyone, seen)
                x0 = seen.x0
                z = renoise(x0, seen.noise(), to)
                if again and asked is ask:  # noise put back, as one leap of the forward process
                    share = at.alpha / to.alpha
                    fresh = batch_noise(seeds, "restart", step, z)
                    z = share * z + (at.sigma**2 - (share * to.sigma) ** 2) ** 0.5 * fresh
            on_step(lines)
    if not bool(torch.isfinite(x0).all()):
        raise BadSample("sampling by the teacher alone broke: its latents became not finite")
    return x0


@torch.no_grad()
def structured(
    pair: ModelPair,
    motion: Motion,
    text: Tensor,
    null: Tensor,
    seeds: Sequence[int],
    config: EchoConfig,
    on_step: Callable[[list[StepTrace]], None],
) -> Tensor:
    """The baseline that copies structure: DDIM of a network that sees the reference's outlines throughout.

    It stands in for ControlVideo and Control-A-Video, and is neither. Nothing is guided by the motion; the
    student, where it is the one who sees, walks its own grid without classifier-free guidance. The rest as
    `alone`; UserError where the pair has no such network, or the motion no outlines.
    """
    if pair.controlled is None:
        raise UserError(f'pair {pair.spec.name} has no network that sees outlines for method "structure"')
    motion.refuse_other(pair.spec.name, config.reference)
    if motion.outlines is None:
        raise UserError("the motion holds no outlines of its reference: invert its clip with outlines=true")
    role, teaching = config.sampling.control_on, config.sampling.control_on == "teacher"
    seeing = pair.controlled(role, motion.outlines, config.sampling.control_scale)
    guided = ClassifierFree(seeing, config.teacher.teacher_guidance_scale if teaching else 1.0)
    steps = config.teacher.teacher_grid_steps if teaching else config.student.steps
    grid = seeing.grid(steps)
    z = x0 = pair.schedule.start(initial(motion, seeds, config), pair.schedule.at(grid[0]))
    both = torch.cat([text, null])
    for step, (t, t_next) in enumerate(counted("steps", [*pairwise([*grid, 0.0])])):
        at, lines = pair.schedule.at(t), [StepTrace(step, t, t_next) for _ in seeds]
        x0 = guided.x0(z, at, both)
        z = renoise(x0, eps_of(z, x0, at), pair.schedule.at(t_next))
        for line in lines:
            line.spend(role, guided.passes, 0)
        on_step(lines)
    if not bool(torch.isfinite(x0).all()):
        raise BadSample("sampling by structure broke: its latents became not finite")
    return x0


def note(lines: list[StepTrace], index: Tensor, seen: Prediction) -> None:
    """Count what one prediction spent on the samples `index` in their trace lines."""
    spent = zip(index.tolist(), seen.forwards.tolist(), seen.backwards.tolist(), strict=True)
    for k, forwards, backwards in spent:
        lines[k].spend("teacher", forwards, backwards)


def _note_walk(lines: list[StepTrace], seen: Prediction, done: Tensor) -> None:
    losses = [None] * len(lines) if seen.loss is None else seen.loss.tolist()
    for line, loss, left in zip(lines, losses, done.tolist(), strict=True):
        line.teacher_steps += 1
        line.truncated = left
        line.teacher_loss = line.teacher_loss if loss is None else loss
