"""Flow matching: its times, how students step on it, and the velocity form of guidance."""

from itertools import pairwise
from typing import Literal

import pytest
import tiny
import torch
from torch import Tensor

from motionecho.adaptive import teacher_times
from motionecho.config import EchoConfig
from motionecho.denoiser import Ask, Eager, Noise, Probe, Tap, Target, probing
from motionecho.echo import echo
from motionecho.guidance.steering import Shift, Update
from motionecho.guidance.strategy import AtOneTime, Carried
from motionecho.inversion import Motion, inversion
from motionecho.models.wan.forms import SETUPS
from motionecho.noise import batch_noise
from motionecho.schedules import (
    Answer,
    Flow,
    Grid,
    Level,
    Schedule,
    clean,
    eps_of,
    listed,
    output_of,
    renoise,
    uniform,
    unipc,
)

SHAPE = (4, 3, 4, 4)  # latents c, f, h, w
TAP = Tap("blocks.0", "features")
FLOW = Flow(3.0)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Net(torch.nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.mix, self.see = 0.6 * drawn(seed, 4, 4), 0.6 * drawn(seed + 1, 6, 4)


class Small(Eager):
    """A network that is a smooth function of the latent alone, as are the features that it shows."""

    passes = 1

    def __init__(self, grid: Grid, noise: Noise = "predicted", answer: Answer = "flow", seed: int = 0):
        self.network, self.grid, self.noise, self.answer = Net(seed), grid, noise, answer
        self.layers = {"moft": (TAP.layer,)}
        self.began: list[Tensor] = []

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        self.began.append(z.detach())
        with probing(probe, {"features": [TAP.layer]}):
            if probe is not None:
                shown = torch.tanh(torch.einsum("kc,bcfhw->bfkhw", self.network.see, z))
                probe.show(TAP, shown)
            return clean(self.answer, z, self.out(z), at)

    def out(self, z: Tensor) -> Tensor:
        return torch.tanh(torch.einsum("kc,bcfhw->bkfhw", self.network.mix, z))

    def weight(self, name: str) -> Tensor:
        return self.network.mix


class Bowl(AtOneTime):
    """How far features are from given ones: a loss whose gradient is nowhere degenerate."""

    unit = 1.0

    def target(self, probe: Probe) -> Target:
        return {"x": probe.seen[TAP][0]}

    def loss(self, probe: Probe, target: Target) -> Tensor:
        return (probe.seen[TAP] - target["x"]).square().flatten(1).sum(1)


BOWL = Bowl((TAP.layer,), 400.0)
TEXT = torch.zeros(2, 5, 3)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_pace_and_time_are_inverse_and_meet_at_both_ends(shift: float) -> None:
    flow = Flow(shift)
    assert [flow.time(each) for each in (0.0, flow.top)] == [0.0, flow.top]
    for t in (0.0, 1.0, 250.0, 833.3, 999.0, 1000.0):
        assert flow.time(flow.pace(t)) == pytest.approx(t, abs=1e-9)
        assert flow.pace(flow.time(t)) == pytest.approx(t, abs=1e-9)
    assert flow.time(500) == pytest.approx(1000 * shift / (1 + shift))


def test_a_teacher_s_times_are_equally_far_apart_before_the_shift() -> None:
    config = EchoConfig.of(teacher_grid="interval", teacher_max_steps=4, renoise_position=1.0)
    times = teacher_times(config.teacher, FLOW, uniform(FLOW), 954.6, 750.4)
    assert times[0] == pytest.approx(953.6)  # a time below the student's
    paces = [FLOW.pace(t) for t in (*times, 750.4)]
    assert [a - b for a, b in pairwise(paces)] == pytest.approx([(paces[0] - paces[-1]) / 4] * 4)
    assert times[0] - times[1] < 0.7 * (times[-1] - 750.4), "strides in s are shorter near the noise"
    half = teacher_times(config.updated({"rho": 0.5}).teacher, FLOW, uniform(FLOW), 954.6, 750.4)
    assert FLOW.pace(half[0]) == pytest.approx((FLOW.pace(954.6) + FLOW.pace(750.4)) / 2)


@pytest.mark.parametrize(
    ("shift", "n", "first"),
    [
        (3.0, 8, [0.999999, 0.954595, 0.900120, 0.833555, 0.750375, 0.643469, 0.500999, 0.301678]),
        (5.0, 50, [0.999999, 0.995939, 0.991744, 0.987408, 0.982924]),
    ],
)
def test_unipc_s_grid_is_the_public_one(shift: float, n: int, first: list[float]) -> None:
    found = unipc(shift)(n)
    assert len(found) == n
    assert [t / 1000 for t in found[: len(first)]] == pytest.approx(first, abs=1.5e-6)
    assert all(a > b > 0 for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("pair", "steps", "levels"),
    [
        ("wan2.1-1.3b", 4, [0.98765, 0.93378, 0.85290, 0.60898]),
        ("wan2.1-1.3b", 2, [0.98765, 0.93378]),
        ("wan2.1-1.3b-causvid", 3, [1, 0.757, 0.522]),
        ("wan2.2-5b", 3, [1, 0.757, 0.522]),
        ("wan2.1-14b", 4, [1, 0.9375, 0.83333, 0.625]),
    ],
)
def test_students_take_the_steps_that_they_are_distilled_for(
    pair: str, steps: int, levels: list[float]
) -> None:
    assert [t / 1000 for t in SETUPS[pair].grid(steps)] == pytest.approx(levels, abs=5e-6)


def test_more_steps_than_are_listed_are_refused() -> None:
    with pytest.raises(ValueError, match="steps=3 has to be at most 2"):
        listed(1000.0, 500.0)(3)


@pytest.mark.parametrize("answer", ["x0", "eps", "v", "flow"])
def test_an_answer_and_the_output_that_means_it_are_inverse(answer: Answer) -> None:
    z, out = drawn(0, 2, *SHAPE), drawn(1, 2, *SHAPE)
    for at in (FLOW.at(700), tiny.SCHEDULE.at(700)):
        if answer == "v" and at == FLOW.at(700):
            continue  # its own formula holds on the circle alone
        back = output_of(answer, clean(answer, z, out, at), z, at)
        torch.testing.assert_close(back, out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("answer", "schedule"), [("v", tiny.zero_snr()), ("flow", FLOW)], ids=["zero-snr", "flow"]
)
def test_an_answer_at_pure_noise_is_finite_and_exact(answer: Answer, schedule: Schedule) -> None:
    at, x0, eps = schedule.at(schedule.top), drawn(0, 2, *SHAPE), drawn(1, 2, *SHAPE)
    assert at.alpha == 0
    z = renoise(x0, eps, at)
    out = -x0 if answer == "v" else eps - x0  # v = alpha eps - sigma x0
    torch.testing.assert_close(clean(answer, z, out, at), x0)
    torch.testing.assert_close(output_of(answer, x0, z, at), out)
    torch.testing.assert_close(eps_of(z, x0, at), eps)


# how the next latent is made of a guided prediction, and by what factor of strength * gradient it moves
Kind = Literal["fresh", "predicted", "mixed", "endpoint"]


def next_latent(seen, kind: Kind, at: Level, to: Level) -> Tensor:
    if kind == "endpoint":
        return seen.x0
    return renoise(seen.x0, seen.noise(kind, drawn(9, *seen.x0.shape)), to)


@pytest.mark.parametrize("s", [1.0, 0.95, 0.6, 0.2])
@pytest.mark.parametrize("kind", ["fresh", "predicted", "mixed", "endpoint"])
def test_velocity_moves_every_kind_of_step_down_the_gradient(kind: Kind, s: float) -> None:
    """By -(s - s') for Euler, -(1 - s') s where noise is fresh, and -s for an endpoint, times eta g."""
    net, z, target = Small(uniform(FLOW)), drawn(2, 2, *SHAPE), {"x": drawn(3, 2, 3, 6, 4, 4)}
    at, to, eta = FLOW.at(1000 * s), FLOW.at(800 * s), 1e-3
    slope = net.look(z, at, TEXT, BOWL, target).gradient(torch.ones(2))
    steer = Shift("velocity", "raw")
    guided, plain = (steer(net, z, at, TEXT, BOWL, target, Ask(strength=each)) for each in (eta, 0.0))
    moved = next_latent(guided, kind, at, to) - next_latent(plain, kind, at, to)
    down = 0.8 * s
    factor = {
        "predicted": s - down, "fresh": (1 - down) * s, "endpoint": s,
        "mixed": (1 - down) * s - down * 0.9 * (1 - s),
    }[kind]  # fmt: skip
    torch.testing.assert_close(moved, -eta * factor * slope, rtol=1e-3, atol=2e-6)
    assert factor > 0
    before, after = (net.look(each, at, TEXT, BOWL, target, gradient=False).loss for each in (z, z + moved))
    assert (after < before).all()


@pytest.mark.parametrize("update", ["direction", "velocity"])
@pytest.mark.parametrize("at_s", [0.95, 0.6])
def test_a_step_lowers_the_loss_of_the_latent_that_it_makes(update: Update, at_s: float) -> None:
    net, z, target = Small(uniform(FLOW)), drawn(2, 2, *SHAPE), {"x": drawn(3, 2, 3, 6, 4, 4)}
    at, to = FLOW.at(1000 * at_s), FLOW.at(900 * at_s)
    losses = []
    for eta in (0.0, 0.02):
        seen = Shift(update, "unit_rms")(net, z, at, TEXT, BOWL, target, Ask(strength=eta))
        onward = renoise(seen.x0, seen.noise(), to)
        losses.append(net.look(onward, to, TEXT, BOWL, target, gradient=False).loss)
    assert (losses[1] < losses[0]).all()


def test_mixed_noise_is_nine_tenths_predicted_and_of_unit_variance() -> None:
    net, z, at = Small(uniform(FLOW)), drawn(2, 2, *SHAPE), FLOW.at(600)
    seen = Shift("velocity", "raw")(net, z, at, TEXT, BOWL, {}, Ask())
    fresh = drawn(9, 2, *SHAPE)
    torch.testing.assert_close(seen.noise("mixed", fresh), 0.9 * seen.eps + 0.19**0.5 * fresh)
    assert torch.equal(seen.noise("fresh", fresh), fresh)
    assert torch.equal(seen.noise("predicted", fresh), seen.eps)


def sampled(net: Small, steps: int, noise: str = "solver", schedule: Schedule = FLOW) -> Tensor:
    """What a student alone makes on a schedule, unguided."""
    config = EchoConfig.of(
        strategy="moft", steps=steps, noise_blend=0, student_strength=0, activation="never",
        student_noise=noise, inversion_steps=0,
    )  # fmt: skip
    pair = tiny.pair(net, net, schedule)
    carried = Carried({400.0: {}})
    motion = Motion(torch.zeros(2, *SHAPE), carried, carried, config.reference, pair.spec.name)
    return echo(pair, motion, TEXT, TEXT, [1, 2], config, lambda lines: None)


@pytest.mark.parametrize("noise", ["fresh", "predicted", "mixed"])
def test_students_step_by_the_published_formulas(noise: Noise) -> None:
    """In velocities: Euler z + (s' - s) v, fresh (1 - s') x0 + s' n, .9 and .19^.5 of both."""
    times = [987.65, 933.78, 852.90, 608.98]
    net = Small(listed(*times), noise)
    made = sampled(net, 4)
    like = torch.zeros(2, *SHAPE)
    z = 0.98765 * batch_noise([1, 2], "initial", 0, like)
    for k, (t, t_next) in enumerate(pairwise([*times, 0.0])):
        s, down, v = t / 1000, t_next / 1000, net.out(z)
        torch.testing.assert_close(net.began[k], z, rtol=1e-5, atol=1e-5)
        n = batch_noise([1, 2], "student", k, like)
        euler, fresh = z + (down - s) * v, (1 - down) * (z - s * v) + down * n
        mixed = euler + down * (0.19**0.5 * n - 0.1 * (z + (1 - s) * v))
        z = {"fresh": fresh, "predicted": euler, "mixed": mixed}[noise]
    torch.testing.assert_close(made, z, rtol=1e-4, atol=1e-5)
    assert torch.equal(sampled(Small(listed(*times)), 4, noise), made), "settings ask for the same by name"


def test_the_first_latent_is_noise_scaled_to_the_level_it_begins_at() -> None:
    unit = batch_noise([1, 2], "initial", 0, torch.zeros(2, *SHAPE))
    for schedule, top, scale in ((FLOW, 1000.0, 1.0), (FLOW, 987.65, 0.98765), (tiny.SCHEDULE, 999.0, 1.0)):
        net = Small(listed(top), answer="flow" if schedule is FLOW else "v")
        sampled(net, 1, schedule=schedule)
        torch.testing.assert_close(net.began[0], scale * unit)


def test_from_pure_noise_to_a_last_step_that_is_the_prediction_itself() -> None:
    net = Small(listed(1000.0, 500.0), "fresh")
    made = sampled(net, 2)
    assert torch.isfinite(made).all()
    assert torch.equal(made, net.x0(net.began[-1], FLOW.at(500), TEXT))
    x0, eps = drawn(0, 2, *SHAPE), drawn(1, 2, *SHAPE)
    assert torch.equal(renoise(x0, eps, FLOW.at(0)), x0)


@pytest.mark.parametrize("where", ["target", "source"])
def test_inversion_walks_up_along_the_velocity(where: str) -> None:
    """Euler upwards, z + (s' - s) v, with the velocity seen at the time gone to or come from."""
    net, z0 = Small(uniform(FLOW)), drawn(5, 1, *SHAPE)
    reference = EchoConfig.of(inversion_steps=4, inversion_evaluate_at=where).reference
    z, at = z0, FLOW.at(0.0)
    for to, seen in inversion(net, FLOW, z0, torch.zeros(1, 1, 1), reference):
        asked = to if where == "target" or at.sigma == 0 else at
        velocity = output_of("flow", net.x0(z, asked, torch.zeros(1, 1, 1)), z, asked)
        z, at = z + (to.sigma - at.sigma) * velocity, to
        torch.testing.assert_close(seen, z, rtol=1e-4, atol=1e-5)
    assert at.t == FLOW.top
