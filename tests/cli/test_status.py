"""What `batch status` concludes from records and from the driver's last word."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from motionecho.cli.exits import Exit
from motionecho.cli.running import verdict
from motionecho.runs.keys import digest
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


def say(store: RunStore, ago: float, life: str = "one", rows: Iterable[str] = "abcef", **word: Any) -> None:
    """Leave the word of a driver of another machine that was heard so long ago, of rows by those keys."""
    lines = "".join(f"{(key * 32)[:32]}\n" for key in rows)
    name = digest(lines)[:32]
    lease = {
        "role": "driver",
        "ended": False,
        "sources": [{"manifest": life, "rows": name, "total": lines.count("\n")}],
    }
    store.put_text(f"progress/{name}.keys", lines)
    store.put_text(f"progress/{life}.json", json.dumps(lease | word))
    os.utime(f"{store.url}/progress/{life}.json", (time.time() - ago,) * 2)


def first_line(cli: Cli, store: RunStore) -> str:
    return cli("batch", "status", store.url).out.splitlines()[0]


def test_before_the_driver_has_spoken_the_records_speak(cli: Cli, store: RunStore) -> None:
    assert first_line(cli, store) == f"{store.url}: 2 done, 1 failed"


@pytest.mark.parametrize(
    ("ago", "word", "said"),
    [
        (1, {"eta_s": 90.0}, "2 of 5 done, 1 failed, about 1 min 30 s left"),
        (600, {"eta_s": 90.0}, "nothing heard for 10 min"),
        (600, {"ended": True}, "ended before it was finished: submit again"),
        (600, {"ended": True, "rows": "abc"}, "2 of 3 done, 1 failed, finished"),
        (1, {"rows": "abc"}, "2 of 3 done, 1 failed"),
    ],
)
def test_status_tells_going_from_silent_ended_and_finished(
    cli: Cli, store: RunStore, ago: float, word: dict[str, Any], said: str
) -> None:
    say(store, ago, **word)
    assert said in cli("batch", "status", store.url).out


def test_the_words_of_several_drivers_add_up(cli: Cli, store: RunStore) -> None:
    """One manifest in two parts that share a row, and one of them submitted again since it grew."""
    say(store, 300, life="a.csv", rows="ab", ended=True)
    say(store, 1, life="b.csv", rows="bcef", eta_s=30.0)
    done = cli("batch", "status", store.url)
    assert "2 of 5 done, 1 failed, about 30 s left" in done.out
    say(store, 0, life="b.csv", rows="bc", ended=True)
    assert "2 of 3 done, 1 failed, finished" in cli("batch", "status", store.url).out
    found = cli("batch", "status", store.url, "--json").json
    assert (found["total"], found["manifests"], found["ended"]) == (3, ["a.csv", "b.csv"], True)


def test_what_cannot_be_read_is_named_and_counted_as_not_done(cli: Cli, store: RunStore) -> None:
    say(store, 1, rows="abc", ended=True)
    store.put_text(f"records/aa/{'a' * 32}.json", "cut sho")
    store.put_text("progress/strange.json", "[]")
    os.utime(f"{store.url}/progress/strange.json", (time.time() + 1e6,) * 2)
    done = cli("batch", "status", store.url)
    assert "1 of 3 done, 1 failed" in done.out
    assert f"records/aa/{'a' * 32}.json cannot be read" in done.err
    assert done.code == Exit.OK


def test_a_run_of_an_older_version_says_what_its_driver_said(cli: Cli, store: RunStore) -> None:
    store.put_text("progress.json", json.dumps({"total": 5, "ended": True, "manifest": "m.csv"}))
    assert "2 of 5 done, 1 failed, ended before" in cli("batch", "status", store.url).out


def test_watching_ends_with_the_run(cli: Cli, store: RunStore) -> None:
    say(store, 1, ended=True)
    assert cli("batch", "status", store.url, "--watch", "--json").json["done"] == 2


def test_failures_leave_out_what_was_mended(cli: Cli, store: RunStore) -> None:
    done = cli("batch", "failures", store.url)
    assert done.out.split("\n")[1].split() == ["z", "1", "generate", "Boom", "it", "broke"]
    assert done.err == f"1 failed sample; to try them again: motionecho batch retry {store.url}\n"
    assert [failure["id"] for failure in cli("batch", "failures", store.url, "--json").json["failures"]] == [
        "z"
    ]


def test_failures_of_scores_name_their_own_way_to_try_again(cli: Cli, tmp_path: Path) -> None:
    scores = RunStore(str(tmp_path / "scores"))
    scores.create({"scoring": {"fit": "crop"}}, {})
    scores.commit(record("a", "x", "failed"))
    assert "score again with --retry-failed" in cli("batch", "failures", scores.url).err


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
        ({"unread": 2}, False, Exit.FAILED_SAMPLES),
        ({"put_off": 2}, False, Exit.FAILED_SAMPLES),
        ({"failed": 2}, True, Exit.OK),
        ({"failed": 2, "stopped": "too many failures"}, True, Exit.GUARD),
        ({"failed": 2, "stopped": "x", "interrupted": True}, True, Exit.INTERRUPTED),
    ],
)
def test_the_exit_code_of_a_run(changes: dict[str, Any], allow: bool, code: Exit) -> None:
    assert verdict(Summary(**(FINE | changes)), allow) == code


def test_a_word_that_cannot_be_read_counts_as_a_driver_for_a_while(cli: Cli, store: RunStore) -> None:
    say(store, 1)
    path = Path(store.url) / "progress" / "one.json"
    path.write_text('{"trunc')
    done = cli("batch", "status", store.url)
    assert (done.code, first_line(cli, store)) == (Exit.OK, f"{store.url}: 2 done, 1 failed")
    until = "it counts as a driver at work until it has not changed for 15 minutes"
    assert done.err == f"note: {path} cannot be read: {until}\n"
    refused = cli("batch", "gc", store.url, "--yes")
    assert refused.code == Exit.USAGE
    assert "driver one (whose word is damaged), heard " in refused.sentence()
    os.utime(path, (time.time() - 1000,) * 2)
    assert cli("batch", "status", store.url).err == ""
    assert cli("batch", "gc", store.url, "--yes").code == Exit.OK


def test_lost_rows_are_told_and_never_make_more_done_than_there_are(cli: Cli, store: RunStore) -> None:
    say(store, 1, "one", "ab", ended=True)
    say(store, 1, "two", "ce", ended=True)
    (keys,) = [path for path in (Path(store.url) / "progress").glob("*.keys") if "cccc" in path.read_text()]
    keys.write_text(keys.read_text()[:40])
    done = cli("batch", "status", store.url)
    ended = "ended before it was finished: submit again to continue"
    assert first_line(cli, store) == f"{store.url}: 2 of 4 done, 1 failed, {ended}"
    assert done.err == "note: the rows of two are not known any more: submit it again\n"


@pytest.mark.parametrize(
    "word",
    [
        {"eta_s": "soon"},
        {"eta_s": float("nan")},
        {"total": "many"},
        {"sources": 5},
        {"sources": [{"total": 1}]},
    ],
)
def test_a_word_edited_by_hand_stops_nothing(cli: Cli, store: RunStore, word: dict[str, Any]) -> None:
    say(store, 1, **word)
    assert cli("batch", "status", store.url).code == Exit.OK
    assert cli("batch", "status", store.url, "--json").json["done"] == 2
    assert cli("batch", "gc", store.url).code == Exit.USAGE
