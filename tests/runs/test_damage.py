"""Whatever happens to a file of a run: it is named, what was not written is not believed, nothing is lost."""

import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from motionecho.errors import Damaged, MotionEchoError, UserError
from motionecho.runs import layout
from motionecho.runs.cleanup import orphans
from motionecho.runs.leases import Lease, Word
from motionecho.runs.notes import Blob, ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.sealed import read_object, sealed
from motionecho.runs.state import latest_sources, state_of
from motionecho.runs.store import RunStore
from motionecho.runs.verify import requeue, verify

KEYS = tuple(letter * 32 for letter in "abcdef")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(str(tmp_path / "run"), patience_s=1)


def record(key: str = KEYS[0], **fields: Any) -> Record:
    video = Blob(f"videos/{key[:2]}/{key}-1-x.mp4", "0" * 64, 3)
    fields = {"inputs": {"id": key[0], "prompt": "a cat"}, "motion_key": "1" * 32, "video": video} | fields
    return Record(key=key, id=key[0], status=fields.pop("status", "ok"), **fields)


def at(store: RunStore, uri: str) -> Path:
    return Path(store.absolute(uri))


# --- bits


def test_no_flipped_bit_of_a_results_part_is_believed(store: RunStore) -> None:
    made = [record(key) for key in KEYS]
    for each in made:
        store.commit(each)
    path = at(store, str(store.compact(made)))
    whole, bits = path.read_bytes(), random.Random(7)
    for _ in range(150):
        data = bytearray(whole)
        data[bits.randrange(len(data))] ^= 1 << bits.randrange(8)
        path.write_bytes(data)
        index = store.index()
        assert all(index[key].ok for key in KEYS)
        assert len(index.damaged) == 1
        assert str(path) in index.damaged[0]
        assert sorted(each.key for each in store.records(index)) == list(KEYS)
    store.tidy(index)
    assert not path.exists()
    store.compact(index.loose)
    assert store.index().damaged == ()


def test_what_makes_no_sense_in_a_part_of_version_01_is_named(store: RunStore) -> None:
    """Its name has no digest: whatever Arrow raises, or a row says, the records count."""
    store.commit(record())
    new = at(store, str(store.compact([record()])))
    data = new.read_bytes()
    new.unlink()
    path, bits = at(store, "results/part-20260101T000000-abc123.parquet"), random.Random(11)
    for _ in range(150):
        hurt = bytearray(data)
        for _ in range(3):
            hurt[bits.randrange(len(hurt))] ^= 1 << bits.randrange(8)
        path.write_bytes(hurt)
        index = store.index()
        assert set(index) == {KEYS[0]} or index.damaged
        assert [each.key for each in store.records(index)] == [KEYS[0]]


def test_no_flipped_bit_of_a_record_is_believed(store: RunStore) -> None:
    made = record(error=ErrorNote(name="X", message="é"), scores={"a": {"b": 0.5}}, generation=2)
    whole, bits = made.to_json().encode(), random.Random(5)
    for _ in range(2000):
        data = bytearray(whole)
        data[bits.randrange(len(data))] ^= 1 << bits.randrange(8)
        try:
            assert Record.from_json(bytes(data)) == made  # a blank became another blank
        except MotionEchoError:
            continue


def test_an_edited_record_is_found_wherever_it_is(store: RunStore) -> None:
    store.create({}, {})
    loose, compacted = (
        record(KEYS[0], video=None, motion_key=None),
        record(KEYS[1], video=None, motion_key=None),
    )
    for each in (loose, compacted):
        store.commit(each)
        path = at(store, layout.record(each.key))
        path.write_text(path.read_text().replace("a cat", "a dog"))
    store.compact([compacted])
    state = verify(store, lambda path, key: None)
    found = {(finding.what, finding.file or finding.problem) for finding in state.findings}
    assert ("damaged", layout.record(KEYS[1])) in found
    assert any(layout.record(KEYS[0]) in text for _, text in found)
    assert requeue(store, state) == 1
    index = store.index()
    assert {key: (index[key].to_do, index.next_generation(key)) for key in KEYS[:2]} == {
        KEYS[0]: (True, 2),
        KEYS[1]: (True, 3),
    }


# --- fields

OLD = {"schema_version": 2, "key": KEYS[0], "id": "a", "status": "ok", "inputs": {}}


@pytest.mark.parametrize(
    "edit",
    [
        {"reference": []}, {"reference": "x"}, {"inputs": None}, {"inputs": []}, {"id": 5}, {"id": None},
        {"key": 7}, {"scores": [1]}, {"scores": {"a": 1}}, {"video": {}}, {"video": "x"}, {"video": [1]},
        {"status": "weird"}, {"status": None}, {"status": 1}, {"strikes": {"a": 1}}, {"strikes": [1]},
        {"strikes": None}, {"strikes": [{}]}, {"error": "x"}, {"error": {"class": 1}}, {"where": "x"},
        {"where": {"name": 1}}, {"generation": "two"}, {"generation": None}, {"schema_version": "2"},
        {"schema_version": None}, {"schema_version": 0}, {"seconds": {"a": "b"}}, {"tries": 3}, {"trace": 1},
        {"motion_key": "1" * 32}, {"sha256": "0" * 64}, {"schema_version": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_with_other_fields_than_were_written_is_damaged(
    store: RunStore, edit: dict[str, Any]
) -> None:
    assert Record.from_json(json.dumps(OLD)).ok, "as an older version wrote it"
    text = json.dumps(OLD | edit)
    with pytest.raises(Damaged):
        Record.from_json(text)
    store.folder.overwrite(layout.record(KEYS[0]), text.encode())
    index = store.index()
    assert index[KEYS[0]].to_do
    assert layout.record(KEYS[0]) in index.damaged[0]


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"a": ' * 100_000, '{"a": NaN}', '{"a": 1e400}', '{"a": -Infinity}', "5", "\ud800"],
)
def test_what_is_no_object_of_plain_values_is_damaged(text: str) -> None:
    with pytest.raises(Damaged):
        read_object(text.encode(errors="surrogatepass"))


@pytest.mark.parametrize(
    "row",
    [
        {"result_status": "weird"}, {"result_status": None}, {"result_key": None}, {"result_key": 4},
        {"result_generation": "one"},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_none(store: RunStore, row: dict[str, Any]) -> None:
    store.commit(record())
    known = {"id": "a", "result_key": KEYS[0], "result_status": "ok", "result_generation": 1}
    os.makedirs(at(store, "results"))
    pq.write_table(
        pa.Table.from_pylist([known | row]), at(store, "results/part-20260101T000000-abc123.parquet")
    )
    index = store.index()
    assert index[KEYS[0]].ok
    assert len(index.damaged) == 1


# --- names and kinds


def test_a_folder_or_a_dead_link_for_a_record_loses_no_sample(store: RunStore) -> None:
    folder, link = at(store, layout.record(KEYS[0])), at(store, layout.record(KEYS[1]))
    folder.mkdir(parents=True)
    link.parent.mkdir(parents=True)
    link.symlink_to("nowhere")
    for key in KEYS[:2]:
        generation = store.index().next_generation(key)
        made = store.commit(record(key, generation=generation))
        assert made is not None
        assert made.generation == 2
    assert {key: entry.ok for key, entry in store.index().items()} == {KEYS[0]: True, KEYS[1]: True}


def test_a_record_beside_one_that_nobody_can_read_is_the_next(store: RunStore) -> None:
    """Two drivers planned the sample before the first one's record was damaged."""
    store.commit(record(attempt="1-a"))
    at(store, layout.record(KEYS[0])).write_text("{")
    made = store.commit(record(attempt="1-b"))
    assert made is not None
    assert (made.attempt, made.generation) == ("1-b", 2)
    assert store.commit(record(attempt="1-c", generation=2)) is None


def test_a_file_where_the_records_folder_belongs_is_named(store: RunStore) -> None:
    store.create({}, {})
    at(store, "records").write_text("mine")
    with pytest.raises(MotionEchoError, match="one of its folders is a file"):
        store.commit(record())


@pytest.mark.parametrize(
    "name",
    [
        "records/no/notes.json", "records/notes.json", f"records/aa/{KEYS[0]}-x.json",
        f"records/aa/{KEYS[0]}-1.json", f"records/aa/{KEYS[0]}-0.json", f"records/aa/{KEYS[0]}-02.json",
        f"records/bb/{KEYS[0]}.json", f"records/aa/{KEYS[0]}-{'9' * 200}.json",
        f"records/aa/{KEYS[0]} (copy).json", f"records/aa/{KEYS[0].upper()}.json", f"records/{KEYS[0]}.json",
        f"records/aa/{KEYS[0]}.json.json", f"records/aa/{KEYS[0]}-2.json/inner.json",
    ],
)  # fmt: skip
def test_files_of_others_among_the_records_are_none(store: RunStore, name: str) -> None:
    store.commit(record())
    store.folder.overwrite(name, b"{}")
    index = store.index()
    assert (set(index), index.damaged) == ({KEYS[0]}, ())
    assert name not in [orphan.uri for orphan in orphans(store, young_s=-1.0)]
    store.compact(index.loose)
    store.tidy(store.index())
    assert [each.key for each in store.records()] == [KEYS[0]]


def test_a_torn_attempt_note_counts_as_none_and_is_named(store: RunStore) -> None:
    store.note_strike(KEYS[0], "1-x", ErrorNote(name="ValueError", at="1"))
    notes = {
        "2-x": b"{",
        "3-x": b"[]",
        "4-x": b'{"class": 5}',
        "5-x": b"{}",
        "6-x": b"\xff",
        "7-x": b'{"a": 1e999}',
    }
    for name, data in notes.items():
        store.folder.overwrite(layout.attempt_note(KEYS[0], name), data)
    at(store, layout.attempt_note(KEYS[0], "8-x")).symlink_to("nowhere")
    told: list[str] = []
    assert [note.at for note in store.strikes(told.append)[KEYS[0]]] == ["1"]
    assert [any(f"-{name}.json" in line for line in told) for name in notes] == [True] * len(notes)


# --- leases and run.json


def lease(store: RunStore, life: str, changed: float, words: Any = None) -> Path:
    """Write the word of a driver that has ended, as it was written at that moment."""
    store.put_text(layout.lease(life), json.dumps({"role": "driver", "ended": True} | (words or {})))
    path = at(store, layout.lease(life))
    os.utime(path, (changed, changed))
    return path


def test_the_latest_word_is_the_last_written_whoever_is_alive(store: RunStore) -> None:
    """Names tell nothing: that of the later driver comes first in the alphabet here, then last."""
    for first, second in (("ffff", "0000"), ("1111", "2222")):
        lease(store, first, 1000.0, {"total": 5, "sources": [{"manifest": "m", "rows": "r1", "total": 5}]})
        lease(store, second, 2000.0, {"total": 9, "sources": [{"manifest": "m", "rows": "r2", "total": 9}]})
        assert latest_sources(store.words())["m"].rows == "r2"
        assert state_of(store).total == 9
        assert state_of(store).drivers[0]["total"] == 9
        for life in (first, second):
            at(store, layout.lease(life)).unlink()


def test_a_lease_of_a_time_to_come_is_named_with_the_way_out(store: RunStore) -> None:
    path = lease(store, "dead", 4e9, {"ended": False})
    with pytest.raises(
        UserError, match=r"delete progress/dead\.json there, whose time is \d+ s in the future"
    ):
        Lease.take(store.folder, "sweeper")
    assert f"{path} is of a time to come" in state_of(store).damaged[0]
    path.unlink()
    Lease.take(store.folder, "sweeper").end({})


@pytest.mark.parametrize(
    "words",
    [
        '{"total": 1e400}', "[" * 200_000, '{"manifest": 5}', '{"total": "9"}', '{"eta_s": []}',
        '{"sources": 5}',
        '{"sources": [5]}', '{"sources": [{"manifest": 5, "rows": "r", "total": 1}]}', '{"pid": []}',
        '{"machine": []}', '{"job": {}}', '{"role": 5}', "null", "\x00",
    ],
)  # fmt: skip
def test_an_edited_lease_disturbs_no_one(store: RunStore, words: str) -> None:
    store.create({}, {})
    store.commit(record())
    store.put_text(layout.lease("edited"), words)
    assert state_of(store).done == 1
    taken = store.take_lease("driver", {"m": [KEYS[0]]})
    taken.end({})
    assert [word.life for word in store.words()][-1] == taken.life


@pytest.mark.parametrize(
    "words",
    [
        {"identity": 5}, {"identity": []}, {"about": 5}, {"motions": 5}, {"motions": ["a"]},
        {"identity": None}, {"schema_version": "1"}, {"schema_version": None},
    ],
    ids=str,
)  # fmt: skip
def test_an_edited_run_json_is_one_sentence_that_names_it(store: RunStore, words: dict[str, Any]) -> None:
    store.create({"settings": {}}, {})
    known = json.loads(at(store, "run.json").read_text())
    store.put_text("run.json", json.dumps(known | words))
    actions: list[Callable[[], object]] = [store.run, lambda: store.create({"settings": {}}, {})]
    for action in actions:
        with pytest.raises(UserError, match=r"run\.json"):
            action()


def test_a_word_says_how_old_it_is_only_where_that_is_known() -> None:
    assert str(Word("x", {"pid": 1}, age=3.2)).endswith("heard 3 s ago")
    assert "heard" not in str(Word("x", {"pid": 1}, age=-7200.0))
    assert "heard" not in str(Word("x", {"pid": 1}))


def test_a_seal_holds_every_value(store: RunStore) -> None:
    made = replace(
        record(), inputs={"id": "a", "text": "é ☂ \u2028", "n": 1.5e-7, "big": 2**70, "none": None}
    )
    assert Record.from_json(made.to_json()) == made
    assert sealed({"a": 1})["sha256"] == sealed({"a": 1.0} | {"a": 1})["sha256"]
