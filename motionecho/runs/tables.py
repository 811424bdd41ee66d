"""Rows to parquet by a declaration: every file of a table has the same columns, whatever its rows hold.

Behind the declared columns are those that only some runs have. Their kind is joined over all rows of a run:

    null < bool < string        int53 < int64 < string        int53 < float64 < string

A whole number up to 2^53 (int53) is exact as float64, so that it may stand in a column with others; a larger
one stands beside a float as text, as does whatever is mixed otherwise. Lists and mappings are JSON text.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from motionecho.config import EchoConfig
from motionecho.runs.records import OUTCOME_PREFIX, Record
from motionecho.runs.schema import FILES, KINDS, RECORD, RESULTS, SAMPLE, STEPS, VERSION, Kind

TYPES = {
    "null": pa.string(), "string": pa.string(), "bool": pa.bool_(), "int53": pa.int64(), "int64": pa.int64(),
    "float64": pa.float64(), "timestamp": pa.timestamp("us", tz="UTC"),
}  # fmt: skip
NULLABLE = {"bool": ("bool", "boolean"), "int53": ("int64", "Int64"), "int64": ("int64", "Int64")}  # pandas'
EXACT, LARGEST = 2**53, 2**63
META = b"motionecho"  # in a file's metadata: {"table", "schema_version", "more": kinds by name}
DECLARED = frozenset(column.name for column in (*RESULTS, RECORD))

# A manifest's settings have columns behind the declared ones; a row's mistake leaves its cell null.
SETTINGS: dict[str, Kind] = {
    each["name"]: KINDS.get(type(each["default"]), "string") for each in EchoConfig.describe()
} | {"teacher_fraction": "float64"}

More = Mapping[str, str]  # kinds of the columns behind the declared ones, by name


def as_row(record: Record, root: str) -> dict[str, Any]:
    """Make a row of the results table: the input columns, then `result_*`; URIs absolute under `root`.

    What it leaves out is null; what is not declared is in it as well.
    """
    outcome = {column.name: column.value(record, root) for column in (*SAMPLE, *FILES)}
    for metric, values in record.scores.items():
        outcome |= values  # figures bear their metric's prefix already
        outcome[f"{metric}_version"] = record.metrics.get(metric, {}).get("version")
    for metric, reason in record.skipped.items():
        outcome[f"{metric}_skipped"] = reason
    for name, value in record.trace.items():
        if isinstance(value, dict):
            outcome |= {f"trace_{name}_{inner}": number for inner, number in value.items()}
        else:
            outcome[f"trace_{name}"] = value
    outcome |= {f"seconds_{stage}": value for stage, value in record.seconds.items()}
    row = {name: ",".join(map(str, value)) if name in SETTINGS and isinstance(value, list) else value
           for name, value in record.inputs.items()}  # fmt: skip
    row |= {OUTCOME_PREFIX + name: value for name, value in outcome.items()}
    return row | {RECORD.name: record.to_json(indent=None)}


def kind_of(value: Any) -> str:
    """Return the least kind of column that holds a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int53" if abs(value) <= EXACT else "int64" if -LARGEST <= value < LARGEST else "string"
    return "float64" if isinstance(value, float) else "string"


def joined(one: str, other: str) -> str:
    """Return the least kind of column that holds what two others do."""
    if one == other:
        return one
    kinds = {one, other}
    if "null" in kinds:
        return next(kind for kind in kinds if kind != "null")
    if kinds <= {"int53", "int64", "float64"} and "int53" in kinds:
        return next(kind for kind in kinds if kind != "int53")
    return "string"


def together(*found: More) -> dict[str, str]:
    """Join the kinds of several files or tables."""
    kinds: dict[str, str] = {}
    for more in found:
        for name, kind in more.items():
            kinds[name] = joined(kinds.get(name, kind), kind)
    return kinds


def more_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the columns of rows that are not declared, with their kinds."""
    found: dict[str, str] = {}
    for row in rows:
        for name in row.keys() - DECLARED:
            kind = SETTINGS.get(name) or kind_of(row[name])
            if kind in ("int53", "int64") and name.startswith(OUTCOME_PREFIX):
                kind = "float64"  # a metric of others: in the next run it may be a fraction
            before = found.setdefault(name, kind)
            if before != kind:
                found[name] = joined(before, kind)
    return found


def kinds_of(more: More) -> dict[str, str]:
    """Return the columns of a results table in order, with their kinds; the record is the last."""
    behind = sorted(more, key=lambda name: (name.startswith(OUTCOME_PREFIX), name))
    return {each.name: each.kind for each in RESULTS} | {n: more[n] for n in behind} | {RECORD.name: "string"}


def schema_of(kinds: Mapping[str, str], table: str, more: More) -> pa.Schema:
    """Return the Arrow schema of a table.

    Its metadata has pandas make integers and truths with nulls what they are, and not floats and objects.
    """
    words = {"table": table, "schema_version": VERSION, "more": dict(sorted(more.items()))}
    columns = [
        {"name": name, "field_name": name, "pandas_type": known[0], "numpy_type": known[1], "metadata": None}
        for name, kind in kinds.items()
        if (known := NULLABLE.get(kind))
    ]
    maker = {"library": "pyarrow", "version": pa.__version__}
    pandas = {"index_columns": [], "column_indexes": [], "columns": columns, "creator": maker}
    metadata = {META: json.dumps(words).encode(), b"pandas": json.dumps(pandas).encode()}
    return pa.schema([(name, TYPES[kind]) for name, kind in kinds.items()], metadata)


def results_schema(more: More) -> pa.Schema:
    """Return the Arrow schema of a results table with these columns behind the declared ones."""
    return schema_of(kinds_of(more), "results", more)


def to_parquet(rows: Sequence[Mapping[str, Any]], more: More | None = None) -> bytes:
    """Return one parquet file of rows as `as_row` makes them; `more` are columns it has in any case."""
    more = together(more or {}, more_of(rows))
    kinds = kinds_of(more)
    arrays = [column_of([row.get(name) for row in rows], kind) for name, kind in kinds.items()]
    return written(pa.Table.from_arrays(arrays, schema=results_schema(more)))


def steps_table(steps: Sequence[Mapping[str, Any]], key: str, id: str) -> pa.Table:
    """Return a table of the steps of one sample, whichever version took them down."""
    whose = {"key": key, "id": id, "schema_version": VERSION}
    kinds, steps = {column.name: column.kind for column in STEPS}, [{**step, **whose} for step in steps]
    arrays = [column_of([step.get(name) for step in steps], kind) for name, kind in kinds.items()]
    return pa.Table.from_arrays(arrays, schema=schema_of(kinds, "stats", {}))


def column_of(values: Sequence[Any], kind: str) -> pa.Array:
    """Return values as a column of a kind; what it cannot hold is null."""
    arrow = TYPES[kind]
    if kind != "timestamp":
        try:
            return pa.array(values, arrow)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            pass
    return pa.array([fitted(value, kind) for value in values], arrow)


def fitted(value: Any, kind: str) -> Any:
    """Return a value as a column of a kind holds it; None where it cannot."""
    if value is None or kind == "bool":
        return value if isinstance(value, bool) else None
    if kind in ("null", "string"):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        if kind == "timestamp":
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(value, str):  # a bad row's cells are as its table had them
            value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
        number = None if isinstance(value, bool) else value
        if number is None or not math.isfinite(number):
            return None
        if kind == "float64":
            return float(number)
        return int(number) if number == int(number) and -LARGEST <= number < LARGEST else None
    except (ValueError, TypeError, OverflowError):
        return None


# Arrow's threads outlive the call that they serve: one that gives memory of Python's back, or a file, while
# Python exits ends the process with an abort. So what is handed to Arrow is memory of its own.


def written(table: pa.Table) -> bytes:
    """Return a parquet file of a table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
