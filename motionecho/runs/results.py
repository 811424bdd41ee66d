"""Records compacted into parquet parts: a table people can query, and a fast index for resuming.

The records stay the truth. A part is a cache of them that can be deleted at any time; a part never names a
record that was replaced, because `RunStore.forget` takes rows out before their samples run again.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, eq=False)
class Index(Mapping[str, Entry]):
    """An entry for every sample that a run held when it was looked at; read once, then handed on.

    `parts` are the keys that each results part names, `loose` the records that no part names yet, which is
    what a driver that died left behind. What is written later is not in it.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    loose: tuple[Record, ...] = ()

    def __getitem__(self, key: str) -> Entry:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def failed(self) -> set[str]:
        """Ids that failed and have not succeeded since, under another key (a mended row)."""
        return {e.id for e in self.values() if not e.ok} - {e.id for e in self.values() if e.ok}

    @property
    def deleted(self) -> set[str]:
        """Keys that a part names and no record has: someone deleted the record."""
        return {key for keys in self.parts.values() for key in keys if key not in self.entries}


def to_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return one parquet file of all rows; its columns are the union, in order of first appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_entries(fs: AbstractFileSystem, part: str) -> Iterator[Entry]:
    """Read only the index columns of one part; rows that never had a reference may have no column of it."""
    columns = ["id", "reference", *(OUTCOME_PREFIX + name for name in INDEX_COLUMNS)]
    whole = _opened(fs, part)
    wanted = [name for name in columns if name in whole.schema_arrow.names]
    table = whole.read(columns=wanted, use_threads=False)
    there = {name: table.column(name).to_pylist() for name in table.column_names}
    values = [there.get(name, [None] * len(table)) for name in columns]
    for name, reference, key, status, sha256, version in zip(*values, strict=True):
        yield Entry(key, name, status == "ok", reference or "", version, sha256)


def read_records(fs: AbstractFileSystem, part: str) -> Iterator[Record]:
    """Read the full records of one part, a batch at a time."""
    column = OUTCOME_PREFIX + "record"
    for batch in _opened(fs, part).iter_batches(columns=[column], batch_size=256, use_threads=False):
        for text in batch.column(0).to_pylist():
            yield Record.from_json(text)


def without(fs: AbstractFileSystem, part: str, keys: Iterable[str]) -> bytes | None:
    """Return the part less the rows of `keys`, or None where none of them is in it."""
    drop, name = set(keys), OUTCOME_PREFIX + "key"
    table = _opened(fs, part).read(use_threads=False)
    keep = [key not in drop for key in table.column(name).to_pylist()]
    if all(keep):
        return None
    sink = io.BytesIO()
    pq.write_table(table.filter(pa.array(keep, pa.bool_())), sink, compression="zstd")
    return sink.getvalue()


def _opened(fs: AbstractFileSystem, part: str) -> pq.ParquetFile:
    """Open a part that is in memory as a whole.

    A thread of Arrow's that holds a buffer of Python's while Python exits ends the process with an abort.
    """
    return pq.ParquetFile(pa.BufferReader(fs.cat_file(part)))


def _column(values: list[Any]) -> pa.Array:
    """An array of the values' own type, or of their JSON text where the types of a free column are mixed."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array(
            [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        )
