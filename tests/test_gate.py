"""The gate's ladder, without a model: tries are numbers, and a figure is what the settings say."""

from typing import Any

import numpy as np
import pytest
import torch

from motionecho.config import EchoConfig
from motionecho.errors import UserError
from motionecho.gate import Gate, escalated
from motionecho.make import Made
from motionecho.metrics import METRICS, MetricSpec
from motionecho.trace import Trace

CONFIG = EchoConfig.of(
    teacher_weight=0.4, teacher_max_steps=3, activation_threshold=100, truncation_threshold=60
)


def run(
    gate: Gate, figures: list[float | None], config: EchoConfig = CONFIG
) -> tuple[Made, list[dict[str, Any]]]:
    """Tries whose frames are their number, judged by `figures`."""
    count = iter(range(10))

    def make(used: EchoConfig, seed: int) -> Made:
        frames = np.full((1, 1, 1, 3), next(count), np.uint8)
        return Made(frames, 8, torch.zeros(1), Trace(), "a fox", seed, used, "toy")

    return gate.best_of(make, lambda frames: {gate.figure: figures[frames.max()]}, config, seed=5)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("motion_fidelity>=0.5", "follows>=0.5, 3 tries"),
        (" mf_dmt >= -.25 ", "mf_dmt>=-0.25, 3 tries"),
        ("sanity_flicker<=1e-1", "sanity_flicker<=0.1, 3 tries"),
        ("sanity<=1", "sanity_flicker<=1, 3 tries"),
        ("text_alignment>=0.3, 5 tries", "text_alignment>=0.3, 5 tries"),
    ],
)
def test_what_is_written_is_read_as_the_same(text: str, written: str) -> None:
    gate = Gate.parse(text)
    assert str(gate) == written
    assert Gate.parse(written) == gate
    assert Gate.parse(text, tries=2).tries == 2


def test_a_figure_leads_to_its_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        "follows": "motion_fidelity", "mf_traj_near": "motion_fidelity", "sanity_luma": "sanity",
        "toy_consistency": "toy_text", "toy_text_shape": "toy_text",
        "temporal_consistency_all_pairs": "temporal_consistency",
    }  # fmt: skip
    assert {name: Gate(name, ">=", 0).metric for name in figures} == figures
    monkeypatch.setitem(METRICS, "toy_motion", MetricSpec("toy_motion", "nowhere:ToyMotion"))
    assert Gate("toy_motion_speed", ">=", 0).metric == "toy_motion", "whose prefix is longer"
    with pytest.raises(UserError, match=r'no metric has a figure "mf_trak_status".*for example sanity, '):
        Gate.parse("mf_trak_status>=1")


@pytest.mark.parametrize(
    "text", ["motion_fidelity", "motion_fidelity>0.5", "motion_fidelty>=0.5", "mf_traj>=much"]
)
def test_anything_else_is_the_users_mistake(text: str) -> None:
    with pytest.raises(UserError, match="--gate"):
        Gate.parse(text)


def test_a_first_try_that_reaches_the_bar_is_the_sample_as_asked_for() -> None:
    made, tries = run(Gate.parse("motion_fidelity>=0.5"), [0.5])
    assert (made.config, made.seed, len(tries)) == (CONFIG, 5, 1)
    assert tries[0] == {
        "seed": 5, "changes": {}, "follows": 0.5, "reached": True, "kept": True, "forward_equivalents": 0,
    }  # fmt: skip


def test_below_it_more_teacher_then_a_new_seed_and_the_best_stays() -> None:
    made, tries = run(Gate.parse("motion_fidelity>=0.9"), [0.3, 0.6, 0.4])
    assert [line["kept"] for line in tries] == [False, True, False]
    assert made.frames.max() == 1
    assert tries[1]["changes"] == {
        "teacher_weight": 0.7, "teacher_max_steps": 6, "activation_threshold": 50, "truncation_threshold": 30,
    }  # fmt: skip
    assert tries[1]["seed"] == 5
    assert tries[2]["seed"] != 5
    assert tries[2]["changes"] == tries[1]["changes"]


def test_stops_at_the_first_that_reaches_it_and_knows_which_side_is_good() -> None:
    _, tries = run(Gate.parse("sanity_flicker<=1", tries=4), [3.0, 0.9, 0.1])
    assert [line["kept"] for line in tries] == [False, True]
    made, tries = run(Gate.parse("sanity_flicker<=0"), [3.0, 1.0, 2.0])
    assert (made.frames.max(), len(tries)) == (1, 3)


def test_a_figure_that_cannot_be_taken_is_worse_than_any() -> None:
    made, tries = run(Gate.parse("mf_dmt>=0.5"), [None, -0.9, None])
    assert made.frames.max() == 1
    assert [line["mf_dmt"] for line in tries] == [None, -0.9, None]
    made, tries = run(Gate.parse("mf_dmt>=0.5"), [float("nan"), np.float32(0.75)])
    assert (made.frames.max(), [line["kept"] for line in tries]) == (1, [False, True])
    assert run(Gate.parse("mf_dmt>=0.5"), [None, None, None])[0].frames.max() == 0


def test_where_the_teacher_is_off_only_seeds_change() -> None:
    for config in (EchoConfig.of(activation="never"), EchoConfig.of(teacher_weight=0)):
        steps = [escalated(config, 5, number) for number in range(3)]
        assert [step[0] for step in steps] == [config] * 3
        assert len({step[1] for step in steps}) == 3
        assert steps == [escalated(config, 5, number) for number in range(3)]
