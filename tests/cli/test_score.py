"""`motionecho score` and `compare` as a person runs them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from motionecho.cli.exits import Exit
from motionecho.metrics import METRICS, Metric, MetricSpec, MetricUnavailable, Shared
from tests.cli.conftest import Cli


@pytest.fixture
def _ray() -> Iterator[None]:
    """Leave no Ray behind for the next test."""
    yield
    import ray

    ray.shutdown()


@pytest.fixture
def table(tmp_path: Path, clip: Path) -> Path:
    rows = ["id,video,reference,prompt", f"one,{clip},{clip},a star", f"two,gone.mp4,{clip},a star"]
    (tmp_path / "videos.csv").write_text("\n".join(rows))
    return tmp_path / "videos.csv"


@pytest.mark.usefixtures("_ray")
def test_scores_a_table_and_compares_it_with_itself(cli: Cli, table: Path, tmp_path: Path) -> None:
    command = ("score", table, "--out", tmp_path / "scores", "--workers", "1", "--metric", "motion_fidelity")
    done = cli(*command, "--json")
    assert done.code == Exit.FAILED_SAMPLES, done.err
    assert (done.json["committed"], done.json["failed"], done.json["exit_code"]) == (1, 1, 3)
    assert done.json["means"]["mf_traj"]["mean"] > 0.99
    assert done.json["statuses"] == {"motion_fidelity": {"ok": 1}}
    assert f"motionecho batch failures {tmp_path / 'scores'}" in done.err
    assert "gone.mp4" in cli("batch", "failures", tmp_path / "scores").out

    again = cli(*command, "--allow-failures")
    assert again.code == Exit.OK
    assert again.out.splitlines()[-1] == str(tmp_path / "scores")
    assert any(line.split()[0] == "mf_traj" for line in again.out.splitlines())

    compared = cli("compare", tmp_path / "scores", tmp_path / "scores", "--json")
    assert compared.code == Exit.OK
    assert (compared.json["pairs"], compared.json["by"]) == (1, "id")
    assert compared.json["figures"]["mf_traj"]["wins"] == 0.5
    assert cli("compare", tmp_path / "scores", tmp_path / "scores").out.startswith("figure")


def test_where_no_metric_can_run_scoring_is_refused(
    cli: Cli, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(shared: Shared) -> Metric:
        raise MetricUnavailable("its weights are not here: set WEIGHTS to them")

    for name in ("sanity", "text_alignment"):
        monkeypatch.setitem(METRICS, name, MetricSpec(name, missing))
    asked = ("--metric", "sanity", "--metric", "text_alignment")
    done = cli("score", table, "--out", tmp_path / "scores", *asked)
    assert done.code == Exit.USAGE
    reason = "sanity, text_alignment: its weights are not here: set WEIGHTS to them"
    assert done.sentence().count(reason) == 1
    assert "others are motion_fidelity, temporal_consistency, toy_text" in done.sentence()
    assert not (tmp_path / "scores").exists()


def test_mistakes_are_one_sentence(cli: Cli, tmp_path: Path, table: Path) -> None:
    for arguments, words in {
        ("score", tmp_path / "nothing"): "neither a run nor a",
        ("score", table, "--metric", "motion"): "motion_fidelity",
        ("score", table, "--fit", "corp"): 'did you mean "crop"',
        ("compare", tmp_path / "nothing", table): "there is no run at",
    }.items():
        done = cli(*arguments)
        assert (done.code, words in done.sentence()) == (Exit.USAGE, True), done.err
