"""Algorithm 1 written out in the paper's own terms, and neighbours in a batch who fare differently."""

from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from motionecho.denoiser import Denoiser
from motionecho.echo import generate
from motionecho.guidance.motionclone import Top1Attention
from motionecho.guidance.steering import stack
from motionecho.guidance.strategy import Carried
from motionecho.inversion import Motion, invert
from motionecho.models.pair import ModelPair
from motionecho.noise import noise
from motionecho.teacher import ClassifierFree
from motionecho.trace import Trace

PROMPTS, SEEDS = ["one", "three", "seventeen words", "four"], [1, 2, 3, 4]
ENERGY = Top1Attention(tiny.LAYERS, 400.0)


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return tiny.pair()


@pytest.fixture(scope="module")
def motions(pair: ModelPair) -> list[Motion]:
    clips = np.random.default_rng(0).integers(0, 255, (4, 4, 16, 16, 3), dtype=np.uint8)
    return [invert(pair, clip, tiny.CONFIG) for clip in clips]


@pytest.mark.parametrize("truncated", [False, True], ids=["walked", "truncated"])
@pytest.mark.parametrize("student_noise", ["fresh", "predicted"])
def test_one_served_step_is_what_the_paper_says(pair, motions, student_noise: str, truncated: bool) -> None:
    """In eps, not x0: student by Eq. 3, classifier-free teacher, endpoint at t_i, Eq. 5, Eq. 4."""
    scale, lam, eta, eta_teacher, g = 2.5, 0.4, 0.2, 0.3, 0.3
    config = tiny.CONFIG.updated(
        {
            "steps": 2, "student_noise": student_noise, "guided_fraction": 0.5, "teacher_weight": lam,
            "teacher_guidance_scale": scale, "student_strength": eta, "teacher_strength": eta_teacher,
            "student_update": "x0", "teacher_update": "direction", "teacher_max_steps": 2,
            "endpoint_guidance": True, "noise_blend": g, "activation_threshold": 0,
            "truncation_threshold": 1e9 if truncated else 0,
        }
    )  # fmt: skip
    at, motion = pair.schedule.at, motions[0]
    text, null = pair.encode_text(["one", "blur"]).chunk(2)

    def drawn(purpose: str) -> Tensor:
        return noise(7, purpose, 0, motion.z_T.shape)[None]

    def gradient(net: Denoiser, z: Tensor, t: float, carried: Carried) -> Tensor:
        slope = net.look(z, at(t), text, ENERGY, stack([carried.targets[400.0]])).gradient(torch.ones(1))
        return slope / slope.square().mean().sqrt()  # unit_rms

    def eps(net: Denoiser, z: Tensor, t: float, states: Tensor) -> Tensor:
        with torch.no_grad():
            return (z - at(t).alpha * net.x0(z, at(t), states)) / at(t).sigma

    def guided(z: Tensor, t: float) -> Tensor:
        plain = eps(pair.teacher, z, t, null)
        return plain + scale * (eps(pair.teacher, z, t, text) - plain)

    def clean(z: Tensor, noise_of: Tensor, t: float) -> Tensor:
        return (z - at(t).sigma * noise_of) / at(t).alpha

    def noised(x0: Tensor, by: Tensor, t: float) -> Tensor:
        return at(t).alpha * x0 + at(t).sigma * by

    first, second = 999.0, 499.0  # two steps of a student on 50
    z = g**0.5 * motion.z_T + (1 - g) ** 0.5 * drawn("initial")
    e = eps(pair.student, z, first, text)
    student = clean(z, e + eta * at(first).sigma * gradient(pair.student, z, first, motion.student), first)
    # from t_s, a time below the student's, two steps to t_i, or one plain jump
    walk = [998.0, second] if truncated else [998.0, 748.0, second]
    y = noised(clean(z, e, first), drawn("teacher"), walk[0])
    for t, to in pairwise(walk):
        e_teacher = guided(y, t)
        pull = 0 if truncated else eta_teacher * at(t).sigma * gradient(pair.teacher, y, t, motion.teacher)
        y = noised(clean(y, e_teacher, t), e_teacher - pull, to)
    pull = eta_teacher * at(second).sigma * gradient(pair.teacher, y, second, motion.teacher)
    teacher = clean(y, guided(y, second) + pull, second)
    x0 = (1 - lam) * student + lam * teacher
    z = noised(x0, drawn("student") if student_noise == "fresh" else e, second)
    expected = clean(z, eps(pair.student, z, second, text), second)

    made, (trace,) = generate(pair, [motion], ["one"], [7], config, ["blur"])
    assert trace.steps[0].truncated == truncated
    assert (made - expected).norm() / expected.norm() < 1e-3


def fates(traces: list[Trace]) -> list[list[tuple[bool, int, bool]]]:
    return [[(s.active, s.teacher_steps, s.truncated) for s in trace.steps] for trace in traces]


@pytest.mark.parametrize("unit", ["loss", "first_loss"])
def test_neighbours_who_fare_differently_do_not_mix(pair, motions, unit: str) -> None:
    """One is not served, the others leave the teacher's walk at different steps: each is as it is alone."""
    config = tiny.CONFIG.updated(
        {"steps": 3, "guided_fraction": 1.0, "window": 1, "teacher_max_steps": 4, "threshold_unit": unit,
         "student_strength": 0.3}
    )  # fmt: skip
    at_once = config.updated({"truncation_threshold": 1e9})  # a walk's first loss is its last
    _, traces = generate(pair, motions, PROMPTS, SEEDS, at_once)

    def seen(k: int, teacher: bool) -> float:
        step = traces[k].steps[1]
        loss = step.teacher_loss if teacher else step.loss
        return loss / (traces[k].steps[0].loss if unit == "first_loss" else 1)

    students = sorted(seen(k, False) for k in range(4))
    teachers = sorted(seen(k, True) for k in range(4))
    config = config.updated({"delta_1": sum(students[:2]) / 2, "delta_2": sum(teachers[1:3]) / 2})
    together, traces = generate(pair, motions, PROMPTS, SEEDS, config)
    assert len({steps for trace in fates(traces) for _, steps, _ in trace}) > 2, "there are different fates"
    for k in range(4):
        one = slice(k, k + 1)
        alone, own = generate(pair, motions[one], PROMPTS[one], SEEDS[one], config)
        assert torch.allclose(alone[0], together[k], atol=2e-4)
        assert fates(own) == fates(traces[one])
        assert own[0].evaluations() == traces[k].evaluations()


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_classifier_free_guidance_is_the_same_watched_or_not(pair, motions, scale: float) -> None:
    z, at = torch.randn(1, 4, 4, 8, 8, generator=torch.Generator().manual_seed(1)), pair.schedule.at(519)
    states = pair.encode_text(["one", "blur"])
    text, null = states.chunk(2)
    target, free = stack([motions[0].teacher.targets[400.0]]), ClassifierFree(pair.teacher, scale)
    with torch.no_grad():
        conditional, unconditional = (pair.teacher.x0(z, at, each) for each in (text, null))
        expected = unconditional + scale * (conditional - unconditional)
        assert torch.allclose(free.x0(z, at, states), expected, atol=1e-4)
        assert torch.allclose(free.look(z, at, states, ENERGY, target).x0, expected, atol=1e-4)
