"""How far a run is: its records, which are the truth, counted against the rows that its drivers name."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from motionecho.runs import layout
from motionecho.runs.files import HURRIED_S
from motionecho.runs.forgotten import forgotten
from motionecho.runs.leases import LEASE_S, Submitted, Word
from motionecho.runs.results import Entry, Index
from motionecho.runs.store import RunStore


@dataclass(frozen=True)
class State:
    """A run at one moment; `total` counts the distinct rows of all its manifests, None where none is known.

    drivers: the last words of those at work or, where none is, of the one heard last. silent_s: seconds since
    any of them was heard. damaged: sentences on files of the run that cannot be read.
    """

    run: str
    total: int | None
    done: int
    failed: int
    finished: bool
    ended: bool
    silent_s: float | None
    drivers: tuple[Mapping[str, Any], ...]
    manifests: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def eta_s(self) -> float | None:
        """Return the longest time that a driver at work expects to take."""
        return max((word["eta_s"] for word in self.drivers if word.get("eta_s")), default=None)


def state_of(store: RunStore, index: Index | None = None) -> State:
    """Count a run's records, by an index where one was just made, and add up what its drivers said."""
    return look(store, store.index() if index is None else index)[0]


def look(store: RunStore, index: Index) -> tuple[State, list[Entry]]:
    """Count what an index of the run holds; return the state, and the entries counted as done or failed.

    A driver that asks for it by its own store is done, and counts as ended.
    """
    own = store.lease.life if store.lease else None
    words = [word for word in _words(store) if word.role == "driver"]
    sources = latest_sources(words)
    named = {manifest: store.rows(source.rows) for manifest, source in sources.items()}
    lost = [sources[manifest] for manifest, rows in named.items() if rows is None]
    rows = frozenset[str]().union(*(rows or () for rows in named.values())) - forgotten(store).keys
    counted = bool(rows) and not lost
    if counted:
        entries = [index[key] for key in rows if key in index and not index[key].to_do]
    else:  # a failed one does not count once its id has succeeded, as a mended row
        unmended = index.failed
        failures = {entry.id: entry for entry in index.values() if entry.failed and entry.id in unmended}
        entries = [*(entry for entry in index.values() if entry.ok), *failures.values()]
    done = sum(entry.ok for entry in entries)
    failed = len(entries) - done
    total: int | None = len(rows)
    if not counted:  # a driver of version 0.1, and one whose rows are lost, says no more than a number
        said = [word.says["total"] for word in words if "total" in word.says]
        about = len(rows) + sum(source.total for source in lost) if lost else said[-1] if said else None
        total = None if about is None else max(about, done + failed)
    live = [word for word in words if word.live and word.life != own]
    heard = live or words[-1:]
    state = State(
        run=store.url,
        total=total,
        done=done,
        failed=failed,
        finished=total is not None and done + failed >= total and not live,
        ended=bool(words) and not live,
        silent_s=min((max(0.0, round(word.age, 1)) for word in heard if word.age is not None), default=None),
        drivers=tuple(word.says for word in heard),
        manifests=tuple(sources),
        damaged=(
            *index.damaged,
            *(_unread(store, word) for word in live if not word.says and not word.is_ahead),
            *(_ahead(store, word) for word in live if word.is_ahead),
            *(f"the rows of {source.manifest} are not known any more: submit it again" for source in lost),
        ),
    )
    return state, entries


def _unread(store: RunStore, word: Word) -> str:
    return (
        f"{store.absolute(word.uri)} cannot be read: it counts as a driver at work until it has "
        f"not changed for {LEASE_S / 60:.0f} minutes"
    )


def _ahead(store: RunStore, word: Word) -> str:
    return f"{store.absolute(word.uri)} is of a time to come: if no such driver is at work, delete it"


def _words(store: RunStore) -> list[Word]:
    """Return the words of all, with ages where they matter: while one has not ended.

    Those are by the store's clock, or by this machine's where nothing can be written.
    """
    words = store.words()
    if all(word.ended for word in words):
        return words
    try:
        return store.words(store.folder.within(HURRIED_S).clock(layout.PROGRESS))
    except Exception:  # whoever only looks may have no leave to write
        return store.words(time.time())


def latest_sources(words: list[Word]) -> dict[str, Submitted]:
    """Map every manifest that was submitted to what the latest of its drivers says of it."""
    return {source.manifest: source for word in words for source in word.sources}
