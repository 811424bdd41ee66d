"""Records compacted into parquet parts: a table people can query, and a fast index for resuming.

The records stay the truth. A part is a cache of them that can be deleted at any time; a part never names a
record that was replaced, because `RunStore.forget` takes rows out before their samples run again.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from motionecho.runs.records import OUTCOME_PREFIX, Record

INDEX_COLUMNS = ("key", "status", "reference_sha256", "reference_version")


@dataclass(frozen=True, slots=True)
class Entry:
    """What planning needs to know of a finished sample."""

    key: str
    id: str
    ok: bool
    reference: str  # URI
    version: str | None  # the reference's version token when it was hashed
    sha256: str | None

    @classmethod
    def of(cls, record: Record) -> "Entry":
        known = record.reference
        return cls(
            record.key, record.id, record.ok, known.get("uri", ""), known.get("version"), known.get("sha256")
        )


def to_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return one parquet file of all rows; its columns are the union, in order of first appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_entries(fs: AbstractFileSystem, part: str) -> Iterator[Entry]:
    """Read only the index columns of one part."""
    columns = ["id", "reference", *(OUTCOME_PREFIX + name for name in INDEX_COLUMNS)]
    with fs.open(part, "rb") as stream:
        table = pq.read_table(stream, columns=columns)
    values = [table.column(name).to_pylist() for name in columns]
    for name, reference, key, status, sha256, version in zip(*values, strict=True):
        yield Entry(key, name, status == "ok", reference or "", version, sha256)


def read_records(fs: AbstractFileSystem, part: str) -> Iterator[Record]:
    """Read the full records of one part, a batch at a time."""
    with fs.open(part, "rb") as stream:
        for batch in pq.ParquetFile(stream).iter_batches(columns=[OUTCOME_PREFIX + "record"], batch_size=256):
            for text in batch.column(0).to_pylist():
                yield Record.from_json(text)


def without(fs: AbstractFileSystem, part: str, keys: Iterable[str]) -> bytes | None:
    """Return the part less the rows of `keys`, or None where none of them is in it."""
    with fs.open(part, "rb") as stream:
        table = pq.read_table(stream)
    drop = set(keys)
    keep = [key not in drop for key in table.column(OUTCOME_PREFIX + "key").to_pylist()]
    if all(keep):
        return None
    sink = io.BytesIO()
    pq.write_table(table.filter(pa.array(keep, pa.bool_())), sink, compression="zstd")
    return sink.getvalue()


def _column(values: list[Any]) -> pa.Array:
    """An array of the values' own type, or of their JSON text where the types of a free column are mixed."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array(
            [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        )
