"""The columns that travel with the videos, and the caption among them."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from motionecho.errors import UserError, nearest
from motionecho.runs.records import OUTCOME_PREFIX
from motionecho.runs.schema import RECORD
from motionecho.runs.tables import TYPES

CAPTION, FILE_NAME = "caption", "file_name"
FILE = OUTCOME_PREFIX + "file"
ALWAYS = ("id", "prompt", OUTCOME_PREFIX + "key", OUTCOME_PREFIX + "reference_sha256")  # what leads back


def carried(table: pa.Table, columns: Sequence[str] | None, caption: str | None) -> pa.Table:
    """Return the columns that are handed on: all, or those named and ALWAYS; the caption behind them.

    `caption` is the column that captions come from; by default the manifest's own, or its prompt. Raises
    UserError where a column is not there.
    """
    source = column_named(
        table, caption or (CAPTION if CAPTION in table.column_names else "prompt"), "--caption"
    )
    texts = [None if text is None else text if isinstance(text, str) else json.dumps(plain(text))
             for text in table.column(source).to_pylist()]  # fmt: skip
    if columns is not None:
        wanted = {column_named(table, name, "--column") for name in columns} | {*ALWAYS}
        table = table.select([name for name in table.column_names if name in wanted])
    if CAPTION in table.column_names:
        table = table.drop_columns([CAPTION])
    return table.append_column(CAPTION, pa.array(texts, TYPES["string"]))


def column_named(table: pa.Table, name: str, option: str) -> str:
    """Return a column by its name or that without `result_`; UserError where there is none."""
    for each in (name, OUTCOME_PREFIX + name):
        if each in table.column_names:
            return each
    names = [each.removeprefix(OUTCOME_PREFIX) for each in table.column_names]
    raise UserError(
        f'{option}: there is no column "{name}"{nearest(name, names)}; docs/tables.md has them all'
    )


def wants_record(columns: Iterable[str] | None) -> bool:
    """Tell whether the record as JSON is to be carried: only where it is asked for by name."""
    return columns is not None and bool({RECORD.name, RECORD.name.removeprefix(OUTCOME_PREFIX)} & {*columns})


def plain(value: Any) -> Any:
    """Return a cell as JSON has it."""
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value


def with_files(table: pa.Table, files: Sequence[str]) -> pa.Table:
    """Give rows the names of their videos: `file_name`, as loaders want it, and `result_file`."""
    names = pa.array(files, TYPES["string"])
    if FILE in table.column_names:
        table = table.set_column(table.column_names.index(FILE), FILE, names)
    if FILE_NAME in table.column_names:  # a manifest may have one of its own
        table = table.drop_columns([FILE_NAME])
    return table.add_column(0, FILE_NAME, names)
