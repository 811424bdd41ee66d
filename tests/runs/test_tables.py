"""Tables as other libraries read them, whatever their rows hold, and as older versions left them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from motionecho.config import EchoConfig
from motionecho.errors import UserError
from motionecho.manifest import BadRow, Sample, read_manifest
from motionecho.metrics import METRICS
from motionecho.metrics.registry import EMBEDDERS
from motionecho.runs.export import collect_steps, collect_table
from motionecho.runs.notes import Blob, ErrorNote, Host
from motionecho.runs.records import Record
from motionecho.runs.results import read_entries, read_records, read_steps
from motionecho.runs.schema import FIGURES, RECORD, RESULTS, STEPS, VERSION
from motionecho.runs.store import RunStore
from motionecho.runs.tables import (
    DECLARED,
    SETTINGS,
    as_row,
    joined,
    kind_of,
    more_of,
    steps_table,
    to_parquet,
    written,
)
from motionecho.trace import StepTrace, Trace

CORE = [column.name for column in RESULTS]
WHEN = "2026-11-01T10:20:30.456+00:00"


def key(number: int) -> str:
    return f"{number:032x}"


def made(number: int, **inputs: Any) -> Record:
    return Record(
        key=key(number),
        id=f"s{number}",
        status="ok",
        inputs={"id": f"s{number}", "reference": "/clips/a.mp4", "prompt": "a star", "seed": number} | inputs,
        echo=EchoConfig().to_dict(),
        motion=Blob("/shared/motion.safetensors"),
        video=Blob(f"videos/00/{key(number)}-1-a.mp4", "ee", 1234),
        scores={"sanity": {"sanity_luma": 100, "sanity_flicker": None, "sanity_status": "ok"}},
        metrics={"sanity": {"version": "1", "key": "x"}},
        facts={"pair": "toy", "dtype": "float32", "width": 64, "height": 48, "frames": 16, "fps": 8.0},
        trace={"steps": 8, "first_loss": 3.5, "evaluations": {"student": 8}, "forward_equivalents": 8},
        seconds={"generate": 2.5, "publish": 1},
        warnings=["it is HDR", "it is short"],
        where=Host(name="h", device="cpu", threads=2),
        weights={"teacher": "aa"},
        committed_at=WHEN,
    )


def bad(number: int, **inputs: Any) -> Record:
    """A row that cannot run, with the cells of its table: a CSV has texts, and some are of no number."""
    error = ErrorNote(kind="bad", name="BadRow", message="no", stage="manifest")
    row = {"id": f"s{number}", "reference": "/clips/a.mp4", "prompt": 7, "seed": "-", "fps": "24"} | inputs
    return Record(
        key=key(number), id=f"s{number}", status="failed", inputs=row, error=error, committed_at=WHEN
    )


def run(url: Path, first: int, *parts: list[Record]) -> RunStore:
    """Parts as a driver leaves them that does not know what comes, and then makes them alike."""
    store = RunStore(str(url))
    for records in parts:
        for record in records:
            store.commit(record)
        store.compact(records)
    assert store.uneven
    store.tidy(store.index(), unlike=True)
    assert store.index().unlike == store.index().outdated == frozenset()
    return store


@pytest.fixture
def one(tmp_path: Path) -> RunStore:
    """A run whose first part has nothing but a bad row; then whole numbers, then fractions, then mixed."""
    return run(
        tmp_path / "one",
        1,
        [bad(1, steps="many", stars=None)],
        [made(2, stars=3, licence="CC0", steps=4), made(3, stars=None, tags=["a", {"b": 1}], big=2**60)],
        [made(4, stars=0.5, licence=5, fair=True), made(5, big=1)],
    )


@pytest.fixture
def two(tmp_path: Path) -> RunStore:
    """Another manifest and another metric than `one`."""
    scored = {"motion_fidelity": {"mf_dmt": 0.5, "mf_frames": 16, "mf_tracker": "dis"}, "own": {"own_n": 3}}
    record = made(12, mood="good")
    return run(
        tmp_path / "two", 11, [bad(11)], [Record(**{**vars(record), "scores": scored, "key": key(12)})]
    )


def parts(*stores: RunStore) -> list[str]:
    return [f"{store.url}/{part}" for store in stores for part in sorted(store.folder.find("results"))]


def by_datasets(files: list[str], tmp_path: Path, **more: Any) -> datasets.Dataset:
    return datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "hf"), **more
    )


READERS: dict[str, Callable[[list[str], Path], list[dict[str, Any]]]] = {
    "pandas": lambda files, _: pd.read_parquet(files).to_dict("records"),
    "polars": lambda files, _: pl.scan_parquet(files).collect().to_dicts(),
    "duckdb": lambda files, _: duckdb.read_parquet(files).arrow().read_all().to_pylist(),
    "datasets": lambda files, place: by_datasets(files, place).to_list(),
    "pyarrow": lambda files, _: pyarrow.dataset.dataset(files).to_table().to_pylist(),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_run_is_read_by_a_plain_call(one: RunStore, tmp_path: Path, reader: str) -> None:
    assert len(parts(one)) == 3
    rows = {row["id"]: row for row in READERS[reader](parts(one), tmp_path)}
    null = {name: {n for n, row in rows.items() if pd.isna(row[name])} for name in rows["s2"]}
    assert list(rows["s2"])[: len(CORE)] == CORE
    assert list(rows["s2"])[len(CORE) :] == ["big", "fair", "licence", "stars", "steps", "tags", RECORD.name]
    assert [rows[f"s{n}"]["result_status"] for n in range(1, 6)] == ["failed", *["ok"] * 4]
    assert (rows["s2"]["seed"], null["seed"]) == (2, {"s1"}), "a bad row's cell is of no number"
    assert (rows["s1"]["prompt"], rows["s1"]["fps"]) == ("7", 24.0)
    assert (rows["s2"]["stars"], rows["s4"]["stars"], null["stars"]) == (3.0, 0.5, {"s1", "s3", "s5"})
    assert (rows["s2"]["licence"], rows["s4"]["licence"]) == ("CC0", "5")
    assert (rows["s2"]["steps"], null["steps"]) == (4, {"s1", "s3", "s4", "s5"})
    assert (rows["s3"]["big"], rows["s5"]["big"]) == (2**60, 1)
    assert json.loads(rows["s3"]["tags"]) == ["a", {"b": 1}]
    assert (rows["s4"]["fair"], len(null["fair"])) == (True, 4)
    at = pd.Timestamp(rows["s1"]["result_committed_at"])
    assert (at, at.utcoffset()) == (pd.Timestamp(WHEN), pd.Timedelta(0))
    shown = {name: rows["s2"][f"result_{name}"] for name in ("width", "height", "frames", "fps", "bytes")}
    assert shown == {"width": 64, "height": 48, "frames": 16, "fps": 8.0, "bytes": 1234}
    assert null["result_width"] == null["result_video"] == null["result_pair"] == {"s1"}
    named = ["duration_s", "pair", "dtype", "strategy", "method", "schema_version", "warnings", "run"]
    assert [rows["s2"][f"result_{name}"] for name in named] == [
        2.0, "toy", "float32", "motionclone", "motionecho", VERSION, "it is HDR; it is short", one.url,
    ]  # fmt: skip
    assert f"{one.url}/{rows['s2']['result_video_path']}" == rows["s2"]["result_video"]
    assert (rows["s2"]["result_motion"], len(null["result_motion_path"])) == ("/shared/motion.safetensors", 5)
    assert null["result_preview"] == null["result_preview_path"] == null["result_file"] == {*rows}
    assert (rows["s2"]["result_sanity_luma"], rows["s2"]["result_seconds_publish"]) == (100.0, 1.0)
    assert len(null["result_sanity_flicker"]) == len(null["result_mf_dmt"]) == 5
    assert Record.from_json(rows["s3"]["result_record"]) == made(
        3, stars=None, tags=["a", {"b": 1}], big=2**60
    )


def test_types_are_those_that_each_library_has_for_them(one: RunStore, tmp_path: Path) -> None:
    of = {"seed": 0, "result_width": 1, "fair": 2, "result_committed_at": 3, "result_mf_dmt": 4, "licence": 5}
    frame = pd.read_parquet(f"{one.url}/results")
    assert [str(frame.dtypes[name]) for name in of][:5] == [
        "Int64", "Int64", "boolean", "datetime64[us, UTC]", "float64",
    ]  # fmt: skip
    scanned = pl.scan_parquet(f"{one.url}/results/*.parquet").collect_schema()
    assert [scanned[name] for name in of] == [
        pl.Int64, pl.Int64, pl.Boolean, pl.Datetime("us", "UTC"), pl.Float64, pl.String,
    ]  # fmt: skip
    found = duckdb.sql(f"from '{one.url}/results/*.parquet'")
    kinds = dict(zip(found.columns, map(str, found.types), strict=True))
    assert [kinds[name] for name in of] == [
        "BIGINT", "BIGINT", "BOOLEAN", "TIMESTAMP WITH TIME ZONE", "DOUBLE", "VARCHAR",
    ]  # fmt: skip
    features = by_datasets(parts(one), tmp_path).features
    assert [features[name].dtype for name in of] == [
        "int64", "int64", "bool", "timestamp[us, tz=UTC]", "float64", "string",
    ]  # fmt: skip
    schemas = [pq.read_schema(part) for part in parts(one)]
    assert all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)
    assert not any(pa.types.is_nested(kind) or pa.types.is_null(kind) for kind in schemas[0].types)
    assert json.loads(schemas[0].metadata[b"motionecho"])["schema_version"] == VERSION


def test_two_runs_are_read_together(one: RunStore, two: RunStore, tmp_path: Path) -> None:
    """By the columns that all tables have; those of one manifest or of a metric of others come behind."""
    files, ids = parts(one, two), {"s1", "s2", "s3", "s4", "s5", "s11", "s12"}
    assert pq.read_schema(files[-1]).names[len(CORE) :] == [
        "mood", "result_own_n", "result_own_version", RECORD.name,
    ]  # fmt: skip
    frame = pd.read_parquet(files).set_index("id")
    assert ({*frame.index}, str(frame.result_mf_frames.dtype)) == (ids, "Int64")
    assert (frame.result_mf_frames["s12"], frame.licence.isna()["s12"]) == (16, True)
    lazy = pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore")
    assert {*lazy.collect()["id"]} == ids
    found = duckdb.read_parquet(files, union_by_name=True)
    assert dict(found.project("id, mood").fetchall()) == dict.fromkeys(ids) | {"s12": "good"}
    assert {*by_datasets(files, tmp_path, columns=CORE)["id"]} == ids
    assert {row["id"] for row in pyarrow.dataset.dataset(files).to_table(CORE).to_pylist()} == ids
    assert len(duckdb.sql(f"select id from '{tmp_path}/*/results/*.parquet' where seed > 2").fetchall()) == 4


def test_runs_whose_manifests_have_the_same_columns_need_no_word(two: RunStore, tmp_path: Path) -> None:
    other = run(tmp_path / "other", 21, [bad(21)], [made(22, mood="bad")])
    whole = Record(**{**vars(made(23)), "scores": {"own": {"own_n": 1.5}}})
    other.commit(whole)
    other.compact([whole])
    other.tidy(other.index(), unlike=True)
    for reader in ("polars", "duckdb", "datasets"):
        found = READERS[reader](parts(two, other), tmp_path)
        assert {row["id"] for row in found} == {"s11", "s12", "s21", "s22", "s23"}, reader


def test_a_collection_is_the_same_table(one: RunStore, tmp_path: Path) -> None:
    collect_table(one, str(tmp_path / "all.parquet"))
    assert pq.read_schema(tmp_path / "all.parquet").equals(pq.read_schema(parts(one)[0]), check_metadata=True)


def test_what_is_known_before_is_written_at_once(tmp_path: Path) -> None:
    """So that parts need not be written again: what the manifest's rows have, and metrics of others."""
    store = RunStore(str(tmp_path))
    store.expect(store.index(), [{"stars": 3}, {"stars": 0.5, "licence": "CC0"}], {"result_own": "float64"})
    store.compact([bad(1)])
    store.compact([made(2, stars=3), made(3, stars=0.5, licence="CC0")])
    assert (store.uneven, store.index().unlike) == (False, frozenset())
    assert pl.scan_parquet(parts(store)).collect().sort("id")["stars"].to_list() == [None, 3.0, 0.5]


def test_a_row_that_two_drivers_wrote_is_there_once(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path))
    records = [made(1), made(2)]
    for record in records:
        store.commit(record)
    store.compact(records)
    store.compact(records[1:])
    store.tidy(store.index())
    assert sorted(pd.read_parquet(parts(store)).id) == ["s1", "s2"]


# --- declarations


def test_the_kinds_of_columns_join_in_any_order() -> None:
    kinds = ["null", "bool", "int53", "int64", "float64", "string"]
    for a in kinds:
        assert joined("null", a) == joined(a, a) == a
        for b in kinds:
            assert joined(a, b) == joined(b, a)
            for c in kinds:
                assert joined(joined(a, b), c) == joined(a, joined(b, c))
    values = [None, True, 2**53, 2**53 + 1, 0.5, "a", [1], {}, 2**63]
    assert [kind_of(value) for value in values] == [*kinds, "string", "string", "string"]
    assert joined("int53", "float64") == "float64"
    assert joined("int64", "float64") == "string", "it would not be exact"


def test_every_setting_and_metric_and_step_is_declared() -> None:
    defaults = EchoConfig().to_dict()
    assert SETTINGS.keys() == defaults.keys()
    for name, value in defaults.items():
        (kind,) = more_of([{name: value}]).values()
        assert kind in (SETTINGS[name], "null"), name
    assert FIGURES.keys() == METRICS.keys() | EMBEDDERS.keys()
    assert all(FIGURES.values())
    steps = Trace([StepTrace(0, 1.0, 0.5)]).rows()
    assert {*steps[0]} | {"key", "id", "schema_version"} == {column.name for column in STEPS}
    assert len(DECLARED) == len(RESULTS) + 1


# --- what older versions left


def old_part(records: list[Record]) -> bytes:
    """A part as version 1 of the table: columns of what its rows have, their types by their values."""
    keep = {"key", "generation", "status", "attempts", "reference_sha256", "committed_at", "video", "record"}
    names = {f"result_{name}" for name in keep} | {"result_sanity_luma"}
    shown = [{n: value for n, value in as_row(r, "/gone").items() if n in names} | r.inputs for r in records]
    columns = dict.fromkeys(name for row in shown for name in row)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in shown]), sink)
    return sink.getvalue()


def test_parts_of_version_1_are_read_and_then_written_anew(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path))
    old, new = [made(1, stars=3, tags=[1, 2]), made(2, stars=4)], [made(3, stars=0.5)]
    for record in (*old, *new):
        store.commit(record)
    part = old_part(old)
    assert "list" in str(pq.read_schema(io.BytesIO(part)).field("tags").type)
    store.folder.overwrite("results/part-20260101T000000-abc123.parquet", part)
    store.compact(new)
    assert [entry.id for entry in read_entries(part)] == ["s1", "s2"]
    assert list(read_records(part)) == old
    index = store.index()
    assert (len(index), index.loose, len(index.unlike)) == (3, (), 2)
    assert sorted(record.id for record in store.records()) == ["s1", "s2", "s3"]
    fresh = RunStore(str(tmp_path))
    fresh.expect(index, [], {})
    assert fresh.uneven
    fresh.tidy(index, unlike=True)
    assert fresh.index().unlike == frozenset()
    table = pl.scan_parquet(parts(store)).collect().sort("id")
    assert table["stars"].to_list() == [3.0, 4.0, 0.5]
    assert (table["tags"].to_list(), table["result_pair"].to_list()) == (["[1, 2]", None, None], ["toy"] * 3)


def test_records_from_before_there_were_facts_have_null(tmp_path: Path) -> None:
    data = {"schema_version": 1, "key": key(1), "id": "a", "status": "ok", "inputs": {"id": "a"}}
    row = as_row(Record.from_json(json.dumps(data)), "run")
    assert [row[f"result_{name}"] for name in ("width", "pair", "duration_s", "weights", "method")] == [
        None
    ] * 5


def test_steps_with_times_as_whole_numbers_are_read(tmp_path: Path) -> None:
    steps = [row | {"t": 999 - n, "t_next": 500, "teacher_start": None} for n in range(2)
             for row in Trace([StepTrace(n, 0, 0, active=True)]).rows()]  # fmt: skip
    old = written(pa.Table.from_pylist(steps))
    assert pq.read_schema(io.BytesIO(old)).field("t").type == pa.int64()
    new = written(steps_table(Trace([StepTrace(0, 999.5, 0.0, loss=2.0)]).rows(), key(2), "b"))
    table = pa.concat_tables([read_steps(old, key(1), "a"), read_steps(new, key(2), "b")])
    assert table.column("t").to_pylist() == [999.0, 998.0, 999.5]
    assert (table.column("id").to_pylist(), table.column("loss").to_pylist()) == (
        ["a", "a", "b"],
        [None, None, 2],
    )
    store = RunStore(str(tmp_path / "run"))
    for number, data in enumerate((old, new, b"torn")):
        (tmp_path / "blob").write_bytes(data)
        stats = store.put_blob(store.stats_uri(key(number), "1-a"), str(tmp_path / "blob"))
        store.commit(Record(**{**vars(made(number)), "stats": stats}))
    rows, problems = collect_steps(store, str(tmp_path / "steps.parquet"))
    assert (rows, [problem.split(":")[0] for problem in problems]) == (3, ["the steps of s2"])
    frame = pl.scan_parquet(f"{tmp_path}/steps.parquet").collect()
    assert (frame["active"].to_list(), frame["id"].to_list()) == ([True, True, False], ["s0", "s0", "s1"])
    with pytest.raises(UserError, match="--force"):
        collect_steps(store, str(tmp_path / "steps.parquet"))


# --- and as manifests


def test_a_table_is_the_manifest_of_its_rows(tmp_path: Path) -> None:
    """Bad rows stay bad although typed columns hold none of their cells; a cell that was edited counts."""
    table = tmp_path / "m.jsonl"
    rows: list[dict[str, Any]] = [
        {"id": "a", "reference": "a.mp4", "prompt": "x", "steps": 4, "layers": ["q", "k"], "tags": [1]},
        {"id": "b", "reference": "a.mp4", "prompt": "x", "seed": "many"},
    ]
    rows[0]["layers"] = [rows[0]["layers"]]  # a list of lists: a sweep of one
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    good, wrong = read_manifest(str(table))
    assert isinstance(good, Sample)
    assert isinstance(wrong, BadRow)
    records = [
        Record(key=key(1), id=good.id, status="ok", inputs=good.inputs()),
        bad(2, **{"steps": None, "fps": None} | wrong.inputs),
    ]
    results = tmp_path / "results.parquet"
    results.write_bytes(to_parquet([as_row(record, str(tmp_path)) for record in records]))
    assert pq.read_table(results).column("seed").to_pylist()[1] is None
    again, still = read_manifest(str(results))
    assert isinstance(again, Sample)
    assert (again.id, again.overrides, again.window) == (good.id, good.overrides, good.window)
    assert isinstance(still, BadRow)
    assert "many" in still.reason
    edited = pd.read_parquet(results)
    edited["seed"], edited["steps"] = 5, 8
    edited.to_parquet(results)
    assert [row.seed for row in read_manifest(str(results)) if isinstance(row, Sample)] == [5, 5]
