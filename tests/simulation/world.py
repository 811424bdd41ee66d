"""A world in one thread: its clock, its processes, and the chance that rules them, all from one seed.

A process is real code in a greenlet. It gives way wherever it would wait in earnest (for the store, a worker,
a pause), and nowhere else; what runs next is drawn. So a seed is a history, and a history can be told again.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from greenlet import getcurrent, greenlet

TICK = 1e-6  # seconds below which two times are one: sums of them round
MOST_EVENTS = 60_000


class Killed(BaseException):
    """The end of a process that was killed: nothing that it still tries has an effect."""


class Violation(BaseException):
    """A promise that was broken in this history; no `except Exception` of the package may swallow it."""


@dataclass(eq=False)
class Process:
    """A process: one or more greenlets that die together. `asleep_until` stops them as a closed lid does."""

    name: str
    killed: bool = False
    asleep_until: float = 0.0
    ended: bool = False
    result: Any = None
    facts: dict[str, Any] = field(default_factory=dict)


class World:
    """A world at `now` seconds; `calm` ends all faults."""

    def __init__(self, seed: int) -> None:
        self.seed, self.chance, self.now = seed, random.Random(seed), 0.0
        self.calm = False
        self.order: Iterator[int] = count()
        self.agenda: list[tuple[float, int, Any, int]] = []
        self.ticket: dict[Any, int] = {}  # of each greenlet, the entry of the agenda that wakes it
        self.owner: dict[Any, Process] = {}
        self.hub = getcurrent()
        self.events = 0
        self.log: list[str] = []
        self.failure: BaseException | None = None

    # --- processes

    @property
    def process(self) -> Process | None:
        """The process that runs at this moment; None for the world's own doings."""
        return self.owner.get(getcurrent())

    def spawn(self, name: str, action: Callable[[], Any], after: float = 0.0) -> Process:
        process = Process(name)
        self.thread(process, action, after, last=True)
        return process

    def thread(
        self, process: Process, action: Callable[[], Any], after: float = 0.0, last: bool = False
    ) -> None:
        """Run an action as a part of a process, which has ended when its `last` part has."""

        def body() -> None:
            result: Any = "killed"
            try:
                if not process.killed:
                    result = action()
            except Killed:
                result = "killed"
            except Violation as problem:
                self.failure = self.failure or problem
            except Exception as problem:
                result = problem
            finally:
                self.owner.pop(getcurrent(), None)
            if last:
                process.ended, process.result = True, result
                self.tell(f"{process.name} ends: {type(result).__name__} {result}")

        made = greenlet(body, self.hub)
        self.owner[made] = process
        self._wake(made, after)

    def kill(self, process: Process) -> None:
        """End a process as kill -9 does: it unwinds without being able to do anything."""
        if process.ended or process.killed:
            return
        self.tell(f"{process.name} is killed")
        process.killed, process.asleep_until = True, 0.0
        for made, owner in list(self.owner.items()):
            if owner is process and made is not getcurrent():
                self._wake(made, 0.0)

    def pause(self, seconds: float, things: "list[Promise] | None" = None) -> None:
        """Wait, in a process: so many seconds, or until one of the `things` is there."""
        me = getcurrent()
        self.check()
        if me not in self.owner:
            raise Violation("only processes wait")
        for thing in things or ():
            thing.waiting.append(me)
        self._wake(me, seconds)
        self.hub.switch()
        self.check()

    def check(self) -> None:
        process = self.process
        if process is not None and process.killed:
            raise Killed

    def run(self, until: float) -> None:
        """Let things happen until a time, or until nothing is left to happen."""
        while self.agenda and self.failure is None:
            at, _, made, ticket = self.agenda[0]
            if at > until:
                break
            heapq.heappop(self.agenda)
            if self.ticket.get(made) != ticket or made.dead:
                continue
            owner = self.owner.get(made)
            if owner is not None and owner.asleep_until > at + TICK:
                self._wake(made, owner.asleep_until - self.now)
                continue
            self.now = max(self.now, at)
            self.events += 1
            if self.events > MOST_EVENTS:
                raise Violation(f"it does not end: {MOST_EVENTS} events, {self.now:.0f} s")
            made.switch()
        if self.failure is not None:
            raise self.failure
        self.now = max(self.now, min(until, self.agenda[0][0] if self.agenda else until))

    def close(self) -> None:
        """Let go of every greenlet that is left."""
        for process in set(self.owner.values()):
            process.killed = True
        for made in list(self.owner):
            if not made.dead:
                made.switch()

    def wake(self, made: Any) -> None:
        if made in self.owner:
            self._wake(made, 0.0)

    def _wake(self, made: Any, after: float) -> None:
        number = next(self.order)
        self.ticket[made] = number
        heapq.heappush(self.agenda, (self.now + after, number, made, number))

    # --- chance, and what is told of it

    def happens(self, share: float) -> bool:
        """Tell whether a thing of that probability happens now; no fault does once it is calm."""
        return not self.calm and share > 0 and self.chance.random() < share

    def tell(self, line: str) -> None:
        self.log.append(f"{self.now:9.1f} {line}")


class Promise:
    """A thing that is to come: a value, or an exception."""

    def __init__(self, world: World) -> None:
        self.world, self.waiting = world, list[Any]()
        self.done, self.value, self.error = False, None, None

    def keep(self, value: Any = None, error: BaseException | None = None) -> None:
        if self.done:
            return
        self.done, self.value, self.error = True, value, error
        for made in self.waiting:
            self.world.wake(made)


class Lock:
    """What modules have under the name `Lock`: who waits for it lets others go on."""

    def __init__(self, world: World) -> None:
        self.world, self.free = world, Promise(world)
        self.free.keep()

    def __enter__(self) -> None:
        while not self.free.done:
            self.world.pause(5.0, [self.free])
        self.free = Promise(self.world)

    def __exit__(self, *problem: object) -> None:
        self.free.keep()


class Clock:
    """What modules have under the name `time`, in this world."""

    CLOCK_BOOTTIME = 7

    def __init__(self, world: World) -> None:
        self.world = world

    def monotonic(self) -> float:
        return self.world.now

    perf_counter = monotonic

    def clock_gettime(self, number: int) -> float:
        return self.world.now

    def time(self) -> float:
        return self.world.now + 1e6

    def strftime(self, form: str) -> str:
        return f"T{self.world.now:09.1f}"

    def sleep(self, seconds: float) -> None:
        self.world.pause(seconds)
