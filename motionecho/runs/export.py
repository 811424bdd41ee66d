"""A finished run as people hand it on: one folder of videos with readable names, or one table."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motionecho.errors import BadSample
from motionecho.runs.folder import Folder
from motionecho.runs.keys import file_digest
from motionecho.runs.notes import Blob
from motionecho.runs.parallel import in_order
from motionecho.runs.records import OUTCOME_PREFIX, Record, as_row
from motionecho.runs.results import Entry, to_parquet
from motionecho.runs.store import RunStore

FILE = OUTCOME_PREFIX + "file"
COPIES = 8  # at a time
LONGEST = 200  # bytes of a file's name before its ending, and before what tells it from others


@dataclass(frozen=True)
class Collected:
    """A video of a collection: copied now or there before; left out, and why, where it is not whole."""

    name: str
    fresh: bool = False
    problem: str = ""


def collect_table(store: RunStore, path: str) -> int:
    """Write every record as one parquet table at `path` (a path or URL), whole; return the number of rows."""
    rows = [_row(record, store.url) for record in store.records()]
    folder, name = Folder.holding(path)
    folder.overwrite(name, to_parquet(rows))
    return len(rows)


def collect_folder(store: RunStore, folder: str) -> Iterator[Collected]:
    """Copy finished videos to `folder` as <id>.mp4, then write results.parquet.

    What is there already, whole, is not copied again, so that an interrupted collection continues. A video
    that is missing or not what its record says is left out, and nothing stays under its name.
    """
    target, index = Folder.at(folder), store.index()
    names = readable_names(entry for entry in index.values() if entry.ok)
    rows: list[dict[str, Any]] = []

    def videos() -> Iterator[tuple[str, Blob]]:
        for record in store.records(index):
            name = names.get(record.key) if record.video else None
            rows.append(_row(record, store.url) | {FILE: name})
            if name and record.video:
                yield name, record.video

    def copy(named: tuple[str, Blob]) -> Collected:
        name, video = named
        if _is_there(target, name, video):
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
        target.remove_all([name])
        return Collected(name, problem=problem)

    missing = set()
    for each in in_order(copy, videos(), COPIES):
        missing |= {each.name} if each.problem else set()
        yield each
    there = [row if row[FILE] not in missing else row | {FILE: None} for row in rows]
    target.overwrite("results.parquet", to_parquet(there))


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
    size = folder.size(name)
    if size is None or size != video.bytes:
        return False
    return not folder.is_local or file_digest(folder.absolute(name)) == video.sha256


def _row(record: Record, root: str) -> dict[str, Any]:
    row = as_row(record, root)
    del row[OUTCOME_PREFIX + "record"]  # for resuming; the columns say the same
    return row
