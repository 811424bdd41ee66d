"""A finished run as people hand it on: one folder of videos with readable names, or one table."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from motionecho.runs.folder import Folder
from motionecho.runs.keys import file_digest
from motionecho.runs.notes import Blob
from motionecho.runs.parallel import in_order
from motionecho.runs.records import OUTCOME_PREFIX, Record, as_row
from motionecho.runs.results import Entry, to_parquet
from motionecho.runs.store import RunStore

FILE = OUTCOME_PREFIX + "file"
COPIES = 8  # at a time


def collect_table(store: RunStore, path: str) -> int:
    """Write every record as one parquet table at `path` (a path or URL), whole; return the number of rows."""
    rows = [_row(record, store.url) for record in store.records()]
    folder, name = Folder.holding(path)
    folder.overwrite(name, to_parquet(rows))
    return len(rows)


def collect_folder(store: RunStore, folder: str) -> Iterator[tuple[str, bool]]:
    """Copy finished videos to `folder` as <id>.mp4, then write results.parquet; yield (name, copied).

    What is there already, whole, is not copied again, so that an interrupted collection continues.
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

    def copy(named: tuple[str, Blob]) -> tuple[str, bool]:
        name, video = named
        if _is_there(target, name, video):
            return name, False
        with store.fetch(video.uri) as local:
            target.put_whole(name, local)
        return name, True

    yield from in_order(copy, videos(), COPIES)
    target.overwrite("results.parquet", to_parquet(rows))


def readable_names(samples: Iterable[Entry]) -> dict[str, str]:
    """Give each key a file name: the sample's id, and a piece of the key where ids would collide."""
    ids = {each.key: re.sub(r"[^\w.=+-]+", "_", each.id).strip(".")[:100] or "sample" for each in samples}
    taken = Counter(name.lower() for name in ids.values())
    return {
        key: f"{name}.mp4" if taken[name.lower()] == 1 else f"{name}-{key[:8]}.mp4"
        for key, name in ids.items()
    }


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
