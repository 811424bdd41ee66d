"""A record survives its way through JSON and tables; a damaged one says so."""

import json
from typing import Any

import pytest

from motionecho.errors import MotionEchoError
from motionecho.runs.notes import Blob, ErrorNote, Host
from motionecho.runs.records import SCHEMA_VERSION, Record
from motionecho.runs.sealed import sealed
from motionecho.runs.tables import as_row

RECORD = Record(
    key="ab12",
    id="cat",
    status="ok",
    inputs={"id": "cat", "reference": "s3://b/a.mp4", "prompt": "a cat", "seed": 3, "licence": "CC0"},
    reference={"uri": "s3://b/a.mp4", "sha256": "ff", "version": "1"},
    video=Blob("videos/ab/ab12-1.mp4", "ee", 10),
    scores={"sanity": {"sanity_luma": 0.5, "sanity_status": "ok"}},
    metrics={"sanity": {"version": "1", "key": "aa"}},
    skipped={"text_alignment": "no weights"},
    trace={"forward_equivalents": 64, "evaluations": {"student": 8}},
    seconds={"invert": 1.5},
    attempts=2,
    motion=Blob("motions/cd/cd34.safetensors"),
    strikes=[ErrorNote(name="ValueError", message="once", stage="generate", attempt="1-a", host="h1")],
    where=Host(name="h1", node="n1", pid=7, device="cpu", threads=2, stages=("invert", "generate")),
)
VERSION_1 = """{
  "schema_version": 1, "key": "ab12", "id": "cat", "status": "failed", "attempts": 1, "attempt": "2-a",
  "inputs": {"id": "cat", "prompt": "a cat"},
  "motion": {"uri": "motions/cd/cd34.safetensors"},
  "video": {"uri": "videos/ab/ab12-1.mp4", "sha256": "ee", "bytes": 10},
  "stats": null,
  "strikes": [{"kind": "strike", "message": "once", "stage": "generate", "traceback": "T",
               "class": "ValueError", "attempt": "1-a", "host": "h1", "node": "n1", "pid": 7,
               "stages": ["generate"], "device": "cpu, threads: 2", "at": "2025-01-01T00:00:00.000+00:00"}],
  "error": {"kind": "bad", "message": "no", "stage": "manifest", "traceback": "", "class": "BadRow",
            "at": "x"},
  "where": {"host": "h1", "node": "n1", "pid": 7, "stages": ["invert", "generate"],
            "device": "cpu, threads: 2"},
  "seconds": {"generate": 2.0, "score": 1.0}
}"""


def test_json_and_back() -> None:
    assert Record.from_json(RECORD.to_json()) == RECORD


def test_keys_of_a_later_minor_version_are_passed_over() -> None:
    assert Record.from_json(json.dumps(sealed(RECORD.to_dict() | {"mood": "good"}))) == RECORD


def test_a_record_of_version_1_reads_as_one_of_today() -> None:
    record = Record.from_json(VERSION_1)
    assert record.schema_version == SCHEMA_VERSION
    assert record.motion == Blob("motions/cd/cd34.safetensors"), "found in the cache: its URI only"
    assert record.video == Blob("videos/ab/ab12-1.mp4", "ee", 10)
    assert record.stats is None
    assert record.where == Host(
        name="h1", node="n1", pid=7, device="cpu", threads=2, stages=("invert", "generate")
    )
    assert (record.made_on, record.spent("generate", "score")) == ("cpu, threads: 2", 2.0)
    (strike,) = record.strikes
    assert (strike.name, strike.host, strike.attempt, strike.traceback) == ("ValueError", "h1", "1-a", "T")
    assert record.error == ErrorNote(kind="bad", name="BadRow", message="no", stage="manifest", at="x")
    row = as_row(record, "run")
    assert (row["result_host"], row["result_device"], row["result_threads"]) == ("h1", "cpu", 2)
    assert (row["result_error_class"], row["result_error_message"]) == ("BadRow", "no")
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("where", "host"),
    [
        ({"host": "h", "device": "NVIDIA H100", "gpus": 0.5}, Host(name="h", device="NVIDIA H100", gpus=0.5)),
        ({"host": "h", "pid": 3}, Host(name="h", pid=3)),
        ({}, None),
    ],
)
def test_hosts_of_version_1(where: dict[str, Any], host: Host | None) -> None:
    data = {"schema_version": 1, "key": "k", "id": "i", "status": "ok", "inputs": {}, "where": where}
    assert Record.from_json(json.dumps(data)).where == host


def test_errors_keep_the_names_that_people_read() -> None:
    (note,) = json.loads(RECORD.to_json())["strikes"]
    assert list(note) == [
        "kind", "class", "message", "stage", "traceback", "attempt", "host", "node", "at"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"schema_version": 1}',
        '{"schema_version": 99}',
        '{"schema_version": 2, "where": "x"}',
    ],
)
def test_what_is_no_record_is_said(text: str) -> None:
    with pytest.raises(MotionEchoError):
        Record.from_json(text)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Record(key="a", id="b", status="ok", inputs={"x": float("nan")}).to_json()


def test_row_is_input_columns_then_outcome() -> None:
    row = as_row(RECORD, "s3://bucket/run")
    assert list(row)[:5] == ["id", "reference", "prompt", "seed", "licence"]
    assert all(name.startswith("result_") for name in list(row)[5:])
    assert row["result_video"] == "s3://bucket/run/videos/ab/ab12-1.mp4"
    assert row["result_sanity_luma"] == 0.5
    assert row["result_sanity_version"] == "1"
    assert row["result_text_alignment_skipped"] == "no weights"
    assert row["result_trace_evaluations_student"] == 8
    assert row["result_error_class"] is None
    assert "\n" not in row["result_record"]
    assert Record.from_json(row["result_record"]) == RECORD
