"""A finished run as people hand it on: one folder of videos with readable names, or one table."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from motionecho.runs import files
from motionecho.runs.keys import file_digest
from motionecho.runs.records import OUTCOME_PREFIX, Record, as_row
from motionecho.runs.results import to_parquet
from motionecho.runs.store import RunStore

FILE = OUTCOME_PREFIX + "file"


def collect_table(store: RunStore, path: str, extra: dict[str, str] | None = None) -> int:
    """Write every record as one parquet table at `path` (a path or URL), whole; return the number of rows."""
    rows = [_row(record, store.url, extra or {}) for record in store.records()]
    files.overwrite(*files.open_url(path), to_parquet(rows))
    return len(rows)


def collect_folder(store: RunStore, folder: str) -> Iterator[tuple[str, bool]]:
    """Copy finished videos to `folder` as <id>.mp4, then write results.parquet; yield (name, copied).

    What is there already, whole, is not copied again, so that an interrupted collection continues.
    """
    names = readable_names(record for record in store.records() if record.ok and record.video)
    for record in store.records():
        if record.key not in names or record.video is None:
            continue
        name = names[record.key]
        fs, path = files.open_url(f"{folder.rstrip('/')}/{name}")
        there = _is_there(fs, path, record.video)
        if not there:
            with store.fetch(record.video["uri"]) as local:
                files.put_whole(fs, path, local)
        yield name, not there
    collect_table(store, f"{folder.rstrip('/')}/results.parquet", names)


def readable_names(records: Iterable[Record]) -> dict[str, str]:
    """A file name for each key: the sample's id, and a piece of the key where ids would collide."""
    ids = {
        record.key: re.sub(r"[^\w.=+-]+", "_", record.id).strip(".")[:100] or "sample" for record in records
    }
    taken = Counter(name.lower() for name in ids.values())
    return {
        key: f"{name}.mp4" if taken[name.lower()] == 1 else f"{name}-{key[:8]}.mp4"
        for key, name in ids.items()
    }


def _is_there(fs: Any, path: str, video: dict[str, Any]) -> bool:
    """True where the file is whole; a remote one is judged by its size, since hashing would fetch it."""
    try:
        size = fs.info(path)["size"]
    except FileNotFoundError:
        return False
    return bool(size == video["bytes"] and (not files.is_local(fs) or file_digest(path) == video["sha256"]))


def _row(record: Record, root: str, names: dict[str, str]) -> dict[str, Any]:
    row = as_row(record, root)
    del row[OUTCOME_PREFIX + "record"]  # for resuming; the columns say the same
    return row | ({FILE: names.get(record.key)} if names else {})
