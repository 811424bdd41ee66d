"""A run's records, or the steps of its videos, as one table."""

import json
import zlib
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from motionecho.errors import BadSample, Damaged, UserError
from motionecho.runs.folder import Folder
from motionecho.runs.parallel import in_order
from motionecho.runs.places import Place
from motionecho.runs.records import Record
from motionecho.runs.results import read_steps
from motionecho.runs.store import RunStore, refuse_within
from motionecho.runs.tables import (
    as_row,
    column_of,
    kinds_of,
    more_of,
    results_schema,
    steps_table,
    together,
    written,
)

READS = 8  # at a time
BATCH = 1000  # rows that are held as Python values at a time


def collect_table(store: RunStore, path: str, force: bool = False) -> int:
    """Write every record as one parquet table at `path` (a path or URL), whole; return the number of rows.

    Raises UserError where a file is there already, unless `force` says to write over it.
    """
    folder, name = _free(store, path, force)
    records, number = store.records(), 0
    more: dict[str, str] = {}
    held: list[bytes] = []  # rows, compressed: the last one may still bring a column for all
    while rows := [as_row(record, store.url) for record in islice(records, BATCH)]:
        number += len(rows)
        more = together(more, more_of(rows))
        held.append(zlib.compress(json.dumps(rows).encode(), level=1))
    kinds, schema = kinds_of(more), results_schema(more)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as table:
        for data in held:
            rows = json.loads(zlib.decompress(data))
            arrays = [column_of([row.get(column) for row in rows], kind) for column, kind in kinds.items()]
            table.write_table(pa.Table.from_arrays(arrays, schema=schema))
    folder.overwrite(name, bytes(sink.getvalue().to_pybytes()))
    return number


def collect_steps(store: RunStore, path: str, force: bool = False) -> tuple[int, list[str]]:
    """Write the stats of all videos as one table of steps at `path`, whatever version wrote them.

    Returns the number of rows, and a sentence for each video whose stats are missing or damaged. Raises
    UserError as `collect_table`.
    """
    folder, name = _free(store, path, force)

    def read(record: Record) -> pa.Table | str:
        try:
            assert record.stats  # those that have none are left out
            with store.fetch(record.stats.uri) as local:
                return read_steps(Path(local).read_bytes(), record.key, record.id)
        except (BadSample, Damaged, OSError) as problem:
            return f"the steps of {record.id}: {problem}"

    made = (record for record in store.records() if record.stats)
    found = list(in_order(read, made, READS))
    table = pa.concat_tables(
        [steps_table([], "", ""), *(each for each in found if not isinstance(each, str))]
    )
    folder.overwrite(name, written(table))
    return len(table), [each for each in found if isinstance(each, str)]


def _free(store: RunStore, path: str, force: bool) -> tuple[Folder, str]:
    """Return the folder of a file that is to be written, and its name there; UserError if it is not free."""
    refuse_within([store], path)
    folder, name = Folder.holding(path)
    if not force and folder.exists(name):
        raise UserError(
            f'"{Place(path)}" is there already: name another file, or add --force to write over it'
        )
    return folder, name
