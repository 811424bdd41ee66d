"""Leftovers in a run's place: files of attempts that died, to which nothing refers; and clearing a run.

Deleting is done under a sweeper's lease (`leases.py`), so never beside a driver. A file goes if all looks
agree: no part names it, its own sample's record does not, there is no record of it that the listing did not
show, and it has not been changed for a while. Where the store tells no times nothing goes.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from motionecho.runs import layout
from motionecho.runs.folder import Listed
from motionecho.runs.leases import Lease, word_of
from motionecho.runs.parallel import in_order
from motionecho.runs.records import Record
from motionecho.runs.results import Index
from motionecho.runs.store import RunStore

DAY_S = 86400.0  # leases are kept for so long, since one tells more than it costs
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


def orphans(store: RunStore, young_s: float = layout.YOUNG_S) -> list[Orphan]:
    """List what can go, records before blobs, leaving alone what is younger than `young_s` seconds."""
    now = store.folder.clock(layout.PROGRESS)

    def old(folder: str, least_s: float = young_s) -> dict[str, Listed]:
        listed = store.folder.listed(folder)
        return {uri: file for uri, file in listed.items() if _age(file, now) >= least_s}

    listed = {uri: file for folder in layout.FOLDERS for uri, file in old(folder).items()}
    index = store.index()
    named, unread = set(), {key for key, entry in index.items() if entry.ok}
    for record in store.records(index):
        unread.discard(record.key)
        named |= {blob.uri for blob in record.blobs}
    found = {uri: file for uri, file in listed.items() if _unneeded(uri, index, named, unread)}
    keys = {layout.key_of(uri) for uri in found}
    unlisted = store.still_there({key: index.next_generation(key) for key in keys})
    named = _named_in_truth(store, index, keys)
    found = {u: file for u, file in found.items() if u not in named and layout.key_of(u) not in unlisted}
    refuse_beside_makers(store, found)
    needed = _words_needed(store)
    words = old(layout.PROGRESS, max(young_s, DAY_S))
    found |= {uri: file for uri, file in words.items() if uri not in needed}
    first = sorted(found, key=lambda uri: (not uri.startswith(layout.RECORDS), uri))
    return [Orphan(uri, found[uri].bytes) for uri in first]


def refuse_beside_makers(store: RunStore, uris: Iterable[str]) -> None:
    """Raise UserError where a driver at work made one of the files, whose lease a listing did not show."""
    now = store.folder.clock(layout.PROGRESS)
    lives = sorted({layout.life_of(uri) for uri in uris if uri.startswith((*layout.BLOBS, layout.ATTEMPTS))})
    for word in in_order(lambda life: word_of(store.folder, life, now), lives):
        if word is not None and word.live:
            raise word.refusal(store.url)


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
        sample = layout.sample_of(uri)
        return sample is not None and key in index and sample[1] < index[key].generation
    return folder == layout.ATTEMPTS and key in index


def _named_in_truth(store: RunStore, index: Index, keys: set[str]) -> set[str]:
    """Name the blobs of those samples by their records themselves, as a part may have an older one's row.

    That takes a person who deleted a record while two drivers were making its sample.
    """
    generations = {key: index[key].generation for key in sorted(keys) if key in index}
    records = [record for _, record in store.read(generations) if isinstance(record, Record)]
    return {blob.uri for record in records for blob in record.blobs}


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
        made = [list(store.folder.listed(folder)) for folder in layout.OUTCOMES]
        for uris in made:
            refuse_beside_makers(store, uris)
        gone = sum(remove(store, lease, uris) for uris in made)
        words = [uri for uri in store.folder.listed(layout.PROGRESS) if uri != layout.lease(lease.life)]
        remove(store, lease, [*words, layout.OLD_PROGRESS, layout.CANARY, layout.RUN])
        return gone
