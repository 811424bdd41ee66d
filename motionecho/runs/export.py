"""A finished run as people hand it on: one folder of videos with readable names, or one table."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from motionecho.errors import BadSample, Damaged, UserError
from motionecho.runs.folder import Folder
from motionecho.runs.keys import file_digest
from motionecho.runs.notes import Blob
from motionecho.runs.parallel import in_order
from motionecho.runs.places import Place
from motionecho.runs.records import OUTCOME_PREFIX, Record
from motionecho.runs.results import Entry, read_steps
from motionecho.runs.sealed import read_object
from motionecho.runs.store import RunStore
from motionecho.runs.tables import as_row, steps_table, to_parquet, written

FILE = OUTCOME_PREFIX + "file"
TABLE = "results.parquet"
BEFORE = "before"  # in the note, the table that this one replaces
NOTE = ".collected.json"  # beside it, on whose it is: what is as it was put there may be written over
COPIES = 8  # at a time
LONGEST = 200  # bytes of a file's name before its ending, and before what tells it from others


@dataclass(frozen=True)
class Collected:
    """A video of a collection: copied now or there before; left out, and why, where it is not whole."""

    name: str
    fresh: bool = False
    problem: str = ""


def collect_table(store: RunStore, path: str, force: bool = False) -> int:
    """Write every record as one parquet table at `path` (a path or URL), whole; return the number of rows.

    Raises UserError where a file is there already, unless `force` says to write over it.
    """
    folder, name = _free(path, force)
    rows = [as_row(record, store.url) for record in store.records()]
    folder.overwrite(name, to_parquet(rows))
    return len(rows)


def collect_steps(store: RunStore, path: str, force: bool = False) -> tuple[int, list[str]]:
    """Write the stats of all videos as one table of steps at `path`, whatever version wrote them.

    Returns the number of rows, and a sentence for each video whose stats are missing or damaged. Raises
    UserError as `collect_table`.
    """
    folder, name = _free(path, force)

    def read(record: Record) -> pa.Table | str:
        try:
            assert record.stats  # those that have none are left out
            with store.fetch(record.stats.uri) as local:
                return read_steps(Path(local).read_bytes(), record.key, record.id)
        except (BadSample, Damaged, OSError) as problem:
            return f"the steps of {record.id}: {problem}"

    made = [record for record in store.records() if record.stats]
    found = list(in_order(read, made, COPIES))
    table = pa.concat_tables(
        [steps_table([], "", ""), *(each for each in found if not isinstance(each, str))]
    )
    folder.overwrite(name, written(table))
    return len(table), [each for each in found if isinstance(each, str)]


def _free(path: str, force: bool) -> tuple[Folder, str]:
    """Return the folder of a file that is to be written, and its name there; UserError where it exists."""
    folder, name = Folder.holding(path)
    if not force and folder.exists(name):
        raise UserError(
            f'"{Place(path)}" is there already: name another file, or add --force to write over it'
        )
    return folder, name


def collect_folder(store: RunStore, folder: str, force: bool = False) -> Iterator[Collected]:
    """Copy finished videos to `folder` as <id>.mp4, then write results.parquet.

    What is there already, whole, is not copied again, so that an interrupted collection continues. A video
    that is missing or not what its record says is left out, and nothing stays under its name. A file that no
    collection of this run put there is never touched: UserError, before anything is written, where one is
    in the way, unless `force` says to write over it.
    """
    target, index = Folder.at(folder), store.index()
    names = readable_names(entry for entry in index.values() if entry.ok)
    rows: list[dict[str, Any]] = []
    videos: dict[str, Blob] = {}
    for record in store.records(index):
        name = names.get(record.key) if record.video else None
        rows.append(as_row(record, store.url) | {FILE: name})
        if name and record.video:
            videos[name] = record.video

    there = target.listed(deep=False)
    known = [name for name in videos if name in there]
    whole = dict(zip(known, in_order(lambda n: _is_there(target, n, videos[n]), known, COPIES), strict=True))
    if not force:
        _refuse_foreign(
            store, target, [n for n in known if not whole[n]] + [n for n in (TABLE,) if n in there]
        )

    def copy(name: str) -> Collected:
        video = videos[name]
        if whole.get(name):
            return Collected(name)
        try:
            with store.fetch(video.uri) as local:
                data = Path(local).read_bytes()  # what is hashed is what is written
        except (BadSample, OSError) as problem:  # not there, or on a disk that cannot read it
            return left_out(name, str(problem))
        if video.sha256 not in (None, hashlib.sha256(data).hexdigest()):
            return left_out(name, f'"{store.absolute(video.uri)}" is not what its record says')
        target.overwrite(name, data)
        return Collected(name, fresh=True)

    def left_out(name: str, problem: str) -> Collected:
        if name in there:
            target.remove_all([name])
        return Collected(name, problem=problem)

    missing = set()
    for each in in_order(copy, videos, COPIES):
        missing |= {each.name} if each.problem else set()
        yield each
    data = to_parquet([row if row[FILE] not in missing else row | {FILE: None} for row in rows])
    digests = {TABLE: hashlib.sha256(data).hexdigest(), BEFORE: _put_there(store, target).get(TABLE)}
    note = {"schema_version": 1, "run": store.url} | digests
    target.overwrite(NOTE, json.dumps(note).encode())  # first, of both tables: whichever is there is ours
    target.overwrite(TABLE, data)


def _refuse_foreign(store: RunStore, target: Folder, names: list[str]) -> None:
    """Raise UserError where one of the files was not put there by a collection of this run."""
    put = _put_there(store, target) if names else {}
    foreign = [name for name in names if put.get(name) != hashlib.sha256(target.read(name)).hexdigest()]
    if foreign:
        more = f" ({len(foreign)} such files)" if len(foreign) > 1 else ""
        raise UserError(
            f'"{target.absolute(foreign[0])}" is there already, and not as a collection of this run left it'
            f"{more}: name another folder, or add --force to write over it"
        )


def _put_there(store: RunStore, target: Folder) -> dict[str, str]:
    """Map the files of the collection before to their digests, by its table; none where that was edited."""
    try:
        note, data = read_object(target.read(NOTE)), target.read(TABLE)
    except (FileNotFoundError, Damaged):
        return {}
    whole = hashlib.sha256(data).hexdigest()
    if note.get("run") != store.url or whole not in (note.get(TABLE), note.get(BEFORE)):
        return {}
    table = pq.read_table(pa.BufferReader(data), columns=[FILE, OUTCOME_PREFIX + "video_sha256"])
    files, digests = (column.to_pylist() for column in table.columns)
    return {TABLE: whole} | dict(zip(files, digests, strict=True))


def readable_names(samples: Iterable[Entry]) -> dict[str, str]:
    """Give each key a file name: the sample's id, and a piece of the key where ids would collide."""
    ids = {each.key: _file_name(each.id) for each in samples}
    taken = Counter(name.lower() for name in ids.values())
    return {
        key: f"{name}.mp4" if taken[name.lower()] == 1 else f"{name}-{key[:8]}.mp4"
        for key, name in ids.items()
    }


def _file_name(text: str) -> str:
    """Return what every file system takes of a text: names have 255 bytes at most, whatever the script."""
    name = re.sub(r"[^\w.=+-]+", "_", text).strip(".").encode()[:LONGEST].decode(errors="ignore")
    return name or "sample"


def _is_there(folder: Folder, name: str, video: Blob) -> bool:
    """Tell whether the file is whole; a remote one is judged by its size, since hashing would fetch it."""
    found = folder.look(name)
    if found is None or found.bytes != video.bytes:
        return False
    return not folder.is_local or file_digest(folder.absolute(name)) == video.sha256
