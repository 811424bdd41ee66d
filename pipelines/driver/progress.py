"""The word on how a run is going: to the caller several times a second, to its lease every so often."""

import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from motionecho.runs.leases import Lease
from motionecho.runs.notes import now
from motionecho.runs.store import RunStore
from pipelines.execution import Progress
from pipelines.plan import Plan
from pipelines.tasks import Tally

if TYPE_CHECKING:
    from pipelines.driver.loop import Loop

TELL_EVERY_S = 0.25
NOTE_EVERY_S = 15.0
RATE_WINDOW = 50  # commits the rate is taken over
PATIENT_FOR_S = 30.0  # before a missing worker is worth a word


class Reporter:
    """A reporter of the loop's state as Progress, which holds the driver's lease and ends it.

    Failing to note it in the store never disturbs the run; a store that holds the run no more ends it.
    """

    def __init__(
        self, plan: Plan, store: RunStore, lease: Lease, on_event: Callable[[Progress], None]
    ) -> None:
        self.plan, self.store, self.lease, self.on_event = plan, store, lease, on_event
        self.alarm: str | None = None
        self.began = time.monotonic()
        self.marks: deque[tuple[float, int]] = deque([(self.began, 0)], maxlen=RATE_WINDOW)
        self.told = self.noted = float("-inf")
        self.latest = self._progress(Tally())
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="progress")
        self.writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self._note(ended=True)
        self.writer.shutdown(wait=True)

    def tell(self, loop: "Loop") -> bool:
        """Report the loop's state; False where that was done a moment ago."""
        at = time.monotonic()
        finished = loop.tally.committed + loop.tally.failed
        if finished > self.marks[-1][1]:
            self.marks.append((at, finished))
        if at - self.told < TELL_EVERY_S:
            return False
        self.told = at
        if self.alarm and not loop.draining:
            loop.drain(self.alarm)
        running = tuple(f"{s.job.task.payload.id} ({at - s.began:.0f} s)" for s in loop.running())
        pools = {pool.spec.name: (len(pool.busy()), len(pool.seats)) for pool in loop.pools}
        message = _message(loop, at - self.began)
        self.latest = self._progress(loop.tally, running, pools, message, _hosts(loop))
        self.on_event(self.latest)
        if at - self.noted > NOTE_EVERY_S:
            self.noted = at
            self._note(ended=False)
        return True

    def end(self, tally: Tally) -> None:
        self.latest = self._progress(tally, message=self.latest.message)
        self.on_event(self.latest)

    def say(self, message: str) -> None:
        self.latest = Progress(**{**self.latest.__dict__, "message": message})
        self.on_event(self.latest)

    def _progress(
        self,
        tally: Tally,
        running: tuple[str, ...] = (),
        pools: dict[str, tuple[int, int]] | None = None,
        message: str | None = None,
        hosts: dict[str, tuple[int, int]] | None = None,
    ) -> Progress:
        plan = self.plan
        (first, count), (last, latest) = self.marks[0], self.marks[-1]
        rate = 60 * (latest - count) / (last - first) if last > first else 0.0
        left = plan.todo - tally.committed - tally.failed
        return Progress(
            total=plan.rows,
            done=plan.done + tally.committed,
            failed=plan.failed_before + len(plan.bad) + tally.failed,
            running=running,
            rate=round(rate, 2),
            eta_s=round(60 * left / rate, 1) if rate else None,
            last=tally.last,
            pools=pools or {},
            hosts=hosts or {},
            failures=dict(tally.failures) | dict(Counter(row.kind for row in plan.bad)),
            put_off=dict(tally.put_off),
            message=message,
        )

    def _note(self, ended: bool) -> None:
        if self.writing is not None and not self.writing.done() and not ended:
            return  # a slow store: the next word will do, but for the last
        words = {"at": now()} | asdict(self.latest)
        self.writing = self.writer.submit(self._speak, words, ended)

    def _speak(self, words: dict[str, Any], ended: bool) -> None:
        if self.store.run() is None:  # nothing is written where it has been deleted
            self.alarm = f"{self.store.url} was deleted or moved while the run went on"
        else:
            self.lease.say(words, ended)


def _hosts(loop: "Loop") -> dict[str, tuple[int, int]]:
    """Count the busy and the living workers of each machine and device."""
    found: dict[str, tuple[int, int]] = {}
    for seat in (seat for pool in loop.pools for seat in pool.seats):
        if seat.where:
            name = f"{seat.where.name} ({seat.where.computes_on or 'no models'})"
            busy, alive = found.get(name, (0, 0))
            found[name] = busy + (seat.job is not None), alive + 1
    return found


def _message(loop: "Loop", seconds: float) -> str | None:
    if loop.draining:
        return loop.stopped or f"finishing {len(loop.running())} under way; Ctrl-C again gives them up"
    for pool in loop.pools:
        if pool.misstarts and not any(seat.where for seat in pool.seats):
            return "a worker did not start, trying again"
        if pool.retired:
            return f"{len(pool.retired)} retired: {pool.retired[-1]}"
    if loop.nodes.aside:
        return "; ".join(loop.nodes.aside.values())
    waiting = [job for _, _, job in loop.later if job.waits]
    if waiting:
        first = f'"{waiting[0].task.payload.id}": {waiting[0].waits}'
        return f"{len(waiting)} to be tried again in a while; {first}"
    if seconds > PATIENT_FOR_S and not any(seat.here for pool in loop.pools for seat in pool.seats):
        spec = next((pool.spec for pool in loop.pools if pool.seats), loop.pools[0].spec)
        wanted = [f"{n:g} {kind}" for n, kind in ((spec.num_cpus, "CPU"), (spec.num_gpus, "GPU")) if n]
        return f"waiting for the cluster to give {' and '.join(wanted)} to a worker"
    return loop.tally.message
