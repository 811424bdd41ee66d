"""What a run has come to, out of its parts and records, with nothing measured and few files read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motionecho.metrics import stats
from motionecho.metrics.headline import Cause, GateResult, headline_of
from motionecho.metrics.stats import estimate
from motionecho.runs.ledger import Ledger
from motionecho.runs.notes import Blob, ErrorNote, Host
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore

HOST = Host(name="box", device="NVIDIA H100", gpus=0.5, stages=("generate", "score"))
NO_CLIP = {"text_alignment": "its weights are missing"}


def made(number: int, reference: str, motion: float | None, reached: bool = True, **more: Any) -> Record:
    """A sample that was made, in two tries, `number` seconds after the first."""
    name = f"s{number}"
    tries = [{"reached": False, "forward_equivalents": 10}, {"reached": reached, "forward_equivalents": 30}]
    status = {"motion_fidelity_status": "ok" if motion is not None else "too_few_tracks"}
    fields: dict[str, Any] = {
        "inputs": {"id": name, "reference": reference, "prompt": "a star"},
        "video": Blob(video_uri(number), "0" * 64, 1),
        "scores": {"motion_fidelity": {"follows": motion, "follows_floor": 0.25} | status},
        "metrics": {"motion_fidelity": {"version": "1", "key": "k"}},
        "skipped": NO_CLIP,
        "tries": tries,
        "trace": {"forward_equivalents": 30},
        "seconds": {"generate": 60.0, "score": 12.0, "generate_sample": 50.0, "generate_decode": 4.0},
        "where": HOST,
        "committed_at": f"2026-11-01T00:00:{number:02}.000+00:00",
    }
    return Record(key=f"{number:032x}", id=name, status="ok", **(fields | more))


def video_uri(number: int, attempt: int = 1) -> str:
    return f"videos/00/{number:032x}-{attempt}-0abc.mp4"


def failed(number: int, message: str, error: str = "BadSample") -> Record:
    note = ErrorNote(name=error, stage="invert", message=message)
    name = f"s{number}"
    return Record(key=f"{number:032x}", id=name, status="failed", inputs={"id": name}, error=note)


# of a video that the sample with this id had before
OTHER: dict[str, Any] = {"text_alignment": {"text_alignment": 0.1}, "motion_fidelity": {"follows": 0.0}}
RECORDS = [
    failed(1, "it broke", "RuntimeError"),
    failed(2, '"a.mp4" is no video'),
    failed(3, '"b.mp4" is no video'),
    made(4, "x.mp4", 0.5),
    made(5, "x.mp4", 0.7, reached=False),
    made(6, "y.mp4", 0.9),
    made(7, "y.mp4", None),
]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A run with a gate: three samples failed, four made, all but the last in a results part."""
    store = RunStore(str(tmp_path / "run"))
    store.create({"settings": {"gate": "mf_traj>=0.6, 2 tries"}}, {})
    for record in RECORDS:
        store.commit(record)
    store.compact(RECORDS[:-1])
    return store


def test_a_run_is_summed_up(store: RunStore) -> None:
    state, head = headline_of(store)
    assert (state.done, head.done, head.failed, head.left) == (4, 4, 3, None)
    assert head.causes == (
        Cause(2, "BadSample", "invert", "s2", '"a.mp4" is no video'),
        Cause(1, "RuntimeError", "invert", "s1", "it broke"),
    )
    assert list(head.figures) == ["follows"]
    assert head.figures["follows"] == estimate([0.5, 0.7, 0.9], ["x", "x", "y"])
    assert (head.figures["follows"].n, head.floors, head.references) == (3, {"follows": 0.25}, 2)
    assert head.gate == GateResult("mf_traj>=0.6, 2 tries", 4, 1, 8)
    assert (head.unmeasured, head.statuses) == (NO_CLIP, {"motion_fidelity": {"too_few_tracks": 1}})
    assert head.cost is not None
    assert (head.cost.unit, head.cost.hours) == ("GPU", 0.04), "half a GPU for 4 times 72 s"
    assert head.cost.seconds is not None
    assert head.cost.seconds.mean == 54.0
    assert head.cost.forward_equivalents is not None
    assert head.cost.forward_equivalents.mean == 40.0, "all tries count"
    assert [video.id for video in head.latest] == ["s7", "s6", "s5"]
    assert (head.latest[0].figures, head.latest[1].figures) == ({}, {"follows": 0.9})


def test_no_record_is_read_that_a_part_holds(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = Ledger._read
    monkeypatch.setattr(
        Ledger, "_read", lambda self, key, generation: (read.append(key), plain(self, key, generation))[1]
    )
    before = headline_of(store)[1]
    assert read == [RECORDS[-1].key]
    store.compact(RECORDS[-1:])
    read.clear()
    assert headline_of(store)[1] == before
    assert read == []


def test_an_older_part_that_does_not_tell_of_the_gate_is_made_up_for(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = headline_of(store)[1]
    rows = RunStore._rows
    untold = ("result_gate_reached", "result_tries_forward_equivalents")
    monkeypatch.setattr(
        RunStore,
        "_rows",
        lambda *them: [{k: v for k, v in row.items() if k not in untold} for row in rows(*them)],
    )
    assert headline_of(store)[1] == whole


def test_what_was_measured_later_counts_and_is_unmeasured_no_more(store: RunStore) -> None:
    later = RunStore(store.scores_url)
    later.create({"scoring": {"fit": "crop"}}, {})
    figures = {"text_alignment": {"text_alignment": 0.3}, "motion_fidelity": {"follows": 0.8}}
    for key, video, figure in ((4, video_uri(4), figures), (8, video_uri(4, attempt=2), OTHER)):
        inputs = {"id": "s4", "video": f"/elsewhere/by/now/{video}"}
        scored = made(key, "x.mp4", 0.0, scores=figure, skipped={}, tries=[], seconds={"score": 1.0})
        later.commit(replace(scored, id="s4", inputs=inputs, video=None))
    head = headline_of(store)[1]
    assert head.figures["text_alignment"].n == 1
    assert head.figures["follows"] == estimate([0.8, 0.7, 0.9], ["x", "x", "y"])
    assert head.unmeasured == {}
    assert head.cost == headline_of(store, RunStore(f"{store.url}/none"))[1].cost, "scoring is no cost of it"


def test_an_interval_of_many_groups_is_nearly_that_of_a_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [(number * 37 % 100) / 100 for number in range(900)]
    groups = [number // 3 for number in range(900)]
    drawn = estimate(values, groups)
    monkeypatch.setattr(stats, "LARGE", 100)
    by_law = estimate(values, groups)
    assert by_law.mean == drawn.mean
    assert drawn.low is not None
    assert drawn.high is not None
    assert (by_law.low, by_law.high) == pytest.approx((drawn.low, drawn.high), abs=2e-3)
    assert by_law.low != drawn.low
