"""Ctrl-C twice: the first drains, the second kills. A scheduler's SIGTERM counts as one."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

WATCHED = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Signals:
    """The number of signals that have come."""

    seen: int = 0


@contextmanager
def drained_by_signals(drain: Callable[[], None], kill: Callable[[], None]) -> Iterator[Signals]:
    """Call `drain` at the first signal of the block, `kill` at the second; a third acts as usual.

    Outside the main thread, where Python allows no handlers, signals keep their meaning.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.getsignal(number) for number in WATCHED}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def receive(number: int, frame: Any) -> None:
        signals.seen += 1
        if signals.seen == 1:
            drain()
        else:
            kill()
            restore()

    for number in WATCHED:
        signal.signal(number, receive)
    try:
        yield signals
    finally:
        restore()
