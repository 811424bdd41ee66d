"""A record survives its way through JSON and tables; a damaged one says so."""

import io
import json

import pyarrow.parquet as pq
import pytest

from motionecho.errors import MotionEchoError
from motionecho.runs.records import Record, as_row
from motionecho.runs.results import to_parquet

RECORD = Record(
    key="ab12",
    id="cat",
    status="ok",
    inputs={"id": "cat", "reference": "s3://b/a.mp4", "prompt": "a cat", "seed": 3, "licence": "CC0"},
    reference={"uri": "s3://b/a.mp4", "sha256": "ff", "version": "1"},
    video={"uri": "videos/ab/ab12-1.mp4", "sha256": "ee", "bytes": 10},
    scores={"sanity": {"sanity_luma": 0.5, "sanity_status": "ok"}},
    metrics={"sanity": {"version": "1", "key": "aa"}},
    skipped={"text_alignment": "no weights"},
    trace={"forward_equivalents": 64, "evaluations": {"student": 8}},
    seconds={"invert": 1.5},
    attempts=1,
)


def test_json_and_back() -> None:
    assert Record.from_json(RECORD.to_json()) == RECORD


def test_keys_of_a_later_minor_version_are_passed_over() -> None:
    assert Record.from_json(json.dumps(json.loads(RECORD.to_json()) | {"mood": "good"})) == RECORD


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema_version": 1}', '{"schema_version": 99}'])
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
    assert Record.from_json(row["result_record"]) == RECORD


def test_rows_of_different_shape_share_one_table() -> None:
    rows = [{"a": 1, "b": "x"}, {"a": "one", "c": [1, 2]}, {}]
    table = pq.read_table(io.BytesIO(to_parquet(rows)))
    assert table.column_names == ["a", "b", "c"]
    assert table.column("a").to_pylist() == ["1", "one", None]
    assert table.column("c").to_pylist() == [None, [1, 2], None]
