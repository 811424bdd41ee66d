"""Leftovers in a run's place: files of attempts that died, to which nothing refers; and clearing a run.

Rule: a blob is an orphan when no record names it and no driver is at work. One is at work while its last
word is younger than an hour and not "ended". Files are listed before records are read and before the driver
is asked for, so that one that starts meanwhile loses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from motionecho.errors import UserError
from motionecho.runs import layout
from motionecho.runs.store import RunStore

SILENT_S = 3600.0  # a driver leaves a word every 15 s; a store may be away for a while


@dataclass(frozen=True)
class Orphan:
    """A file that nothing refers to; `uri` within the run."""

    uri: str
    bytes: int


def orphans(store: RunStore) -> list[Orphan]:
    """List what can go; UserError while a driver is at work on the run."""
    listed = {folder: store.folder.sizes(folder) for folder in layout.FOLDERS}
    index = store.index()
    named = {blob.uri for record in store.records(index) for blob in (record.video, record.stats) if blob}
    refuse_while_running(store)
    found = []
    for folder, sizes in listed.items():
        for uri, size in sizes.items():
            unnamed = folder in layout.BLOBS and uri not in named
            stale = folder == layout.ATTEMPTS and layout.key_of(uri) in index
            if unnamed or stale or uri.rsplit("/", 1)[-1].startswith(".part-"):
                found.append(Orphan(uri, size))
    return sorted(found, key=lambda orphan: orphan.uri)


def remove(store: RunStore, found: list[Orphan]) -> None:
    store.folder.remove_all(orphan.uri for orphan in found)


def clear(store: RunStore) -> int:
    """Delete what a run has made, inverted references excepted; return the number of files that went.

    run.json goes last: a clearing that was cut short is a run that can be cleared again.
    """
    refuse_while_running(store)
    gone = 0
    for folder in layout.OUTCOMES:
        uris = store.folder.sizes(folder)
        store.folder.remove_all(uris)
        gone += len(uris)
    for uri in (layout.PROGRESS, layout.RUN):
        store.folder.remove_all([uri])
    return gone


def refuse_while_running(store: RunStore) -> None:
    """Raise UserError where a driver is at work, as far as its words tell."""
    word = store.progress() or {}
    silent = silent_for(word)
    if silent is not None and not word.get("ended") and silent < SILENT_S:
        raise UserError(
            f'a driver may be at work on "{store.url}": it spoke {silent:.0f} s ago and has not ended; wait '
            "for it, stop it, or submit again and let it finish"
        )


def silent_for(word: Mapping[str, Any]) -> float | None:
    """Return seconds since the driver's last word; None where it has not spoken."""
    moment = word.get("at")
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds() if moment else None
