"""One network in two forms, noise on a circle and velocity on a straight path: one walk.

Both are told the same times, at which noise and signal stand in the same ratio; the flow's latent is the
other's divided by alpha + sigma. Everything is in float64, so what differs is a mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
import tiny
import torch
from torch import Tensor, nn

from motionecho.config import EchoConfig
from motionecho.denoiser import (
    Denoiser,
    Energy,
    Look,
    Noise,
    Probe,
    Tap,
    Target,
    eager_look,
    observe,
    probing,
)
from motionecho.echo import echo
from motionecho.guidance.motionclone import Top1Attention
from motionecho.guidance.steering import Update, stack
from motionecho.guidance.strategy import Carried
from motionecho.inversion import Motion
from motionecho.schedules import Discrete, Flow, Grid, Level, Schedule, clean, listed, renoise, uniform
from motionecho.trace import StepTrace

TAP = Tap("maps")
SHAPE = (3, 4, 2, 2)  # latents c, f, h, w


@dataclass(frozen=True)
class Circle:
    """The variance-preserving schedule with a flow's ratio of noise to signal at every time."""

    flow: Flow

    @property
    def top(self) -> float:
        return self.flow.top

    def at(self, t: float) -> Level:
        level = self.flow.at(t)
        return Level(t, level.alpha / length(level), level.sigma / length(level))

    def pace(self, t: float) -> float:
        return self.flow.pace(t)

    def time(self, pace: float) -> float:
        return self.flow.time(pace)

    def start(self, noise: Tensor, at: Level) -> Tensor:
        level = self.flow.at(float(at.t))
        return self.flow.start(noise, level) / length(level)


@dataclass(frozen=True)
class Straight:
    """The flow with a variance-preserving schedule's ratio of noise to signal at every time."""

    circle: Discrete

    @property
    def top(self) -> float:
        return self.circle.top

    def at(self, t: float) -> Level:
        level = self.circle.at(t)
        total = level.alpha + level.sigma
        return Level(t, level.alpha / total, level.sigma / total)

    def pace(self, t: float) -> float:
        return self.circle.pace(t)

    def time(self, pace: float) -> float:
        return self.circle.time(pace)

    def start(self, noise: Tensor, at: Level) -> Tensor:
        return self.circle.start(noise, at) * length(at)


FLOW, DISCRETE = Flow(3.0), tiny.SCHEDULE
FORMS: dict[str, tuple[Schedule, Schedule, Grid]] = {  # on the circle, straight, and the student's times
    "flow": (Circle(FLOW), FLOW, listed(940.0, 860.0, 640.0, 400.0, 170.0)),
    "discrete": (DISCRETE, Straight(DISCRETE), uniform(DISCRETE)),
}


def length(at: Level) -> float:
    """1 on the circle, 1 / (alpha + sigma) of the circle's for a flow."""
    return float(at.alpha**2 + at.sigma**2) ** 0.5


class Network(nn.Module):
    """A smooth function of latents on the circle, with an attention over time that a probe can see."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.mix, self.query, self.key = torch.randn(3, 3, 3, generator=draw, dtype=torch.float64) * 0.4

    def forward(self, z: Tensor, text: Tensor, probe: Probe | None) -> Tensor:
        tokens = z.permute(0, 3, 4, 2, 1).flatten(1, 2)  # [b, h*w, f, c]
        maps = ((tokens @ self.query) @ (tokens @ self.key).mT).softmax(-1)[:, :, None]
        if probe is not None and TAP in probe.taps:
            probe.show(TAP, maps)
        hidden = torch.tanh(tokens @ self.mix) + maps[:, :, 0] @ tokens * 0.3
        hidden = hidden + text.mean((1, 2)).view(-1, 1, 1, 1)
        return hidden.unflatten(1, z.shape[3:]).permute(0, 4, 3, 1, 2)


@dataclass
class Form:
    """The network as it is on the circle (`eps`), or as a flow's (`flow`): the same prediction."""

    network: Network
    answer: Literal["eps", "flow"]
    grid: Grid
    noise: Noise = "fresh"
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"motionclone": (TAP.layer,)})
    transformers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    over_time: tuple[str, ...] = ()
    passes: int = 1
    attends_time = True
    answers: list[Tensor] = field(default_factory=list)

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        with probing(probe, {"time_attention": self.layers["motionclone"]}):
            eps = self.network(z / length(at), text, probe)
        out = eps if self.answer == "eps" else (eps - z) / at.alpha  # which is eps - x0
        x0 = clean(self.answer, z, out, at)
        self.answers.append(x0.detach())
        return x0

    def look(
        self, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, gradient: bool = True
    ) -> Look:
        return eager_look(self, z, at, text, energy, target, gradient)

    def shrinks(self, layer: str) -> int:
        return 1

    def conditional(self, text: Tensor) -> tuple[Denoiser, Tensor]:
        return self, text

    def weight(self, name: str) -> Tensor:
        return self.network.mix


def walked(
    answer: Literal["eps", "flow"],
    schedule: Schedule,
    grid: Grid,
    config: EchoConfig,
) -> tuple[list[Tensor], list[list[StepTrace]]]:
    """Every clean video that student and teacher answered on the way, the result last, and the trace."""
    draw = torch.Generator().manual_seed(2)
    z_T, z0 = torch.randn(2, 2, *SHAPE, generator=draw, dtype=torch.float64)
    text, null = torch.randn(2, 2, 5, 3, generator=draw, dtype=torch.float64) * 0.3
    student, teacher = (Form(Network(seed), answer, grid) for seed in (1, 2))
    energy, at = Top1Attention((TAP.layer,), 400.0), schedule.at(400.0)

    def carried(form: Form) -> Carried:
        noised = renoise(z0, z_T, at)
        probes = (observe(form, noised[k : k + 1], at, null[:1], [TAP]) for k in (0, 1))
        return Carried({400.0: stack([energy.target(probe) for probe in probes])})

    pair = replace(tiny.pair(student, teacher), schedule=schedule)
    motion = Motion(z_T, carried(student), carried(teacher), config.reference, pair.spec.name)
    lines: list[list[StepTrace]] = []
    result = echo(pair, motion, text, null, [1, 2], config, lines.append)
    return [*student.answers, *teacher.answers, result], lines


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("update", ["x0", "direction", "velocity"])
@pytest.mark.parametrize("noise", ["fresh", "predicted", "mixed"])
def test_the_sampler_walks_the_same_way(update: Update, noise: Noise, form: str) -> None:
    config = EchoConfig.of(
        steps=5, noise_blend=0.3, guided_fraction=0.8, student_strength=3, teacher_strength=2,
        teacher_weight=0.4, student_update=update, teacher_update=update, student_noise=noise,
        teacher_grid="interval", teacher_max_steps=3, teacher_guidance_scale=2, threshold_unit="first_loss",
        activation_threshold=0.2, truncation_threshold=0.1,
        renoise="predicted" if noise == "predicted" else "fresh",
    )  # fmt: skip
    on_circle, straight, grid = FORMS[form]
    circle, its_lines = walked("eps", on_circle, grid, config)
    flow, lines = walked("flow", straight, grid, config)
    assert len(circle) == len(flow) > 20
    for one, other in zip(circle, flow, strict=True):
        assert (one - other).abs().max() / one.abs().max() < 1e-10
    assert any(line.active for step in lines for line in step)
    for here, there in zip(lines, its_lines, strict=True):
        for line, other_line in zip(here, there, strict=True):
            assert line.evaluations == other_line.evaluations
            assert line.loss == (other_line.loss and pytest.approx(other_line.loss, rel=1e-10))


@pytest.mark.parametrize("update", ["x0", "direction", "velocity"])
def test_guidance_matters_to_the_path(update: Update) -> None:
    """What the two forms agree on is no accident of a guidance that does nothing."""
    config = EchoConfig.of(steps=5, activation="never", guided_fraction=1, student_update=update)
    guided, plain = (
        walked("eps", *FORMS["flow"][::2], config.updated({"student_strength": eta}))[0][-1] for eta in (3, 0)
    )
    assert (guided - plain).abs().max() / plain.abs().max() > 1e-3
