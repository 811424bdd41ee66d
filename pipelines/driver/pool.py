"""A fixed number of Ray actors that serve a set of stages, one task in flight each.

Ray's own retries are off: an actor that dies stays dead, what it worked on is the driver's to judge, and the
pool starts another. Nothing here waits for an actor, since one may stay pending for as long as the cluster
is full.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, ObjectLostError, RayActorError, RayError

from motionecho.runs.notes import Host
from pipelines.machines.resources import PoolSpec
from pipelines.tasks import Failure, Task, failure_of
from pipelines.workers.worker import Worker

START_ATTEMPTS = 3  # actors that fail to load, one after another, before the pool is given up


@dataclass(eq=False)
class Seat:
    """A seat of one actor: starting while `where` is None, busy while `job` is set, else idle."""

    number: int
    handle: Any
    ref: Any  # what is being waited for: its load, or its task
    where: Host | None = None
    job: Any = None
    handed: Any = None  # a reference to what its task leaves for the next pool, which the driver never reads
    began: float = 0.0

    @property
    def idle(self) -> bool:
        return self.ref is None


@dataclass(eq=False)
class Pool:
    """A set of actors of one kind; `trouble` says why none can be had, once that is certain.

    An actor whose canary disagrees is retired: its seat stays empty, and `retired` has the reasons.
    """

    spec: PoolSpec
    factory: str
    settings: Any  # what the factory is given
    url: str
    backoff_s: float = 1.0
    canary: bool = True
    seats: list[Seat] = field(default_factory=list)
    trouble: Failure | None = None
    misstarts: int = 0
    retired: list[str] = field(default_factory=list)
    next_start: float = 0.0
    numbers: Iterator[int] = field(default_factory=count)

    def tend(self, now: float, wanted: int) -> None:
        """Start as many actors as the work asks for, with a pause after one that would not start."""
        size = self.spec.size - len(self.retired)
        while len(self.seats) < min(size, wanted) and now >= self.next_start and not self.trouble:
            spec, actor = self.spec, ray.remote(Worker)
            handle: Any = actor.options(
                num_cpus=spec.num_cpus,
                num_gpus=spec.num_gpus,
                memory=spec.memory,
                resources=dict(spec.resources),
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=1,
            ).remote(self.factory, spec.stages, self.settings, self.url, spec.threads, self.canary)
            self.seats.append(Seat(next(self.numbers), handle, handle.load.remote(), began=now))

    def idle(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.idle]

    def busy(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.job is not None]

    def give(self, seat: Seat, job: Any, task: Task, now: float, ahead: Task | None = None) -> None:
        seat.job, seat.began = job, now
        seat.ref, seat.handed = seat.handle.run.options(num_returns=2).remote(task, ahead, job.handed)

    def started(self, seat: Seat, now: float) -> None:
        """Take note that an actor's load ended, one way or the other."""
        result: Host | Failure = result_of(seat, "load")
        if isinstance(result, Host):
            seat.where, seat.ref, self.misstarts = result, None, 0
            return
        self.dismiss(seat)
        if result.name == "CanaryMismatch":
            self.retired.append(result.message)
            self.trouble = result if len(self.retired) >= self.spec.size else None
            return
        self.misstarts += result.kind != "infra"
        self.next_start = now + min(60.0, self.backoff_s * 2**self.misstarts)
        if result.kind == "bad" or self.misstarts >= START_ATTEMPTS:
            self.trouble = result

    def dismiss(self, seat: Seat) -> None:
        """Kill the actor and let its seat go; the next `tend` fills it."""
        self.seats.remove(seat)
        ray.kill(seat.handle, no_restart=True)

    def close(self) -> None:
        for seat in list(self.seats):
            self.dismiss(seat)


def result_of(seat: Seat, stage: str) -> Any:
    """Return what a call gave, or its Failure: an actor that died is a strike, a node that went is not."""
    try:
        return ray.get(seat.ref)
    except ActorUnavailableError as problem:
        return Failure("infra", "ActorUnavailable", _first_line(problem), stage)
    except RayActorError as problem:
        if problem.preempted or not _node_alive(seat):
            return Failure("infra", "NodeLost", _first_line(problem), stage)
        return Failure("strike", "WorkerDied", _cause_of_death(problem), stage)
    except RayError as problem:
        if isinstance(problem, ObjectLostError):  # with the node that kept it
            return Failure("infra", "FilmLost", _first_line(problem), stage)
        return failure_of(problem, stage)


def _node_alive(seat: Seat) -> bool:
    node = seat.where.node if seat.where else None
    return not node or any(n["NodeID"] == node and n["Alive"] for n in ray.nodes())


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:300]


def _cause_of_death(problem: Exception) -> str:
    """Find the part of Ray's long report that says how the process ended."""
    text = " ".join(str(problem).split())
    _, _, detail = text.partition("Worker exit detail:")
    _, _, reason = text.partition("The actor died")
    return f"the worker process died: {(detail or reason or text).strip(' :')[:300]}"
