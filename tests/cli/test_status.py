"""What `batch status` concludes from records and from the driver's last word."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from motionecho.cli.exits import Exit
from motionecho.cli.running import verdict
from motionecho.runs.notes import ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.execution import Summary
from tests.cli.conftest import Cli

FINE: dict[str, Any] = {
    "total": 9, "committed": 9, "already_done": 0, "failed": 0, "left": 0,
    "stopped": None, "interrupted": False, "seconds": 1.0, "sheet": None,
}  # fmt: skip


def record(key: str, name: str, status: Any) -> Record:
    error = None if status == "ok" else ErrorNote(stage="generate", name="Boom", message="it broke")
    return Record(key=key * 32, id=name, status=status, inputs={"id": name}, attempts=1, error=error)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Two samples done, one failed, and one that failed before its row was mended."""
    store = RunStore(str(tmp_path / "run"))
    store.create({}, {})
    for key, name, status in (("a", "x", "ok"), ("b", "y", "ok"), ("c", "z", "failed"), ("d", "x", "failed")):
        store.commit(record(key, name, status))
    return store


def say(store: RunStore, ago: float, **word: Any) -> None:
    at = datetime.now(UTC) - timedelta(seconds=ago)
    store.note_progress({"at": at.isoformat(), "total": 5, "ended": False} | word)


def test_before_the_driver_has_spoken_the_records_speak(cli: Cli, store: RunStore) -> None:
    done = cli("batch", "status", store.url)
    assert done.out == f"{store.url}: 2 done, 1 failed\n"


@pytest.mark.parametrize(
    ("ago", "word", "said"),
    [
        (1, {"eta_s": 90.0}, "2 of 5 done, 1 failed, about 1 min 30 s left"),
        (600, {"eta_s": 90.0}, "nothing heard for 10 min 0 s"),
        (600, {"ended": True}, "ended before it was finished: submit again"),
        (600, {"ended": True, "total": 3}, "2 of 3 done, 1 failed, finished"),
    ],
)
def test_status_tells_going_from_silent_ended_and_finished(
    cli: Cli, store: RunStore, ago: float, word: dict[str, Any], said: str
) -> None:
    say(store, ago, **word)
    assert said in cli("batch", "status", store.url).out


def test_watching_ends_with_the_run(cli: Cli, store: RunStore) -> None:
    say(store, 1, ended=True)
    assert cli("batch", "status", store.url, "--watch", "--json").json["done"] == 2


def test_failures_leave_out_what_was_mended(cli: Cli, store: RunStore) -> None:
    done = cli("batch", "failures", store.url)
    assert done.out.split("\n")[1].split() == ["z", "1", "generate", "Boom", "it", "broke"]
    assert "1 failed sample;" in done.err
    assert [failure["id"] for failure in cli("batch", "failures", store.url, "--json").json["failures"]] == [
        "z"
    ]


def test_no_failures_is_no_table(cli: Cli, tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    store.create({}, {})
    done = cli("batch", "failures", store.url)
    assert (done.code, done.out, done.err) == (Exit.OK, "", "no failed samples\n")


@pytest.mark.parametrize(
    ("changes", "allow", "code"),
    [
        ({}, False, Exit.OK),
        ({"failed": 2}, False, Exit.FAILED_SAMPLES),
        ({"failed": 2}, True, Exit.OK),
        ({"failed": 2, "stopped": "too many failures"}, True, Exit.GUARD),
        ({"failed": 2, "stopped": "x", "interrupted": True}, True, Exit.INTERRUPTED),
    ],
)
def test_the_exit_code_of_a_run(changes: dict[str, Any], allow: bool, code: Exit) -> None:
    assert verdict(Summary(**(FINE | changes)), allow) == code
