"""The finished samples of one or several runs as one table, and what copying has to know of each.

parts and loose records -> rows of `runs/schema.py`, later scores laid over -> Arrow table -> samples
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from motionecho.errors import UserError
from motionecho.metrics.headline import later_figures
from motionecho.runs import layout
from motionecho.runs.keys import digest
from motionecho.runs.layout import video_of
from motionecho.runs.records import OUTCOME_PREFIX, Record, absolute
from motionecho.runs.results import KEYED
from motionecho.runs.schema import GROUPS, RECORD
from motionecho.runs.state import look
from motionecho.runs.store import RunStore
from motionecho.runs.tables import as_row, column_of, kinds_of, more_of, schema_of, together

RUN, KEY, STATUS = (OUTCOME_PREFIX + name for name in ("run", "key", "status"))
BLOBS = tuple(OUTCOME_PREFIX + name for name in ("video", "preview", "stats", "motion"))
VIDEO, SHA256, BYTES = (OUTCOME_PREFIX + name for name in ("video_path", "video_sha256", "bytes"))
REFERENCE, WHEN = (OUTCOME_PREFIX + name for name in ("reference_sha256", "committed_at"))
OF_SCORES = "video"  # what it names are other files, and a loader gives its own videos that name
KEPT = {column.name for name in GROUPS if name != "Its scores" for column in GROUPS[name]}
BATCH = 1000  # rows that are held as Python values at a time


@dataclass(frozen=True)
class Picked:
    """A finished sample and its place in the table: `row`. `group` names its reference by content.

    `video` is relative to the run at `run`, and None where it is not a file of that run.
    """

    row: int
    run: str
    key: str
    id: str
    prompt: str
    group: str
    video: str | None
    sha256: str | None
    bytes: int
    when: str


def gather(stores: Sequence[RunStore], record: bool = False) -> pa.Table:
    """Return the rows of all samples that are done and counted, run by run in order of their keys.

    What a run's manifests had before and have no more is not counted. Figures taken later by `motionecho
    score RUN` count as the run's own. `record` keeps the record as JSON. Raises UserError where a place holds
    scores, and where no sample is done.
    """
    batches: list[tuple[list[pa.Array], dict[str, str], dict[str, str]]] = []
    for store in stores:
        if "scoring" in (store.run() or {}).get("identity", {}):
            raise UserError(f'"{store.url}" holds scores, not videos; name the run that they are of')
        done = _done(store, record)
        while rows := list(islice(done, BATCH)):
            more = more_of(rows)
            kinds = _columns(more, record)
            arrays = [column_of([row.get(name) for row in rows], kind) for name, kind in kinds.items()]
            batches.append((arrays, kinds, more))
    if not batches:
        places = ", ".join(f'"{store.url}"' for store in stores)
        raise UserError(f"no sample is done in {places}: motionecho batch status says what is left")
    more = together(*(its for _, _, its in batches))
    kinds = _columns(more, record)
    schema = schema_of(kinds, "results", more)
    table = pa.concat_tables(_alike(arrays, its, kinds, schema) for arrays, its, _ in batches)
    run = {store.url: number for number, store in enumerate(stores)}
    names = [
        (run[url], key) for url, key in zip(*(table.column(n).to_pylist() for n in (RUN, KEY)), strict=True)
    ]
    return table.take(sorted(range(len(table)), key=names.__getitem__))


def samples_of(table: pa.Table) -> list[Picked]:
    """List what copying has to know of every row, in order."""
    names = (RUN, KEY, "id", "prompt", REFERENCE, "reference", VIDEO, SHA256, BYTES, WHEN)
    columns = [table.column(name).to_pylist() for name in names]
    rows = zip(*columns, strict=True)
    return [
        Picked(row, run, key, str(id), str(prompt or ""), sha or digest(["reference", uri or id]),
               _inside(video), sha256, size or 0, str(when))
        for row, (run, key, id, prompt, sha, uri, video, sha256, size, when) in enumerate(rows)
    ]  # fmt: skip


def _columns(more: Mapping[str, str], record: bool) -> dict[str, str]:
    return {n: k for n, k in kinds_of(more).items() if n != OF_SCORES and (record or n != RECORD.name)}


def _alike(
    arrays: Sequence[pa.Array], its: Mapping[str, str], kinds: Mapping[str, str], schema: pa.Schema
) -> pa.Table:
    """Give a batch the columns that all have together."""
    there = dict(zip(its, arrays, strict=True))
    rows = len(arrays[0])
    columns = [
        there[name]
        if its.get(name) == kind
        else column_of(there[name].to_pylist() if name in there else [None] * rows, kind)
        for name, kind in kinds.items()
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _done(store: RunStore, record: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of samples that are done; parts of older versions may not tell a video's digest."""
    untold: dict[str, int] = {}
    index = store.index()
    counted = {entry.key for entry in look(store, index)[1]}
    later = later_figures(RunStore(store.scores_url), _is_figure)

    def whole(row: Mapping[str, Any]) -> dict[str, Any]:
        paths = {blob: row.get(f"{blob}_path") for blob in BLOBS}
        moved = {blob: absolute(store.url, path) for blob, path in paths.items() if path}
        return {**row, **later.get(video_of(str(row.get(VIDEO))), {}), **moved, RUN: store.url}

    for row in store.outcomes(index, lambda name: record or name != RECORD.name):
        if row.get(STATUS) != "ok" or row[KEY] not in counted:
            continue
        if row.get(SHA256) is None or row.get(VIDEO) is None:
            untold[row[KEYED[0]]] = row[KEYED[1]] or 1
        else:
            yield whole(row)
    for _, read in store.read(untold):
        if isinstance(read, Record) and read.ok:
            row = as_row(read, store.url)
            yield whole({name: value for name, value in row.items() if record or name != RECORD.name})


def _is_figure(name: str) -> bool:
    return name.startswith(OUTCOME_PREFIX) and name not in KEPT and name != RECORD.name


def _inside(path: str | None) -> str | None:
    """Return a file's path if it leads to a file of its run: records of strangers may name others."""
    return path if layout.is_own(path) else None
