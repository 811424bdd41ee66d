"""Leftovers in a run's place: files of attempts that died, to which nothing refers; and clearing a run.

Deleting is done under a sweeper's lease (`leases.py`), so never beside a driver. A file goes if three looks
agree: no record of the listing names it, its own sample has no record that the listing did not show, and it
has not been changed for a while. Where the store tells no times nothing goes.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from motionecho.runs import layout
from motionecho.runs.folder import Listed
from motionecho.runs.leases import Lease
from motionecho.runs.results import Index
from motionecho.runs.store import RunStore

YOUNG_S = 3600.0  # younger files are left alone: whoever wrote them may not have a lease yet
BATCH = 500  # files between two looks at the lease


@dataclass(frozen=True)
class Orphan:
    """A file that nothing refers to; `uri` within the run."""

    uri: str
    bytes: int


@contextmanager
def sweeping(store: RunStore) -> Iterator[Lease]:
    """Hold the place alone for the time of a block; UserError, naming it, where a driver is at work."""
    lease = store.take_lease("sweeper")
    try:
        yield lease
    finally:
        lease.end({})


def orphans(store: RunStore, young_s: float = YOUNG_S) -> list[Orphan]:
    """List what can go, records before blobs, leaving alone what is younger than `young_s` seconds."""
    now = store.folder.clock(layout.PROGRESS)

    def old(folder: str) -> dict[str, Listed]:
        listed = store.folder.listed(folder)
        return {uri: file for uri, file in listed.items() if _age(file, now) >= young_s}

    listed = {uri: file for folder in layout.FOLDERS for uri, file in old(folder).items()}
    index = store.index()
    named, unread = set(), {key for key, entry in index.items() if entry.ok}
    for record in store.records(index):
        unread.discard(record.key)
        named |= {blob.uri for blob in (record.video, record.stats) if blob}
    found = {uri: file for uri, file in listed.items() if _unneeded(uri, index, named, unread)}
    keys = {layout.key_of(uri) for uri in found}
    unlisted = store.still_there({key: index.next_generation(key) for key in keys})
    found = {uri: file for uri, file in found.items() if layout.key_of(uri) not in unlisted}
    needed = _words_needed(store)
    found |= {uri: file for uri, file in old(layout.PROGRESS).items() if uri not in needed}
    first = sorted(found, key=lambda uri: (not uri.startswith(layout.RECORDS), uri))
    return [Orphan(uri, found[uri].bytes) for uri in first]


def _unneeded(uri: str, index: Index, named: set[str], unread: set[str]) -> bool:
    """Tell whether no record has to do with a file: of a blob none names it, an attempt or record is history.

    Where a sample's latest record cannot be read, or is void, all that bears the sample's key stays.
    """
    folder, name, key = uri.partition("/")[0], uri.rsplit("/", 1)[-1], layout.key_of(uri)
    if name.startswith((".part-", ".clock-")):
        return True
    if key in unread or (key in index and index[key].to_do):
        return False
    if folder in layout.BLOBS:
        return uri not in named
    if folder == layout.RECORDS:
        return key in index and 0 < layout.generation_of(uri) < index[key].generation
    return folder == layout.ATTEMPTS and key in index


def _words_needed(store: RunStore) -> set[str]:
    """Name the leases that hold or are the last to speak of a manifest, and the lists of rows they name."""
    words = store.words(store.folder.clock(layout.PROGRESS))
    last = {source.manifest: word for word in words for source in word.sources}
    kept = [word for word in words if word.live or word in last.values()]
    return {layout.lease(w.life) for w in kept} | {layout.rows(s.rows) for w in kept for s in w.sources}


def _age(file: Listed, now: float | None) -> float:
    """Return seconds since a file was changed, -1 where the store tells no times: then nothing is old."""
    return -1.0 if file.changed is None or now is None else max(0.0, now - file.changed)


def remove(store: RunStore, lease: Lease, uris: Iterable[str]) -> int:
    """Delete files of the run while the lease holds; return how many. Raises Transient where it was lost."""
    left = list(uris)
    for start in range(0, len(left), BATCH):
        lease.check()
        store.folder.remove_all(left[start : start + BATCH])
    return len(left)


def clear(store: RunStore) -> int:
    """Delete what a run has made, inverted references excepted; return the number of files that went.

    run.json goes last: a clearing that was cut short is a run that can be cleared again.
    """
    with sweeping(store) as lease:
        gone = sum(remove(store, lease, store.folder.listed(folder)) for folder in layout.OUTCOMES)
        mine = layout.lease(lease.life)
        words = [uri for uri in store.folder.listed(layout.PROGRESS) if uri != mine]
        remove(store, lease, [*words, layout.OLD_PROGRESS, layout.RUN])
        return gone
