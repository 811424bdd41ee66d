"""What a run's place holds that nothing refers to: leftovers of attempts that died, and how to clear a run.

Rule: a blob is an orphan when no record names it and no driver is at work. One is at work while its last
word is younger than an hour and not "ended". Files are listed before records are read and before the driver
is asked for, so that one that starts meanwhile loses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from motionecho.errors import UserError
from motionecho.runs import files
from motionecho.runs.store import RunStore

SILENT_S = 3600.0  # a driver leaves a word every 15 s; a store may be away for a while
SWEPT = ("videos", "stats", "attempts", "records", "results", "motions", "report")
OUTCOMES = ("results", "attempts", "records", "videos", "stats", "report", "scores")  # in this order


@dataclass(frozen=True)
class Orphan:
    """A file that nothing refers to; `uri` within the run."""

    uri: str
    bytes: int


def orphans(store: RunStore) -> list[Orphan]:
    """List what can go; UserError while a driver is at work on the run."""
    listed = {folder: _sizes(store, folder) for folder in SWEPT}
    named, finished = set(), set()
    for record in store.records():
        finished.add(record.key)
        named |= {blob["uri"] for blob in (record.video, record.stats) if blob}
    finished |= store.keys()
    refuse_while_running(store)
    found = []
    for folder, sizes in listed.items():
        for uri, size in sizes.items():
            name = uri.rsplit("/", 1)[-1]
            unnamed = folder in ("videos", "stats") and uri not in named
            stale = folder == "attempts" and name.split("-")[0] in finished
            if unnamed or stale or name.startswith(".part-"):
                found.append(Orphan(uri, size))
    return sorted(found, key=lambda orphan: orphan.uri)


def remove(store: RunStore, found: list[Orphan]) -> None:
    files.remove_all(store.fs, [f"{store.root}/{orphan.uri}" for orphan in found], store.patience_s)


def clear(store: RunStore) -> int:
    """Delete what a run has made, inverted references excepted; return the number of files that went.

    run.json goes last: a clearing that was cut short is a run that can be cleared again.
    """
    refuse_while_running(store)
    gone = 0
    for folder in OUTCOMES:
        paths = [f"{store.root}/{uri}" for uri in _sizes(store, folder)]
        files.remove_all(store.fs, paths, store.patience_s)
        gone += len(paths)
    for name in ("progress.json", "run.json"):
        files.remove_all(store.fs, [f"{store.root}/{name}"], store.patience_s)
    return gone


def refuse_while_running(store: RunStore) -> None:
    """UserError where a driver is at work, as far as its words tell."""
    word = store.progress() or {}
    silent = silent_for(word)
    if silent is not None and not word.get("ended") and silent < SILENT_S:
        raise UserError(
            f'a driver may be at work on "{store.url}": it spoke {silent:.0f} s ago and has not ended; wait '
            "for it, stop it, or submit again and let it finish"
        )


def silent_for(word: Mapping[str, Any]) -> float | None:
    """Seconds since the driver's last word; None where it has not spoken."""
    moment = word.get("at")
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds() if moment else None


def _sizes(store: RunStore, folder: str) -> dict[str, int]:
    store.fs.invalidate_cache()
    found = files.patiently(lambda: store.fs.find(f"{store.root}/{folder}", detail=True), store.patience_s)
    return {path[len(store.root) + 1 :]: int(info.get("size") or 0) for path, info in found.items()}
