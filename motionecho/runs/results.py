"""Records compacted into parquet parts: a table people can query, and a fast index for resuming.

The records stay the truth. A part is a cache of them that can be deleted or damaged at any time. A row of it
counts while the record that it was made of is the sample's latest; the others are taken out by and by.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from motionecho.errors import Damaged
from motionecho.runs.records import OUTCOME_PREFIX, STATUSES, Record
from motionecho.runs.schema import RECORD
from motionecho.runs.tables import (
    DECLARED,
    META,
    More,
    as_row,
    column_of,
    kinds_of,
    more_of,
    results_schema,
    steps_table,
    to_parquet,
    written,
)

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
    or that cannot be read, `unlike` those whose columns are not today's or not those of the other parts;
    `more` are the columns that any part has behind the declared ones. `damaged` says in a sentence each which
    files are not what was written. What is written later is not in it.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    loose: tuple[Record, ...] = ()
    outdated: frozenset[str] = frozenset()
    unlike: frozenset[str] = frozenset()
    more: More = field(default_factory=dict)
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


def read_entries(part: bytes) -> Iterator[Entry]:
    """Read only the index columns of a part; rows that never had a reference may have no column of it.

    Raises Damaged where it is not what was written.
    """
    columns = ["id", "reference", *(OUTCOME_PREFIX + name for name in INDEX_COLUMNS)]
    with _opened(part) as whole:
        names = {*whole.schema_arrow.names}
        wanted = [name for name in columns if name in names]
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
    with _opened(part) as whole:
        for batch in whole.iter_batches(columns=[RECORD.name], batch_size=256, use_threads=False):
            for text in batch.column(0).to_pylist():
                yield Record.from_json(text)


def read_rows(part: bytes, wanted: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Read KEYED of each row of a part and the columns whose name is `wanted`; Damaged as `read_entries`."""
    with _opened(part) as whole:
        names = [name for name in whole.schema_arrow.names if name in KEYED or wanted(name)]
        rows = whole.read(columns=names, use_threads=False).to_pylist()
    return [{name: _as_recorded(value) for name, value in row.items()} for row in rows]


def _as_recorded(value: Any) -> Any:
    """Return a cell as `as_row` has it: parts have moments where records have text."""
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value


def shape_of(part: bytes) -> tuple[dict[str, str], bool]:
    """Return the columns that a part has behind the declared ones, and whether it is of today's schema.

    Raises Damaged like `read_entries`.
    """
    with _opened(part) as whole:
        schema = whole.schema_arrow
        words = json.loads((schema.metadata or {}).get(META, b"{}"))
        if schema.equals(results_schema(more := words.get("more", {}))):
            return more, True
        names = [name for name in schema.names if name not in DECLARED]
        return more_of(whole.read(columns=names, use_threads=False).to_pylist()), False


def renewed(part: bytes, keep: Collection[str], latest: Mapping[str, Entry], more: More, root: str) -> bytes:
    """Return the part under today's schema, with `more` behind: of `keep`, those rows that are the latest."""
    rows = read_entries(part)
    kept = [row.key in keep and latest[row.key].generation == row.generation for row in rows]
    its, current = shape_of(part)
    if not current:
        records = [record for record, stays in zip(read_records(part), kept, strict=True) if stays]
        return to_parquet([as_row(record, root) for record in records], more)
    schema = results_schema(more)
    with _opened(part) as whole:
        table = whole.read(use_threads=False).filter(pa.array(kept, pa.bool_()))
    columns = [
        table.column(name)
        if name in table.column_names and its.get(name) == more.get(name)
        else column_of(table.column(name).to_pylist() if name in its else [None] * len(table), kind)
        for name, kind in kinds_of(more).items()
    ]
    return written(pa.Table.from_arrays(columns, schema=schema))


def read_steps(part: bytes, key: str, id: str) -> pa.Table:
    """Read the stats of a sample as today's table, whatever version wrote them; raises Damaged."""
    with _opened(part) as whole:
        return steps_table(whole.read(use_threads=False).to_pylist(), key, id)


@contextmanager
def _opened(part: bytes) -> Iterator[pq.ParquetFile]:
    """Open a part that is in memory as a whole; raises Damaged where its bytes make no sense."""
    own = pa.BufferOutputStream()
    own.write(part)
    try:
        with pq.ParquetFile(pa.BufferReader(own.getvalue()), pre_buffer=False) as whole:
            yield whole
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as problem:  # of Arrow's C++, too
        raise Damaged(f"it is no table as one is written here: {problem}") from problem
