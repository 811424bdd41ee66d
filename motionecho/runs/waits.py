"""A word about what this process does, to whoever watches, and on what it waits, once that takes ten seconds.

The library says it without knowing to whom: a terminal has a line that moves, in a worker nobody listens.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
TELL_AFTER_S = 10.0
LOOK_EVERY_S = 1.0
Listener = Callable[[str], object]


@dataclass(frozen=True)
class Doing:
    """A thing that is being done, and how far: `done` of so many steps, or `bytes`; of 0 is not counted."""

    what: str
    done: int = 0
    of: int = 0
    bytes: bool = False


Watcher = Callable[[Doing], object]


@dataclass
class _Watch:
    """Everything that is waited for at this moment, and who is told."""

    listener: Listener | None = None
    watcher: Watcher | None = None
    waiting: dict[object, tuple[float, str]] = field(default_factory=dict)

    def look(self, ended: threading.Event) -> None:
        """Tell what takes long, each once, until the block that listens has ended."""
        told = set[str]()
        while not ended.wait(LOOK_EVERY_S):
            now, listener = time.monotonic(), self.listener
            for began, what in list(self.waiting.values()):
                if now - began >= TELL_AFTER_S and what not in told and listener is not None:
                    told.add(what)
                    listener(f"still waiting for {what}")


_watch = _Watch()


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Have `listener` called, from another thread, for waits of this process in the time of a block."""
    before, _watch.listener = _watch.listener, listener
    ended = threading.Event()
    if before is None:
        threading.Thread(target=_watch.look, args=(ended,), name="waits", daemon=True).start()
    try:
        yield
    finally:
        _watch.listener = before
        ended.set()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say that this block waits for something, which is told once where it takes long."""
    if _watch.listener is None:
        yield
        return
    key = object()
    _watch.waiting[key] = time.monotonic(), what
    try:
        yield
    finally:
        del _watch.waiting[key]


def said(sentence: str) -> None:
    """Say something to whoever listens, at once."""
    if _watch.listener is not None:
        _watch.listener(sentence)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Have `watcher` called with what this process does, as it goes on, in the time of a block."""
    before, _watch.watcher = _watch.watcher, watcher
    try:
        yield
    finally:
        _watch.watcher = before


def is_watched() -> bool:
    return _watch.watcher is not None


def doing(what: str, done: int = 0, of: int = 0, bytes: bool = False) -> None:
    """Say what is done now to whoever watches, with how far it is where that is counted."""
    if _watch.watcher is not None:
        _watch.watcher(Doing(what, done, of, bytes))


def counted(what: str, items: Collection[T]) -> Iterator[T]:
    """Yield `items` one after the other, and say before each how many are done."""
    for done, item in enumerate(items):
        doing(what, done, len(items))
        yield item
    doing(what, len(items), len(items))
