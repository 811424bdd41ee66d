"""Raw rows out of and into parquet, CSV and JSON lines: a dict, or a sentence that says why there is none."""

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from sys import intern
from typing import Any, TextIO

from motionecho.errors import BadSample, Transient, UserError
from motionecho.manifest.columns import ALIASES, OPTIONAL, REQUIRED
from motionecho.runs.files import HURRIED_S, fetch, open_url, patiently
from motionecho.runs.folder import Folder
from motionecho.runs.places import Place
from motionecho.runs.records import OUTCOME_PREFIX
from motionecho.runs.urls import WEB, protocol_of, told

BAD = (f"{OUTCOME_PREFIX}error_class", f"{OUTCOME_PREFIX}record")  # of a results table
RawRow = dict[str, Any] | str
TABLES = (".parquet", ".csv", ".jsonl", ".ndjson")
HIDDEN = re.compile(r"(^|/)[._]")  # _SUCCESS, .crc: beside the parts of a table
PARTITION = re.compile(r"([^/=]+)=([^/]*)/")  # folders that say a column's value
DELIMITERS = (",", ";", "\t", "|")
MARKED = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


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
    path, rows = Place(path), list[RawRow]()
    try:
        for part, partition in _parts(path):
            read = readers[_suffix(part)]
            with fetch(part, HURRIED_S) as local:
                rows += ({**partition, **row} if isinstance(row, dict) else row for row in read(local))
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


def _parts(path: Place) -> list[tuple[Place, dict[str, str]]]:
    """List the files of a table, one or a folder of them as Spark writes it, with what their folders say."""
    if protocol_of(path.full) not in WEB:
        fs, inside = open_url(path)
        if patiently(lambda: fs.isdir(inside), HURRIED_S):
            names = [name for name in Folder.at(path, HURRIED_S).find() if not HIDDEN.search(name)]
            suffixes = {suffix for name in names if (suffix := os.path.splitext(name)[1].lower()) in TABLES}
            if len(suffixes) != 1:
                what = f"parts of several kinds ({', '.join(sorted(suffixes))})" if suffixes else "no part"
                raise UserError(
                    f'the folder "{path}" holds {what}: name one table, or a folder of {TABLES[0]}'
                )
            parts = [name for name in names if name.lower().endswith(tuple(suffixes))]
            return [(path.within(name), dict(PARTITION.findall(name))) for name in parts]
    return [(path, {})]


def _suffix(path: Place) -> str:
    suffix = os.path.splitext(path.name)[1].lower()
    if suffix not in TABLES:
        raise UserError(f'manifest "{path}" has to end in .parquet, .csv or .jsonl')
    return suffix


def _bytes(rows: Sequence[dict[str, Any]], suffix: str) -> bytes:
    if suffix == ".parquet":
        import pyarrow as pa

        from motionecho.runs.tables import written

        names = dict.fromkeys(name for row in rows for name in row)
        return written(pa.table({name: _column([row.get(name) for row in rows]) for name in names}))
    if suffix != ".csv":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    for row in rows:
        cells = {n: json.dumps(v) if isinstance(v, list | dict) else v for n, v in row.items()}
        writer.writerow(cells)
    return sink.getvalue().encode()


def _column(values: list[Any]) -> Any:
    """Return an array of the values' own type, or of their JSON text where it is mixed or none of parquet's.

    A list in a cell of a manifest is a sweep, and stays one.
    """
    import pyarrow as pa

    def storable(kind: pa.DataType) -> bool:  # a struct of no fields is not, at any depth
        fields = [kind.field(n) for n in range(kind.num_fields)]
        return not (pa.types.is_struct(kind) and not fields) and all(storable(each.type) for each in fields)

    try:
        column = pa.array(values)
        if storable(column.type):
            return column
    except (pa.ArrowException, OverflowError):
        pass
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def _parquet(path: str, outcomes: bool) -> Iterator[RawRow]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        names = table.schema_arrow.names
        _refuse_repeated(names)
        wanted = [name for name in names if outcomes or not name.startswith(OUTCOME_PREFIX)]
        read = list(dict.fromkeys([*wanted, *(BAD if {*BAD} <= {*names} else ())]))
        for batch in table.iter_batches(columns=read, use_threads=False):
            for row in batch.to_pylist():
                if row.get(BAD[0]) == "BadRow":  # a typed column holds no cell that is of another type
                    row |= {n: v for n, v in _inputs(row[BAD[1]]).items() if row.get(n) is None}
                yield row if outcomes else {n: v for n, v in row.items() if n not in BAD}


def _inputs(record: str | None) -> dict[str, Any]:
    """Return a bad row as its manifest had it, out of the record; nothing where that cannot be read."""
    with suppress(ValueError, TypeError, LookupError, RecursionError):
        found = json.loads(record or "{}")["inputs"]
        return found if isinstance(found, dict) else {}
    return {}


def _csv(path: str) -> Iterator[RawRow]:
    csv.field_size_limit(1 << 30)  # a long cell is its row's matter
    with _opened(path) as stream:
        first = stream.readline()
        stream.seek(0)
        reader = csv.DictReader(stream, delimiter=_delimiter(first), strict=True)
        try:
            _refuse_repeated(reader.fieldnames or [])
            for row in reader:
                long, short = None in row, None in row.values()
                yield f"it has {'more' if long else 'fewer'} cells than the header" if long or short else row
        except csv.Error as problem:
            raise ValueError(f"line {reader.line_num} is no CSV: {problem}") from problem


def _delimiter(header: str) -> str:
    """Tell what stands between cells: what parts the header into columns that are known; else a comma."""
    known = {*REQUIRED, *OPTIONAL, *ALIASES}
    counts = {mark: len({cell.strip(' "\r\n') for cell in header.split(mark)} & known) for mark in DELIMITERS}
    return max(DELIMITERS, key=lambda mark: counts[mark])


def _jsonl(path: str) -> Iterator[RawRow]:
    decode = json.JSONDecoder(object_pairs_hook=_mapping).decode
    with _opened(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = decode(line)
            except RecursionError:
                row = "it is nested too deep"
            except _Repeated as problem:
                raise ValueError(f"line {number}: {problem}") from problem
            except ValueError as problem:
                row = f"it is not JSON: {problem}"
            yield row if isinstance(row, dict | str) else "it is not a JSON object"


def _opened(path: str) -> TextIO:
    """Open a text file; bytes that are not UTF-8 are left for their row to refuse."""
    with open(path, "rb") as stream:
        start = stream.read(2)
    if start in MARKED:
        raise ValueError(f"it is {MARKED[start]}, and UTF-8 is read: save it as UTF-8")
    return open(path, newline="", encoding="utf-8-sig", errors="surrogateescape")


class _Repeated(ValueError):
    """Two keys or columns of one name, of which either may be meant."""


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = {intern(name): value for name, value in pairs}  # a million rows name them once
    if len(found) < len(pairs):
        _refuse_repeated([name for name, _ in pairs])
    return found


def _refuse_repeated(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise _Repeated(f"{repeated!r} appears twice: keep one of them")
