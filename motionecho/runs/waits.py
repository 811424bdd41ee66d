"""A word about what keeps this process waiting: once it has taken ten seconds, to whoever listens."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TELL_AFTER_S = 10.0
LOOK_EVERY_S = 1.0
Listener = Callable[[str], object]


@dataclass
class _Watch:
    """Everything that is waited for at this moment, and what has been said of it."""

    listener: Listener | None = None
    waiting: dict[object, tuple[float, str]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    thread: threading.Thread | None = None

    def look(self) -> None:
        while self.listener is not None:
            now = time.monotonic()
            for began, what in list(self.waiting.values()):
                if now - began >= TELL_AFTER_S and what not in self.told:
                    self.told.add(what)
                    self.listener(f"still waiting for {what}")
            time.sleep(LOOK_EVERY_S)


_watch = _Watch()


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Have `listener` called, from another thread, for waits of this process in the time of a block."""
    before, _watch.listener = _watch.listener, listener
    if before is None:
        _watch.thread = threading.Thread(target=_watch.look, name="waits", daemon=True)
        _watch.thread.start()
    try:
        yield
    finally:
        _watch.listener = before


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
