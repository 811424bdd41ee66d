"""The ablation on two pairs and few steps: what it measures, how sure it is of it, and what it writes."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motionecho.bench.ablation import CURVE, TABLE, AblationSet, Row, measure, settings_of
from motionecho.bench.ablation_report import (
    beside_the_truth,
    contrasts,
    rivals,
    steps_up,
    table,
    write_samples,
)
from motionecho.metrics.registry import load_metrics
from motionecho.models.registry import load_pair
from motionecho.sprites.judge import asked_for
from motionecho.sprites.scenes import held_out_look

ROWS: dict[str, Row] = {
    "student": {"preset": "student", "steps": 1, "inversion_steps": 2},
    "teacher only": {"teacher_only": 2, "guided_fraction": 0.5, "inversion_steps": 2},
}


@pytest.fixture(scope="module")
def task() -> AblationSet:
    pair = load_pair("toy", "cpu")
    return AblationSet.draw(pair, 2, "test", pair.spec.config(None, {"inversion_steps": 2}))


@pytest.fixture(scope="module")
def results(task: AblationSet) -> list[dict[str, Any]]:
    return [{"row": name} | sample for name, row in ROWS.items() for sample in measure(task, row, seeds=1)]


def test_prompts_ask_for_looks_that_training_left_out(task: AblationSet) -> None:
    for prompt in task.prompts:
        asked = asked_for(prompt)
        assert held_out_look(torch.tensor(asked["shape"]), torch.tensor(asked["color"]))


def test_every_row_seed_and_pair_is_measured_once(results: list[dict[str, Any]]) -> None:
    assert [(r["row"], r["seed"], r["pair"]) for r in results] == [
        (row, 0, k) for row in ROWS for k in (0, 1)
    ]
    for result in results:
        assert -1 <= result["velocity"] <= 1
        assert 0 <= result["text"] <= 1
        assert result["seconds"] > 0


def test_cost_counts_a_gradient_as_two_more_passes(results: list[dict[str, Any]]) -> None:
    """The student: one pass. The teacher: a guided step and its empty branch, then both, unguided."""
    student, _, teacher, _ = results
    assert (student["cost"], student["student"], student["activated"]) == (1, 1, 0)
    assert (teacher["cost"], teacher["teacher_guided"], teacher["teacher"]) == (3 + 1 + 2, 1, 3)


def test_seeds_change_the_sample_and_nothing_else_does(task: AblationSet) -> None:
    config = settings_of(task.pair, ROWS["student"])
    first, again, other = (task.sample(config, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)


@pytest.mark.parametrize("rows", [TABLE, CURVE])
def test_every_row_is_a_valid_setting(task: AblationSet, rows: dict[str, Row]) -> None:
    for row in rows.values():
        config = settings_of(task.pair, row)
        assert (config.sampling.method == "teacher") == ("teacher_only" in row)
        assert config.student.steps == row.get("steps", task.pair.spec.defaults.student.steps)


def test_the_teacher_alone_is_pushed_as_far_over_any_number_of_steps(task: AblationSet) -> None:
    pushes = {
        only * settings_of(task.pair, {"teacher_only": only}).guidance.teacher_strength for only in (10, 50)
    }
    assert max(pushes) == pytest.approx(min(pushes))


def sample(row: str, pair: int, seed: int, velocity: float, cost: float = 3) -> dict[str, Any]:
    rest = {
        "text": 1.0,
        "consistency": 1.0,
        "error_px": 2.0,
        "seconds": 0.5,
        "training": 0.0,
        "motion": "left",
    }
    counts = {"cost": cost, "student": 1, "student_guided": 0, "teacher": 2, "teacher_guided": 0}
    return {"row": row, "pair": pair, "seed": seed, "velocity": velocity} | rest | counts


def cells(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()]


def test_table_has_means_over_what_is_known_and_an_interval_over_pairs() -> None:
    lone = sample("one", 1, 1, float("nan"))
    heading, rule, line = cells(
        table([sample("one", 0, 0, 0.2), sample("one", 0, 1, 0.4), sample("one", 1, 0, 0.9), lone])
    )
    assert len(heading) == len(rule) == len(line)
    assert line[:3] == ["one", "0.500 [0.300, 0.900]", "1.000 [1.000, 1.000]"]
    assert line[-7:] == ["2.0 [2.0, 2.0]", "3.0", "1.0", "0.0", "2.0", "0.0", "0.50"]


def test_what_training_took_is_a_column_where_something_is_trained() -> None:
    heading, rule, free, trained = cells(
        table([sample("free", 0, 0, 0.2), sample("trained", 0, 0, 0.2) | {"training": 4.5}])
    )
    assert len(heading) == len(rule) == len(free) == len(trained)
    assert (heading[-1], free[-2:], trained[-2:]) == ("training s", ["0.50", "0.0"], ["0.50", "4.5"])


def test_a_difference_is_taken_between_equal_pairs_and_seeds() -> None:
    """Both rows vary far more over pairs than between themselves: the paired interval is narrow."""
    low = [sample("low", k, 0, k / 10) for k in range(10)]
    high = [sample("high", k, 0, k / 10 + 0.05, cost=5) for k in range(10)]
    unmatched = [sample("high", 99, 0, -1.0), sample("high", 0, 7, -1.0)]
    assert steps_up(low + high) == [("high", "low")]
    *_, line = cells(contrasts(low + high + unmatched, [("high", "low")]))
    assert line[:2] == ["high - low", "+0.050 [+0.050, +0.050]"]
    assert line[-1] == "+2.0"


def test_rivals_cost_as_much_or_take_as_many_steps() -> None:
    costs = {
        "guided student, 4 steps": 12,
        "MotionEcho always, 4 steps": 32,
        "MotionEcho adaptive, 4 steps": 20,
    }
    costs |= {"teacher only, 10 steps": 36, "teacher only, 5 steps": 18, "teacher only, 25 steps": 90}
    samples = [sample(row, 0, 0, 0.5, cost) for row, cost in costs.items()]
    assert rivals(samples) == [
        ("MotionEcho always, 4 steps", "guided student, 4 steps"),
        ("MotionEcho always, 4 steps", "teacher only, 10 steps"),
        ("MotionEcho adaptive, 4 steps", "guided student, 4 steps"),
        ("MotionEcho adaptive, 4 steps", "teacher only, 10 steps"),
        ("MotionEcho adaptive, 4 steps", "MotionEcho always, 4 steps"),
    ]


def test_samples_are_written_as_they_were_measured(results: list[dict[str, Any]], tmp_path: Path) -> None:
    write_samples(tmp_path / "table.csv", results)
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines == [{name: str(value) for name, value in result.items()} for result in results]


def test_a_tracker_says_what_it_saw(task: AblationSet) -> None:
    usable, _ = load_metrics(["motion_fidelity"])
    for measured in measure(task, ROWS["student"], 1, *usable):
        assert -1 <= measured["mf_traj"] <= 1 or np.isnan(measured["mf_traj"])
        assert 0 <= measured["follows"] <= 1


def test_figures_are_put_beside_the_truth() -> None:
    velocity = [0.95, 0.93, 0.5, 0.1, 0.1]
    columns = zip(velocity, [1.0, 0.9, 0.8, 0.0, 0.0], [0.2, math.nan, 0.5, 0.9, 0.1], strict=True)
    samples = [{"velocity": v, "follows": f, "mf_traj": t} for v, f, t in columns]
    follows, tracked = (line.split("|") for line in beside_the_truth(samples).splitlines()[2:])
    assert [cell.strip() for cell in follows[1:5]] == ["follows", "0.0%", "1.000", "1.000"]
    assert [cell.strip() for cell in tracked[1:5]] == ["mf_traj", "20.0%", "-0.105", "0.500"]


def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path: Path) -> None:
    texts = ["+ teacher", "=1+1", "-2", "@x", "\tx", "\r=x", "＝1", "teacher - only", "a=b", ""]
    write_samples(tmp_path / "t.csv", [{"row": text, "velocity": -0.5} for text in texts])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == [*(f"'{text}" for text in texts[:7]), *texts[7:]]
    assert {row["velocity"] for row in rows} == {"-0.5"}
