"""What is said of a run's pace follows from its records."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from motionecho.errors import UserError
from motionecho.manifest import read_manifest
from motionecho.runs.notes import ErrorNote, Host
from motionecho.runs.records import Record
from pipelines.pace import pace, write_manifest


def record(second: float, generate: float, pid: int, status: str = "ok") -> Record:
    at = datetime.fromtimestamp(1_000_000 + second, UTC).isoformat(timespec="milliseconds")
    seconds = {"invert": 0.0, "generate": generate, "sample": generate / 2}
    return Record(
        key=f"{second}", id=f"{second}", status=status, inputs={}, seconds=seconds,
        where=Host(name="h", node="n", pid=pid), committed_at=at,
    )  # fmt: skip


def test_two_workers_of_which_one_waits_half_of_the_time() -> None:
    busy = [record(second, 1.0, pid=1) for second in (1, 2, 3, 4)]
    waiting = [record(second, 1.0, pid=2) for second in (2, 4)]
    found = pace([*busy, *waiting, record(9, 1.0, 3, "failed")])
    assert (found["samples"], found["workers"], found["samples_per_s"]) == (6, 2, 1.5)
    assert found["busy"] == 0.75
    assert found["seconds"] == {"generate": 1.0, "invert": 0.0, "sample": 0.5}


def test_one_sample_has_no_pace() -> None:
    with pytest.raises(UserError, match="1 finished sample"):
        pace([record(1, 1.0, 1)])
    failed = replace(
        record(2, 1.0, 1, "failed"), error=ErrorNote(name="ValueError", message="latents became not finite")
    )
    with pytest.raises(UserError, match="1 failed, the first: latents became not finite"):
        pace([record(1, 1.0, 1), failed])


def test_the_manifest_measured_takes_references_in_turn(tmp_path: Path) -> None:
    rows = read_manifest(write_manifest(str(tmp_path), 5, 2))
    assert [Path(row.reference).name for row in rows] == ["0.mp4", "1.mp4", "0.mp4", "1.mp4", "0.mp4"]
    assert all(Path(row.reference).exists() for row in rows)
    assert [row.seed for row in rows] == [0, 1, 2, 3, 4]
