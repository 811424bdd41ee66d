"""The driver's benchmark measures what it says, small."""

from pathlib import Path

import pytest

from motionecho.runs.store import RunStore
from pipelines import bench


@pytest.mark.usefixtures("embedded_ray")
def test_a_run_of_no_ops_commits_every_sample(tmp_path: Path) -> None:
    assert bench.throughput(str(tmp_path), 120) > 0
    assert len(RunStore(str(tmp_path / "run")).keys()) == 120


def test_resuming_finds_what_is_left(tmp_path: Path) -> None:
    found = bench.resuming(str(tmp_path), 60, 50)
    assert (found["rows"], found["left"]) == (60, 10)
    assert found["peak_gib"] > 0
