"""`batch status --watch`: what it shows of a run, how seldom it repeats itself, and how little it reads."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from motionecho.cli import watch
from motionecho.cli.exits import Exit
from motionecho.cli.headline import LABEL, lines
from motionecho.cli.watch import News, Watcher, over, panel, sentence
from motionecho.metrics.headline import headline_of
from motionecho.runs.ledger import Ledger
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from tests.cli.conftest import Cli
from tests.cli.test_status import record, say
from tests.metrics.test_headline import RECORDS, failed, made

KEYS = [f"{number:032x}" for number in range(1, 9)]
WORD: dict[str, Any] = {
    "total": 8, "done": 4, "failed": 3, "rate": 2.5, "eta_s": 24.0, "running": ["s8 (3 s)"],
    "pools": {"generate": [1, 2]}, "hosts": {"box (NVIDIA H100)": [1, 1]}, "put_off": {"NotThere": 1},
    "message": "one worker did not start",
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A run of eight samples that a driver of another machine is at work on: four made, three failed."""
    store = RunStore(str(tmp_path / "run"))
    store.create({"settings": {"gate": "mf_traj>=0.6, 2 tries"}}, {})
    for each in RECORDS:
        store.commit(each)
    store.compact(RECORDS[:-1])
    speak(store)
    return store


def speak(store: RunStore, ago: float = 1, **word: Any) -> None:
    say(store, ago, "m.csv", KEYS, **(WORD | word))


def drawn(store: RunStore, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    written = io.StringIO()
    Console(file=written, width=columns, color_system=None).print(panel(*headline_of(store)))
    return written.getvalue()


@pytest.mark.parametrize("columns", [80, 200])
def test_the_panel_has_workers_pace_causes_figures_and_last_videos(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    text = drawn(store, columns, monkeypatch)
    for part in ("7/8 samples", "1 of 2 busy: 1 on box (NVIDIA H100)", "s8 (3 s)", "2.5 videos/min",
                 '2 BadSample in invert: "a.mp4" is no video', "1 RuntimeError", "1 NotThere",
                 "about 24 s left", "follows 0.700",
                 "s6  follows 0.90",
                 "motion_fidelity: 1 too_few_tracks", "one worker did not start", "heard"):  # fmt: skip
        assert part in text
    assert max(map(len, text.splitlines())) == min(columns, 120)


def test_long_causes_come_last_and_whole(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    long = f'"c.mp4" is no video, and here is all that is to be said about it: {"word " * 30}end'
    store.commit(failed(8, long))
    text = drawn(store, 80, monkeypatch)
    assert text.index("heard") < text.index('"c.mp4" is no video')
    assert " end " in text


def test_between_two_listings_done_and_left_agree(store: RunStore) -> None:
    watcher = Watcher(store.url, clock=lambda: 0.0)
    assert watcher.look()[1].left == 1
    watcher.due = 1.0
    speak(store, done=5)
    state, head = watcher.look()
    assert (state.done, head.done, head.left) == (5, 5, 0)


def test_a_run_without_drivers_is_watched_until_it_has_a_record(cli: Cli, tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    store.create({"settings": {}}, {})
    assert not over(headline_of(store)[0]), "one may just be starting"
    store.commit(made(4, "x.mp4", 0.5))
    assert over(headline_of(store)[0])
    assert cli("batch", "status", store.url, "--watch").code == Exit.OK


def test_words_edited_by_hand_break_no_panel(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    speak(
        store, rate="fast", running=5, pools=[1], hosts={"a": "b"}, put_off={"x": "y"}, done="all", message=7
    )
    assert "7/8 samples" in drawn(store, 80, monkeypatch)
    hostile = "\x1b]0;owned\x07\u202e"
    speak(store, message=hostile, running=[hostile], hosts={hostile: [1, 1]})
    text = drawn(store, 120, monkeypatch)
    assert {char for char in text if not char.isprintable()} == {"\n"}


def test_lines_stay_within_the_width(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        said = lines(headline_of(store)[1], "runs/x")
        assert max(map(len, said)) <= columns
        labels = ["failed", "", "figures", "", "no figure", "not ok", "gate", "cost"]
        assert list(dict.fromkeys(line[:LABEL].strip() for line in said)) == list(dict.fromkeys(labels))
    assert "1 of 4 videos missed it after their last try" in " ".join(said)


def test_no_line_comes_twice_and_counts_alone_seldom(store: RunStore) -> None:
    news, (state, _) = News(), headline_of(store)
    assert news.of(state, 0.0) == [sentence(state), "note: one worker did not start"]
    assert news.of(state, 100.0) == []
    more = replace(state, done=5)
    assert news.of(more, 10.0) == []
    assert news.of(more, 40.0) == [sentence(more)]
    worse = replace(more, failed=4)
    assert news.of(worse, 41.0) == [sentence(worse)]
    quiet = replace(worse, silent_s=91.0)
    assert len(news.of(quiet, 42.0)) == 1
    assert news.of(replace(quiet, silent_s=96.0), 47.0) == []


def test_a_watched_run_reads_nothing_twice(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        plain = getattr(RunStore, name)
        return lambda self, *what: (reads.append(name), plain(self, *what))[1]

    for name in ("_read", "_entries", "_rows", "generations"):
        monkeypatch.setattr(RunStore, name, counted(name))
    watcher = Watcher(store.url, clock=lambda: 0.0)  # nothing takes any time
    first = watcher.look()
    assert sorted(reads) == ["_entries", "_read", "_rows", "generations"]
    reads.clear()
    assert watcher.look()[1] == first[1]
    assert reads == ["generations"]
    store.commit(made(8, "y.mp4", 0.1))
    reads.clear()
    assert watcher.look()[1].latest[0].id == "s8"
    assert sorted(reads) == ["_read", "generations"]


def test_records_are_listed_as_often_as_they_take_a_tenth_of_the_time(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, lists = [0.0], []
    plain = Ledger.generations

    def slow(self: Ledger) -> dict[str, int]:
        lists.append(now[0])
        now[0] += 10.0
        return plain(self)

    monkeypatch.setattr(Ledger, "generations", slow)
    watcher = Watcher(store.url, clock=lambda: now[0])
    assert watcher.look()[0].done == 4
    speak(store, done=5)
    now[0] = 50.0
    state, head = watcher.look()
    assert (state.done, head.done) == (5, 5), "by the driver's word, as no record is listed"
    now[0] = 100.0
    watcher.look()
    assert lists == [0.0, 100.0]
    speak(store, ended=True)
    now[0] = 120.0
    assert (watcher.look()[0].ended, lists) == (True, [0.0, 100.0, 120.0]), "the end is counted at once"


def test_watching_without_a_terminal_ends_with_the_headline(
    cli: Cli, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.0)
    looked = Watcher.look

    def look(self: Watcher) -> Any:
        found = looked(self)
        speak(store, ended=True)  # once it was seen at work
        return found

    monkeypatch.setattr(Watcher, "look", look)
    done = cli("batch", "status", store.url, "--watch")
    said = done.out.splitlines()
    assert done.code == Exit.OK
    assert "4 of 8 done, 3 failed, 2.5 videos/min, about 24 s left" in said[0]
    assert said[1] == "note: one worker did not start"
    assert "ended before it was finished" in said[2]
    assert said[-1] == "next       the command that began it, once more"
    assert len({*said}) == len(said)


def test_json_has_the_same_facts(cli: Cli, store: RunStore) -> None:
    found = cli("batch", "status", store.url, "--json").json
    head = found["headline"]
    assert (found["done"], found["eta_s"], head["left"], head["put_off"]) == (4, 24.0, 1, {"NotThere": 1})
    assert head["causes"][0] == {"count": 2, "error": "BadSample", "stage": "invert", "id": "s2",
                                 "message": '"a.mp4" is no video'}  # fmt: skip
    assert head["figures"]["follows"]["n"] == 3
    assert (head["gate"]["missed"], head["cost"]["unit"]) == (1, "GPU")
    assert found["next"] == [f"motionecho batch status {store.url} --watch"]


def test_a_run_that_is_done_is_to_be_exported(cli: Cli, tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    store.create({}, {})
    whole: Record = record("a", "x", "ok")
    store.commit(whole)
    say(store, 1, rows="a", ended=True)
    said = cli("batch", "status", store.url).out
    assert f"next       motionecho export {store.url} --out videos/" in said
