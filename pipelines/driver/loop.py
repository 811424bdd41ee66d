"""The one loop of a run: hand tasks to idle actors, judge what comes back, commit, until nothing is left.

Only this process decides: an attempt that failed is written down before the sample is tried again, and a
sample is finished when its record is in the store. Writes go through a few threads, so that a slow store
holds up neither the actors nor the watch over deadlines.
"""

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from textwrap import shorten
from typing import Any

import ray

from motionecho.runs.notes import ErrorNote, Host
from motionecho.runs.records import Record
from motionecho.runs.results import Entry
from motionecho.runs.store import RunStore
from pipelines.driver.nodes import Nodes, pause
from pipelines.driver.pool import Pool, Seat, result_of, too_late
from pipelines.driver.queue import Queue
from pipelines.execution import Execution
from pipelines.tasks import NO_ROOM, Failure, Job, Tally

GUARD_AFTER = 50  # samples before the failure rate means anything
COMPACT_EVERY = 1000  # commits between two results parts
NO_ROOM_AFTER = 3  # failures for want of room, with no success between them
WRITERS = 8
NO_ACTOR = ("WorkerDied", "NodeLost", "ActorUnavailable")  # failures that leave none behind


class Loop:
    """A loop that drives jobs through pools, first to last, and commits them. `run` ends when all is said."""

    def __init__(self, jobs: list[Job], pools: list[Pool], store: RunStore, execution: Execution,
                 make_record: Callable[[Job, ErrorNote | None], Record],
                 on_change: Callable[["Loop"], object]) -> None:  # fmt: skip
        self.pools, self.store, self.execution = pools, store, execution
        self.nodes = Nodes(execution.backoff_s)
        for pool in pools:
            pool.nodes = self.nodes
        self.life = store.lease.life if store.lease else "alone"  # names the attempts of this driver
        self.make_record, self.on_change = make_record, on_change
        self.queues = [Queue(index, pool, () if index else jobs) for index, pool in enumerate(pools)]
        # a sample past this pool has a video to be committed; before it, an interrupted run loses nothing
        makes = [any(stage.makes_film for stage in pool.spec.stages) for pool in pools]
        self.maker = makes.index(True) if True in makes else 0
        self.later: list[tuple[float, int, Job]] = []  # a heap of retries by the time they are due
        self.order = count()
        self.writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="store")
        self.writes: dict[Future[Any], Callable[[Any], None]] = {}
        self.fresh: list[Record] = []  # committed, not yet in a results part
        self.tally = Tally()
        self.stopped: str | None = None
        self.draining = self.killed = self.ended = False
        self.no_room = 0  # failures for want of it since something worked last

    def run(self) -> Tally:
        try:
            while not self.killed and self._work_left():
                now = time.monotonic()
                self._requeue(now)
                self._dispatch(now)
                self._collect()
                self._enforce_deadlines(time.monotonic())
                self._settle_writes()
                self.on_change(self)
        finally:
            self.ended = True
            try:
                for pool in self.pools:
                    pool.close()
            finally:
                self.writers.shutdown(wait=True)
                self._settle_writes()
        self._compact(self.fresh)
        return self.tally

    def drain(self, reason: str | None = None) -> None:
        """Begin no further video; one that is under way goes through all its stages and is committed."""
        self.draining, self.stopped = True, self.stopped or reason

    def kill(self) -> None:
        """Give up what is under way; what is being written is finished, and the records compacted."""
        self.draining = self.killed = True

    def running(self) -> list[Seat]:
        return [seat for pool in self.pools for seat in pool.busy()]

    # --- one turn of the loop

    def _work_left(self) -> bool:
        if self.running() or self.writes:
            return True
        waiting = {index for index, queue in enumerate(self.queues) if queue}
        waiting |= {job.group for _, _, job in self.later}
        if self.draining:
            waiting = {group for group in waiting if group > self.maker and not self.pools[group].hopeless}
        return bool(waiting)

    def _requeue(self, now: float) -> None:
        while self.later and self.later[0][0] <= now:
            job = heapq.heappop(self.later)[2]
            self.queues[job.group].put(job)

    def _dispatch(self, now: float) -> None:
        coming, later = 0, Counter(job.group for _, _, job in self.later if not self.draining)
        for index, (pool, queue) in enumerate(zip(self.pools, self.queues, strict=True)):
            if self.draining and index <= self.maker:
                coming += len(pool.busy())
                continue
            coming += later[index] + len(queue) + len(pool.busy())  # what is or will be this pool's to do
            pool.tend(now, coming)
            if pool.trouble and pool.hopeless:
                self.drain(f"no worker could start: {pool.trouble.name}: {pool.trouble.message}")
            if self._far_ahead(index):
                continue
            for seat in pool.idle():
                job = None if self.nodes.rests(seat.node, now, pool.spec) else queue.take(seat)
                if job is None:  # nothing for this one; another may take what failed here
                    continue
                if any(stage.makes_film or stage.takes_film for stage in pool.spec.stages):
                    # it names the blobs that will be written
                    attempt = f"{len(job.strikes) + job.infra + 1}-{self.life}"
                    job.task = replace(job.task, attempt=attempt)
                ahead = queue.next_of(seat)
                pool.give(seat, job, job.task, now, ahead.task if ahead else None)

    def _far_ahead(self, index: int) -> bool:
        """Tell whether the next pool has work for each of its actors: more would only be at risk."""
        after = index + 1
        if after == len(self.pools) or self.pools[index].spec.early:
            return False
        return len(self.queues[after]) >= self.pools[after].spec.size

    def _collect(self) -> None:
        seats = {seat.ref: (pool, seat) for pool in self.pools for seat in pool.seats if not seat.idle}
        if not seats:
            time.sleep(0.02)  # only writes or retries are under way
            return
        refs = list(seats)
        ready, _ = ray.wait(refs, timeout=0.1 if self.writes or self.later else 0.5)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            pool, seat = seats[ref]
            if seat.job is None:
                pool.started(seat, time.monotonic())
            else:
                self._judge(pool, seat, result_of(seat, pool.spec.name))

    def _enforce_deadlines(self, now: float) -> None:
        execution = self.execution
        for pool in self.pools:
            pool.end_loads(now, execution.load_deadline_s)
            for seat in pool.busy():
                if now - seat.began > execution.deadline_s:
                    self._judge(pool, seat, too_late(execution.deadline_s, pool.spec.name), dismiss=True)

    # --- what becomes of a job

    def _judge(self, pool: Pool, seat: Seat, result: dict[str, Any] | Failure, dismiss: bool = False) -> None:
        job: Job = seat.job
        handed, seat.job, seat.ref, seat.handed = seat.handed, None, None, None
        here, index = seat.where, self.pools.index(pool)
        if index <= self.maker or job.where is None:  # a record says where its video was made
            job.where = here
        if isinstance(result, Failure):
            job.avoid = (index, seat.number)
            if here:
                job.shunned |= {here.node} if result.kind == "infra" else set()
                self.nodes.failing(here, job.task.key, result, time.monotonic())
                if self.nodes.suspect(here.node):
                    pool.ask_elsewhere({here.node})
            if dismiss or result.kind == "poisoned" or result.name in NO_ACTOR:
                pool.dismiss(seat)
            self._failed(job, result, here)
            return
        seconds = job.result.get("seconds", {}) | result.get("seconds", {})
        job.result |= result | {"seconds": seconds}
        job.avoid, job.handed, self.no_room = None, handed, 0
        if here:
            self.nodes.worked(here, job.task.key)
        if "video" in result:
            job.task = replace(job.task, video=result["video"].uri)
        job.group += 1
        if job.group < len(self.pools):
            self.queues[job.group].put(job)
        else:
            self._commit(job, None)

    def _failed(self, job: Job, failure: Failure, where: Host | None) -> None:
        execution, infra = self.execution, failure.kind == "infra"
        note = failure.note(job.task.attempt, where)
        if infra:
            job.infra += 1
            self.no_room = self.no_room + 1 if failure.name == NO_ROOM else self.no_room
            if self.no_room >= NO_ROOM_AFTER:  # what is made cannot be published: make no more of it
                host = where.name if where else "a worker's machine"
                self.drain(f"no room to write at {self.store.url}, or on {host}: {failure.message}")
        else:
            job.strikes.append(note)
        if failure.name == "FilmLost":  # with the node that kept it: it has to be made again
            job.group, job.handed = self.maker, None
        strikes = len(job.strikes), execution.max_attempts
        tries, most = (job.infra, execution.infra_attempts) if infra else strikes
        if failure.kind == "bad" or tries >= most or (infra and self.no_room >= NO_ROOM_AFTER):
            if infra:
                self._put_off(job, note)
            else:
                self._commit(job, note)
            return
        job.waits = note.message if infra else ""
        wait_s = pause(execution.backoff_s, tries - 1) * random.uniform(0.75, 1.25)

        def again(_: None = None) -> None:
            heapq.heappush(self.later, (time.monotonic() + wait_s, next(self.order), job))

        if infra:
            again()
        else:
            name = f"{len(job.strikes)}-{self.life}"
            self._write(lambda: self.store.note_strike(job.task.key, name, note), again)

    def _put_off(self, job: Job, why: ErrorNote) -> None:
        """Leave a sample to be done, which its surroundings have failed so often that they may go on to."""
        self.tally.put_off[why.name] += 1
        self._give_example(job.task.payload.id, why)
        self._guard()

    def _give_example(self, id: str, error: ErrorNote) -> None:
        self.tally.examples.setdefault(error.name, f'"{id}": {shorten(error.message, 300)}')

    def _commit(self, job: Job, error: ErrorNote | None) -> None:
        record = self.make_record(job, error)

        def publish() -> tuple[Record, bool]:
            """Return the record that stands, and whether it is ours: another driver may have been faster."""
            mine = self.store.commit(record)
            return (self.store.standing(record), False) if mine is None else (mine, True)

        def count_it(outcome: tuple[Record, bool]) -> None:
            standing, ours = outcome
            if ours:
                self.fresh.append(standing)
            self.tally.records[record.key] = Entry.of(standing)
            self.tally.committed += standing.ok
            self.tally.failed += not standing.ok
            self.tally.last = standing.video.uri if standing.video else self.tally.last
            self.tally.warned += standing.warnings[:1] if ours else []
            if error and ours:
                self.tally.failures[error.name] += 1
                self._give_example(record.id, error)
                self._guard()
            if len(self.fresh) >= COMPACT_EVERY and not (self.killed or self.ended):
                records, self.fresh = self.fresh, []
                self._write(lambda: self._compact(records), lambda _: None)

        self._write(publish, count_it)

    def _guard(self) -> None:
        tally, limit = self.tally, self.execution.max_failure_rate
        put_off = tally.put_off.total()
        seen, failed = tally.committed + tally.failed + put_off, tally.failed + put_off
        if seen >= GUARD_AFTER and failed > limit * seen and not self.draining:
            causes = (tally.failures + tally.put_off).most_common()
            self.drain(
                f"{failed} of the first {seen} samples failed "
                f"({', '.join(f'{name} x {n}' for name, n in causes)}), "
                f"more than {limit:.0%}; sample {tally.examples[causes[0][0]]}"
            )

    # --- writes, off the loop's own thread

    def _write(self, action: Callable[[], Any], then: Callable[[Any], None]) -> None:
        self.writes[self.writers.submit(action)] = then

    def _settle_writes(self) -> None:
        for future in [f for f in self.writes if f.done()]:
            then, problem = self.writes.pop(future), future.exception()
            if problem is None:
                then(future.result())
            else:  # a result that cannot be recorded is lost work: make no more of it
                self.drain(f"the store takes no records: {problem}")

    def _compact(self, records: list[Record]) -> None:
        """Write a results part; what cannot be written now is made up for from the records later."""
        try:
            self.store.compact(records)
        except Exception as problem:
            self.tally.message = f"results wait for the next submit: {problem}"
