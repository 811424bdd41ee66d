"""The ablation on two pairs and few steps: what it measures, how sure it is of it, and what it writes."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from motionecho.backbones.registry import load_pair
from motionecho.backbones.toy.ablation import (
    CURVE,
    HEADER,
    TABLE,
    Row,
    Task,
    interval,
    measure,
    settings_of,
    summary_line,
    write_csv,
)
from motionecho.backbones.toy.sprites import held_out_look
from motionecho.backbones.toy.verdict import asked_for

ROWS: dict[str, Row] = {
    "student": {"preset": "student", "steps": 1},
    "teacher only": {"teacher_only": 2, "guided_fraction": 0.5},
}


@pytest.fixture(scope="module")
def task() -> Task:
    pair = load_pair("toy", "cpu")
    return Task.draw(pair, 2, "test", pair.spec.config(None, {"inversion_steps": 2}))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("latents")


@pytest.fixture(scope="module")
def results(task: Task, kept: Path) -> list[dict[str, Any]]:
    return measure(task, ROWS, seeds=1, keep=kept)


def test_prompts_ask_for_looks_that_training_left_out(task: Task) -> None:
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


def test_latents_of_every_row_are_kept_by_seed(results: list[dict[str, Any]], kept: Path) -> None:
    for number, name in enumerate(ROWS):
        with safe_open(kept / f"latents-{number:02d}.safetensors", framework="pt") as file:
            assert file.metadata() == {"row": name}
            assert file.get_tensor("z0").shape == (1, 2, 4, 16, 16, 16)


def test_seeds_change_the_sample_and_nothing_else_does(task: Task) -> None:
    config, only = settings_of(task.pair, ROWS["student"])
    first, again, other = (task.sample(config, seed, only)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)


@pytest.mark.parametrize("rows", [TABLE, CURVE])
def test_every_row_is_a_valid_setting(task: Task, rows: dict[str, Row]) -> None:
    for row in rows.values():
        config, only = settings_of(task.pair, row)
        assert only == row.get("teacher_only")
        assert config.steps == row.get("steps", task.pair.spec.defaults.steps)


def test_the_teacher_alone_is_pushed_as_far_over_any_number_of_steps(task: Task) -> None:
    pushes = {only * settings_of(task.pair, {"teacher_only": only})[0].teacher_strength for only in (10, 50)}
    assert max(pushes) == pytest.approx(min(pushes))


def test_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    mean, low, high = interval(values.tolist())
    assert mean == pytest.approx(values.mean())
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_summary_averages_seeds_before_pairs() -> None:
    """Two seeds of pair 0 weigh as much as the one of pair 1, and a score that does not exist is left out."""
    same = {"text": 1.0, "consistency": 1.0, "error_px": 2.0, "cost": 3, "seconds": 0.5}
    counts = {"student": 1, "student_guided": 0, "teacher": 2, "teacher_guided": 0}
    velocities = [(0, 0.2), (0, 0.4), (1, 0.9), (1, float("nan"))]
    line = summary_line("row", [{"pair": k, "velocity": v} | same | counts for k, v in velocities])
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:3] == ["row", "0.600 [0.300, 0.900]", "1.000 [1.000, 1.000]"]
    assert cells[4:] == ["2.0 [2.0, 2.0]", "3.0", "1.0", "0.0", "2.0", "0.0", "0.50"]
    assert all(len(cells) == heading.strip("|").count("|") + 1 for heading in HEADER.splitlines())


def test_table_is_written_as_it_was_measured(results: list[dict[str, Any]], tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", results)
    with (tmp_path / "table.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert read == [{name: str(value) for name, value in result.items()} for result in results]
