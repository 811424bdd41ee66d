"""The sampler against Algorithm 1: what it counts, decides and must never mix."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from motionecho.config import EchoConfig
from motionecho.echo import generate
from motionecho.errors import BadSample
from motionecho.inversion import Motion, invert
from motionecho.models.pair import ModelPair
from motionecho.schedules import Answer, Flow, Schedule, trailing, uniform
from motionecho.trace import Trace

PROMPTS = ["one", "three", "seventeen words"]
SEEDS = [1, 2, 3]


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return tiny.pair()


@pytest.fixture(scope="module")
def motions(pair: ModelPair) -> list[Motion]:
    clips = np.random.default_rng(0).integers(0, 255, (3, 4, 16, 16, 3), dtype=np.uint8)
    return [invert(pair, clip, tiny.CONFIG) for clip in clips]


def run(
    pair: ModelPair, motions: list[Motion], changes: dict[str, object] | None = None
) -> tuple[torch.Tensor, list[Trace]]:
    return generate(pair, motions, PROMPTS, SEEDS, tiny.CONFIG.updated(changes or {}))


def test_batch_equals_one_by_one(pair, motions) -> None:
    """Per-sample seeds, decisions and gradients: neighbours must not matter (to float32 rounding)."""
    settings = tiny.CONFIG.updated({"activation_threshold": 0.0})
    together, traces = generate(pair, motions, PROMPTS, SEEDS, settings)
    for k in range(3):
        alone, trace = generate(pair, motions[k : k + 1], PROMPTS[k : k + 1], SEEDS[k : k + 1], settings)
        assert torch.allclose(alone[0], together[k], atol=2e-4)
        assert trace[0].evaluations() == traces[k].evaluations()


@pytest.mark.parametrize("lacking", ["motions", "seeds", "negative prompts"])
def test_nothing_is_shared_between_prompts_in_silence(pair, motions, lacking: str) -> None:
    given = motions[:1] if lacking == "motions" else motions
    seeds = SEEDS[:1] if lacking == "seeds" else SEEDS
    negatives = [""] if lacking == "negative prompts" else None
    with pytest.raises(ValueError, match="one motion, one seed"):
        generate(pair, given, PROMPTS, seeds, tiny.CONFIG, negatives)


def test_same_seed_same_latents_whatever_the_global_generator(pair, motions) -> None:
    torch.manual_seed(1)
    first, _ = run(pair, motions)
    torch.manual_seed(2)
    second, _ = run(pair, motions)
    assert torch.equal(first, second)


def test_evaluations_by_kind(pair, motions) -> None:
    """4 steps, 2 of them guided with a teacher of 2 guided steps and an endpoint, all under CFG."""
    _, traces = run(pair, motions, {"activation": "always", "endpoint_guidance": False})
    per_activation = 2 + 1 + 1  # unconditional twice, and both branches of the endpoint
    assert traces[0].evaluations() == {
        "student": 2,
        "student_guided": 2,
        "teacher": 2 * per_activation,
        "teacher_guided": 4,
    }
    assert traces[0].forward_equivalents() == 2 + 3 * 2 + 8 + 3 * 4


def test_the_guided_endpoint_costs_a_gradient(pair, motions) -> None:
    _, traces = run(pair, motions, {"activation": "always", "endpoint_guidance": True})
    assert traces[0].evaluations()["teacher_guided"] == 6


def test_without_guidance_and_teacher_only_the_student_runs(pair, motions) -> None:
    _, traces = run(pair, motions, {"activation": "never", "student_strength": 0})
    assert traces[0].evaluations() == {"student": 4, "student_guided": 0, "teacher": 0, "teacher_guided": 0}


def test_zero_teacher_weight_is_the_guided_student(pair, motions) -> None:
    never, _ = run(pair, motions, {"activation": "never"})
    weightless, _ = run(pair, motions, {"activation": "always", "teacher_weight": 0})
    assert torch.equal(never, weightless)


def test_interpolation_is_linear_in_the_weight(pair, motions) -> None:
    """Eq. 5 on the last step, where nothing follows: x0 = (1 - lambda) x0_student + lambda x0_teacher."""
    settings: dict[str, object] = {"steps": 1, "guided_fraction": 1, "activation": "always"}
    none, half, full = (run(pair, motions, settings | {"teacher_weight": w})[0] for w in (0, 0.5, 1))
    assert not torch.allclose(none, full, atol=1e-2)
    assert torch.allclose(half, (none + full) / 2, atol=1e-4)


def test_activation_is_decided_per_sample(pair, motions) -> None:
    _, traces = run(pair, motions)
    first = sorted(trace.steps[0].loss for trace in traces)
    bar = (first[0] + first[1]) / 2
    _, traces = run(pair, motions, {"activation_threshold": bar, "window": 1})
    for trace in traces:
        for step in trace.steps[:2]:
            assert step.active == (step.window_mean > bar)
            assert (step.evaluations["teacher"] > 0) == step.active
        assert not any(step.active for step in trace.steps[2:])
    assert {trace.steps[0].active for trace in traces} == {True, False}


def test_truncation_jumps_and_saves_the_gradient(pair, motions) -> None:
    _, traces = run(pair, motions, {"truncation_threshold": 1e9, "endpoint_guidance": False})
    for step in traces[0].steps[:2]:
        assert (step.truncated, step.teacher_steps) == (True, 1)
        assert step.evaluations["teacher_guided"] == 0
        assert step.evaluations["teacher"] == 4  # the step that saw it, and the endpoint, both branches


def test_cap_on_the_dense_grid(pair, motions) -> None:
    changes = {
        "teacher_grid": "dense",
        "teacher_grid_steps": 100,
        "teacher_max_steps": 3,
        "endpoint_guidance": False,
    }
    _, traces = run(pair, motions, changes)
    step = traces[0].steps[0]
    assert step.evaluations["teacher_guided"] == 3
    assert (step.truncated, step.teacher_steps) == (True, 4)  # three guided ones and the plain jump


def test_guidance_lowers_the_motion_loss(pair, motions) -> None:
    """The sign rule over whole trajectories: the last watched loss falls with the strength."""
    last = {}
    for strength in (0.02, 0.3):
        _, traces = run(
            pair, motions, {"activation": "never", "student_strength": strength, "guided_fraction": 1.0}
        )
        last[strength] = sum(trace.steps[-1].loss for trace in traces)
    assert last[0.3] < last[0.02]


@pytest.mark.parametrize("update", ["x0", "direction"])
def test_the_teacher_descends_its_own_motion_loss(pair, motions, update: str) -> None:
    losses = {}
    for strength in (0.001, 0.05):
        changes = {
            "activation": "always",
            "teacher_strength": strength,
            "teacher_update": update,
            "teacher_max_steps": 4,
        }
        _, traces = run(pair, motions, changes)
        losses[strength] = sum(trace.steps[0].teacher_loss for trace in traces)
    assert losses[0.05] < losses[0.001]


def test_euler_student_is_deterministic_given_its_first_noise(motions) -> None:
    """Its steps draw no noise: only the initial noise and the teacher's lift depend on the seed."""
    pair = tiny.pair(tiny.denoiser(1, trailing, noise="predicted"))
    settings = tiny.CONFIG.updated({"activation": "never", "noise_blend": 1.0})
    first, _ = generate(pair, motions[:1], PROMPTS[:1], [1], settings)
    second, _ = generate(pair, motions[:1], PROMPTS[:1], [2], settings)
    assert torch.equal(first, second)
    fresh, _ = generate(pair, motions[:1], PROMPTS[:1], [2], settings.updated({"student_noise": "fresh"}))
    assert not torch.allclose(first, fresh)


def test_callback_sees_every_step_of_every_sample(pair, motions) -> None:
    seen: list[list[int]] = []
    generate(
        pair,
        motions,
        PROMPTS,
        SEEDS,
        tiny.CONFIG,
        on_step=lambda lines: seen.append([line.step for line in lines]),
    )
    assert seen == [[k] * 3 for k in range(4)]


def test_not_finite_latents_name_step_and_sample(pair, motions) -> None:
    broken = replace(motions[1], z_T=torch.full_like(motions[1].z_T, float("nan")))
    with pytest.raises(BadSample, match=r"student step 0 \(t=999\), sample 1"):
        generate(
            pair, [motions[0], broken], PROMPTS[:2], SEEDS[:2], tiny.CONFIG.updated({"activation": "never"})
        )


def test_trace_rows_are_flat_and_sum_up(pair, motions) -> None:
    _, traces = run(pair, motions)
    rows = traces[0].rows()
    assert len(rows) == 4
    assert all(not isinstance(value, dict) for row in rows for value in row.values())
    summary = traces[0].summary()
    assert summary["evaluations"]["teacher_guided"] == sum(row["evaluations_teacher_guided"] for row in rows)
    assert summary["activated_steps"] == 2


def test_paper_defaults_run(pair, motions) -> None:
    """Every default of EchoConfig is a setting that works, not only the pair's."""
    settings = EchoConfig.of(steps=2, inversion_steps=3)
    latents, traces = generate(pair, motions[:1], PROMPTS[:1], [5], settings)
    assert torch.isfinite(latents).all()
    assert traces[0].steps[0].loss is not None


@pytest.mark.parametrize(
    ("answer", "schedule"), [("v", tiny.zero_snr()), ("flow", Flow())], ids=["zero-snr", "flow"]
)
@pytest.mark.parametrize("update", ["x0", "direction", "velocity"])
def test_a_run_that_begins_in_pure_noise_is_finite(answer: Answer, schedule: Schedule, update: str) -> None:
    """From the clip to the video, over times that are no whole numbers."""
    assert schedule.at(schedule.top).alpha == 0
    grid = lambda n: [schedule.top, 937.5, 812.5, 437.5][:n]  # noqa: E731
    student = tiny.denoiser(1, grid, answer)
    pair = tiny.pair(student, tiny.denoiser(2, uniform(schedule), answer), schedule)
    clip = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    changes = {
        "activation": "always",
        "student_update": update,
        "teacher_update": "velocity" if update == "velocity" else "direction",
        "guided_fraction": 1.0,
        "endpoint_guidance": True,
    }
    config = tiny.CONFIG.updated(changes | {"student_strength": 1e-3, "teacher_strength": 1e-3})
    latents, (trace,) = generate(pair, [invert(pair, clip, config)], ["one"], [1], config)
    assert torch.isfinite(latents).all()
    assert [step.t for step in trace.steps] == [schedule.top, 937.5, 812.5, 437.5]
    assert all(step.teacher_steps for step in trace.steps)


def test_where_no_noise_is_left_the_walk_s_own_latent_is_the_endpoint() -> None:
    """A flow's last step ends in a clean video: no pass is spent on predicting it."""
    flow = Flow()
    pair = tiny.pair(tiny.denoiser(1, uniform(flow), "flow"), tiny.denoiser(2, uniform(flow), "flow"), flow)
    clip = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    config = tiny.CONFIG.updated(
        {"steps": 2, "activation": "always", "guided_fraction": 1.0, "teacher_weight": 1}
    )
    _, (trace,) = generate(pair, [invert(pair, clip, config)], ["one"], [1], config)
    with_endpoint, without = (step.evaluations["teacher_guided"] for step in trace.steps)
    assert (with_endpoint, without) == (3, 2)


def test_a_teacher_that_is_not_guided_is_watched_for_its_truncation(pair, motions) -> None:
    """Its walk ends below delta_2 without a gradient; where there is no delta_2, nothing is watched."""
    unguided: dict[str, object] = {"teacher_strength": 0, "teacher_max_steps": 4}
    for threshold, truncated, steps in ((1e9, True, 1), (1e-9, False, 4)):
        _, traces = run(pair, motions, unguided | {"truncation_threshold": threshold})
        first = traces[0].steps[0]
        assert (first.truncated, first.teacher_steps) == (truncated, steps)
        assert first.evaluations["teacher_guided"] == 0
        assert first.teacher_loss is not None
    _, traces = run(pair, motions, unguided | {"truncation_threshold": 0})
    assert traces[0].steps[0].teacher_loss is None
