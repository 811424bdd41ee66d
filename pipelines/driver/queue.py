"""The jobs that wait for one pool, and which of them an actor had best take."""

from collections import deque
from collections.abc import Iterable
from itertools import islice

from pipelines.driver.pool import Pool, Seat
from pipelines.tasks import Job

LOOK_AHEAD = 64  # waiting jobs considered for one actor


class Queue:
    """A queue of jobs before the pool of a number, from which seats take what suits them."""

    def __init__(self, number: int, pool: Pool, jobs: Iterable[Job] = ()) -> None:
        self.number, self.pool, self.jobs = number, pool, deque(jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def put(self, job: Job) -> None:
        """Let a job wait; one that surroundings failed goes first: another node tells whose fault it was."""
        if job.infra:
            self.jobs.appendleft(job)
        else:
            self.jobs.append(job)

    def take(self, seat: Seat) -> Job | None:
        """Take a job that did not fail here and shares nothing that is being made at this moment, or None.

        Among these, one that this seat has read ahead for, then one that no other seat has.
        """
        sharing = any(stage.shared for stage in self.pool.spec.stages)
        under_way = {s.job.task.shares for s in self.pool.busy()} if sharing else set()
        first: int | None = None
        second: int | None = None
        for position, job in enumerate(islice(self.jobs, LOOK_AHEAD)):
            if self._better_elsewhere(job, seat):
                continue
            if job.task.shares in under_way:
                second = position if second is None else second
            elif job.ahead == (self.number, seat.number):
                first = position
                break
            elif first is None or (self.jobs[first].ahead and not job.ahead):
                first = position
        if first is None and not all(stage.shared for stage in self.pool.spec.stages):
            first = second  # it waits for what is being made, and has more to do than that
        if first is None:
            return None
        job = self.jobs[first]
        del self.jobs[first]
        job.ahead = None
        return job

    def next_of(self, seat: Seat) -> Job | None:
        """Guess the job that a seat will take next, for it to read what that needs by then."""
        for job in islice(self.jobs, LOOK_AHEAD):
            if job.ahead is None and job.avoid != (self.number, seat.number):
                job.ahead = (self.number, seat.number)
                return job
        return None

    def _better_elsewhere(self, job: Job, seat: Seat) -> bool:
        """Tell whether more speaks against this seat than against another that has started."""
        against = self._against(job, seat)
        return against > 0 and min(self._against(job, s) for s in self.pool.seats if s.where) < against

    def _against(self, job: Job, seat: Seat) -> int:
        """Count what speaks against a seat: it failed the job last, its node did, or fails everything."""
        failed = (job.avoid == (self.number, seat.number)) + (seat.node in job.shunned)
        return failed + 2 * self.pool.nodes.suspect(seat.node) if failed else 0
