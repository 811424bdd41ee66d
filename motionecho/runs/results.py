"""Records compacted into parquet parts: a table people can query, and a fast index for resuming.

The records stay the truth. A part is a cache of them that can be deleted or damaged at any time. A row of it
counts while the record that it was made of is the sample's latest; the others are taken out by and by.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from sys import intern
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from motionecho.errors import Damaged
from motionecho.runs.records import OUTCOME_PREFIX, STATUSES, Record

INDEX_COLUMNS = ("key", "status", "reference_sha256", "reference_version", "generation")
KEYED = (f"{OUTCOME_PREFIX}key", f"{OUTCOME_PREFIX}generation")  # of a row: which record it is of
DAMAGED = "damaged"  # the status of a record that cannot be read


@dataclass(frozen=True, slots=True)
class Entry:
    """What planning needs to know of a sample that has a record: of its latest generation."""

    key: str
    id: str
    status: str  # of the record; "damaged" where it cannot be read
    reference: str = ""  # URI
    version: str | None = None  # the reference's version token when it was hashed
    sha256: str | None = None
    generation: int = 1

    @classmethod
    def of(cls, record: Record) -> "Entry":
        known = record.reference
        return cls(
            record.key,
            record.id,
            record.status,
            known.get("uri", ""),
            known.get("version"),
            known.get("sha256"),
            record.generation,
        )

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    @property
    def to_do(self) -> bool:
        """Tell whether the sample is to be made although there is a record."""
        return not (self.ok or self.failed)


@dataclass(frozen=True, eq=False)
class Index(Mapping[str, Entry]):
    """An entry for every sample that has a record when a run is looked at; read once, then handed on.

    `parts` are the keys whose latest record each results part holds, `loose` the records that no part holds
    yet, which is what a driver that died left behind. `outdated` are the parts with rows that count no more,
    or that cannot be read. `damaged` says in a sentence each which files are not what was written. What is
    written later is not in it.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    loose: tuple[Record, ...] = ()
    outdated: frozenset[str] = frozenset()
    damaged: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Entry:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def failed(self) -> set[str]:
        """Ids that failed and have not succeeded since, under another key (a mended row)."""
        return {e.id for e in self.values() if e.failed} - {e.id for e in self.values() if e.ok}

    def next_generation(self, key: str) -> int:
        """Return the generation of the record that a sample is to have next."""
        return self[key].generation + 1 if key in self else 1


def to_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return one parquet file of all rows; its columns are the union, in order of first appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _written(pa.table({name: _column([row.get(name) for row in rows]) for name in names}))


def read_entries(part: bytes) -> Iterator[Entry]:
    """Read only the index columns of a part; rows that never had a reference may have no column of it.

    Raises Damaged where it is not what was written.
    """
    columns = ["id", "reference", *(OUTCOME_PREFIX + name for name in INDEX_COLUMNS)]
    with _opened(part) as whole:
        wanted = [name for name in columns if name in whole.schema_arrow.names]
        table = whole.read(columns=wanted, use_threads=False)
        there = {name: table.column(name).to_pylist() for name in table.column_names}
        values = [there.get(name, [None] * len(table)) for name in columns]
    for name, reference, key, status, sha256, version, generation in zip(*values, strict=True):
        number = 1 if generation is None else generation
        if not isinstance(key, str) or status not in STATUSES or not isinstance(number, int):
            raise Damaged("it has a row without key, status or generation")
        told, sha256 = (None if each is None else intern(str(each)) for each in (version, sha256))
        yield Entry(key, str(name), intern(status), intern(str(reference or "")), told, sha256, number)


def read_records(part: bytes) -> Iterator[Record]:
    """Read the full records of a part, a batch at a time; raises Damaged like `read_entries`."""
    column = OUTCOME_PREFIX + "record"
    with _opened(part) as whole:
        for batch in whole.iter_batches(columns=[column], batch_size=256, use_threads=False):
            for text in batch.column(0).to_pylist():
                yield Record.from_json(text)


def read_rows(part: bytes, wanted: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Read KEYED of each row of a part and the columns whose name is `wanted`; Damaged as `read_entries`."""
    with _opened(part) as whole:
        names = [name for name in whole.schema_arrow.names if name in KEYED or wanted(name)]
        return list(whole.read(columns=names, use_threads=False).to_pylist())


def without_outdated(part: bytes, latest: Mapping[str, Entry]) -> bytes:
    """Return the part with those rows alone that are of the latest records, by `latest`."""
    rows = read_entries(part)
    keep = [row.key in latest and latest[row.key].generation == row.generation for row in rows]
    with _opened(part) as whole:
        return _written(whole.read(use_threads=False).filter(pa.array(keep, pa.bool_())))


# Arrow's threads outlive the call that they serve: one that gives memory of Python's back, or a file, while
# Python exits ends the process with an abort. So what is handed to Arrow is memory of its own.


def _written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


@contextmanager
def _opened(part: bytes) -> Iterator[pq.ParquetFile]:
    """Open a part that is in memory as a whole; raises Damaged where its bytes make no sense."""
    own = pa.BufferOutputStream()
    own.write(part)
    try:
        with pq.ParquetFile(pa.BufferReader(own.getvalue()), pre_buffer=False) as whole:
            yield whole
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as problem:  # of Arrow's C++, too
        raise Damaged(f"it is no results part: {problem}") from problem


def _column(values: list[Any]) -> pa.Array:
    """An array of the values' own type, or of their JSON text where that is mixed, or none of parquet's."""
    try:
        column = pa.array(values)
        if _storable(column.type):
            return column
    except (pa.ArrowException, OverflowError):
        pass
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def _storable(kind: pa.DataType) -> bool:
    """Tell whether parquet stores a type: a struct of no fields, at any depth, it does not."""
    fields = [kind.field(n) for n in range(kind.num_fields)]
    return not (pa.types.is_struct(kind) and not fields) and all(_storable(each.type) for each in fields)
