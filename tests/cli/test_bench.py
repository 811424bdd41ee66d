from pathlib import Path
from unittest.mock import Mock

import pytest

from motionecho.cli import bench_methods
from motionecho.cli.exits import Exit
from tests.cli.conftest import Cli


@pytest.mark.slow
def test_a_sweep_leaves_table_samples_and_plot(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bench_methods.RANGES, "steps", (1, 2))
    size = ("--pairs", "2", "--seeds", "1", "--out", tmp_path, "--device", "cpu")
    done = cli("bench", "ablation", "--sweep", "N", "--json", *size)
    assert done.code == Exit.OK, done.err
    assert [sample["row"] for sample in done.json["samples"]] == ["steps = 1"] * 2 + ["steps = 2"] * 2
    assert (tmp_path / "ablation.csv").read_text().count("\n") == 5
    assert "| steps = 2 |" in (tmp_path / "ablation.md").read_text()
    assert (tmp_path / "ablation.png").exists() == ("no plot" not in done.err)


def test_a_sweep_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    done = cli("bench", "ablation", "--sweep", "warm_up", "--out", tmp_path)
    assert (done.code, 'no sweep of "warm_up"' in done.sentence()) == (Exit.USAGE, True)


@pytest.mark.slow
def test_a_batch_is_measured(cli: Cli) -> None:
    less = ("--set", "steps=1", "--set", "inversion_steps=2", "--metric", "none", "--device", "cpu")
    done = cli("bench", "pipeline", "--samples", "3", "--references", "2", "--json", *less)
    assert done.code == Exit.OK, done.err
    assert (done.json["samples"], done.json["workers"]) == (3, 1)
    assert 0 < done.json["busy"] <= 1
    assert done.json["seconds"]["generate"] >= done.json["seconds"]["generate_sample"] > 0


def test_rows_of_a_table_are_chosen_by_words(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Mock()
    monkeypatch.setattr(bench_methods, "_run", run)
    asked = ("bench", "methods", "--pair", "toy-dit", "--strategies", "--row")
    assert cli(*asked, "moft, student", "--row", "moft, MotionEcho").code == Exit.OK
    always, adaptive = "moft, MotionEcho always", "moft, MotionEcho adaptive"
    assert list(run.call_args.args[2]) == ["moft, student", always, adaptive]
    assert 'no row has "mofd"; there are motionclone, student' in cli(*asked, "mofd").sentence()
