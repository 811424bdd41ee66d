"""Raw rows out of and into parquet, CSV and JSON lines: a dict, or a sentence that says why there is none."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from motionecho.errors import BadSample, Transient, UserError
from motionecho.runs.files import HURRIED_S, fetch
from motionecho.runs.folder import Folder
from motionecho.runs.places import Place, told
from motionecho.runs.records import OUTCOME_PREFIX

RawRow = dict[str, Any] | str
TABLES = (".parquet", ".csv", ".jsonl", ".ndjson")


def read_table(path: str, outcomes: bool = False) -> list[RawRow]:
    """Return all rows of a local or remote table; UserError where it cannot be read or is empty.

    Outcome columns of a results table are left out unless `outcomes` are asked for.
    """
    readers: dict[str, Callable[[str], Iterator[RawRow]]] = {
        ".parquet": partial(_parquet, outcomes=outcomes),
        ".csv": _csv,
        ".jsonl": _jsonl,
        ".ndjson": _jsonl,
    }
    path = Place(path)
    suffix = _suffix(path)
    try:
        with fetch(path, HURRIED_S) as local:
            rows = list(readers[suffix](local))
    except (BadSample, Transient) as problem:
        raise UserError(f"cannot read the manifest: {problem}") from problem
    except (OSError, ValueError, csv.Error) as problem:
        raise UserError(f'cannot read manifest "{path}": {problem}') from problem
    if not rows:
        raise UserError(f'manifest "{path}" has no rows')
    return rows


def write_table(path: str, rows: Sequence[dict[str, Any]], replace: bool = False) -> None:
    """Write rows to a local path or URL, whole; the suffix decides the format, as in reading.

    Raises UserError where the place cannot be written or, unless `replace`, holds something already.
    """
    path = Place(path)
    suffix = _suffix(path)
    folder, name = Folder.holding(path, HURRIED_S)
    try:
        if not replace and folder.exists(name):
            raise UserError(f'"{path}" exists already; --force writes over it')
        folder.overwrite(name, _bytes(rows, suffix))
    except UserError:
        raise
    except Exception as problem:  # whatever a remote driver raises
        raise UserError(f'cannot write "{path}": {told(str(problem))}') from problem


def _suffix(path: Place) -> str:
    suffix = os.path.splitext(path.name)[1].lower()
    if suffix not in TABLES:
        raise UserError(f'manifest "{path}" has to end in .parquet, .csv or .jsonl')
    return suffix


def _bytes(rows: Sequence[dict[str, Any]], suffix: str) -> bytes:
    if suffix == ".parquet":
        from motionecho.runs.results import to_parquet

        return to_parquet(rows)
    if suffix != ".csv":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    for row in rows:
        cells = {n: json.dumps(v) if isinstance(v, list | dict) else v for n, v in row.items()}
        writer.writerow(cells)
    return sink.getvalue().encode()


def _parquet(path: str, outcomes: bool) -> Iterator[RawRow]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        names = table.schema_arrow.names
        wanted = [name for name in names if outcomes or not name.startswith(OUTCOME_PREFIX)]
        for batch in table.iter_batches(columns=wanted, use_threads=False):
            yield from batch.to_pylist()


def _csv(path: str) -> Iterator[RawRow]:
    with open(path, newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        repeated = {name for name in reader.fieldnames or [] if (reader.fieldnames or []).count(name) > 1}
        if repeated:
            raise ValueError(f"column {sorted(repeated)[0]!r} appears twice")
        for row in reader:
            long, short = None in row, None in row.values()
            yield f"it has {'more' if long else 'fewer'} cells than the header" if long or short else row


def _jsonl(path: str) -> Iterator[RawRow]:
    with open(path, encoding="utf-8-sig") as stream:
        for line in stream:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as problem:
                row = f"it is not JSON: {problem}"
            yield row if isinstance(row, dict | str) else "it is not a JSON object"
