"""A fixed number of Ray actors that serve a set of stages, one task in flight each.

Ray's own retries are off: an actor that dies stays dead, what it worked on is the driver's to judge, and the
pool starts another. Nothing here waits for an actor, since one may stay pending for as long as the cluster
is full.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, ObjectLostError, RayActorError, RayError

from motionecho.runs.notes import Host
from pipelines.driver.nodes import Nodes, living, pause
from pipelines.machines.resources import PoolSpec
from pipelines.tasks import Failure, Task, failure_of
from pipelines.workers.worker import Worker

START_ATTEMPTS = 3  # actors that fail to load on a node, one after another, before it is given up
# What a failed start counts: a mistake stays one, and the surroundings may be as they should be in a while.
WEIGHS = {"bad": 3.0, "infra": 0.25}


@dataclass(eq=False)
class Seat:
    """A seat of one actor: starting while `where` is None, busy while `job` is set, else idle.

    One that starts is pending for as long as the cluster is full, then `here`, and loads.
    """

    number: int
    handle: Any
    ref: Any  # what is being waited for: where it is, its load, or its task
    here: Host | None = None
    where: Host | None = None
    job: Any = None
    handed: Any = None  # a reference to what its task leaves for the next pool, which the driver never reads
    began: float = 0.0

    @property
    def idle(self) -> bool:
        return self.ref is None

    @property
    def loads(self) -> bool:
        return self.here is not None and self.where is None

    @property
    def node(self) -> str:
        return self.here.node if self.here else ""


@dataclass(eq=False)
class Pool:
    """A set of actors of one kind; `trouble` says why none can be had, once that is certain.

    `misstarts` weighs starts that failed by node, or under "" where the actor died before it said where. An
    actor whose canary disagrees is retired: its seat stays empty, and `retired` has the reasons.
    """

    spec: PoolSpec
    factory: str
    settings: Any  # what the factory is given
    url: str
    backoff_s: float = 1.0
    canary: bool = True
    seats: list[Seat] = field(default_factory=list)
    trouble: Failure | None = None
    nodes: Nodes = field(default_factory=Nodes)
    shunned: Set[str] = frozenset()  # nodes beside which an actor is wanted, to compare them with
    misstarts: dict[str, float] = field(default_factory=dict)
    retired: list[str] = field(default_factory=list)
    next_start: float = 0.0
    numbers: Iterator[int] = field(default_factory=count)

    def tend(self, now: float, wanted: int) -> None:
        """Start as many actors as the work asks for, with a pause after one that would not start.

        Those that are idle on nodes set aside are let go, to be had on others; of an early stage all, at its
        end.
        """
        for seat in self.idle():
            if seat.node in self.nodes.aside or (self.spec.early and not wanted):
                self.dismiss(seat)
        size = self.spec.size - len(self.retired)
        while len(self.seats) < min(size, wanted) and now >= self.next_start and not self.trouble:
            self._start(now)
        if self.shunned and self._spare(size):
            self._start(now, self.shunned)
            self.shunned = frozenset()

    def _start(self, now: float, shunned: Set[str] = frozenset()) -> None:
        spec, actor = self.spec, ray.remote(Worker)
        handle: Any = actor.options(
            num_cpus=spec.num_cpus,
            num_gpus=spec.num_gpus,
            memory=spec.memory,
            resources=dict(spec.resources),
            label_selector=dict(self.nodes.selector(shunned)),
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=1,
        ).remote(self.factory, spec.stages, self.settings, self.url, spec.threads, self.canary)
        self.seats.append(Seat(next(self.numbers), handle, handle.here.remote(), began=now))

    def ask_elsewhere(self, shunned: Set[str]) -> None:
        """Want an actor on another node than these, where there are none and could be."""
        elsewhere = any(seat.where and seat.node not in shunned for seat in self.seats)
        if not elsewhere and self.nodes.others(self.spec, shunned):
            self.shunned = frozenset(shunned)

    def _spare(self, size: int) -> bool:
        """Tell whether one more actor may start; an idle one on these nodes makes room, if need be."""
        if any(seat.where is None for seat in self.seats):
            return False  # where it will be is not known yet
        if len(self.seats) >= size:
            for seat in self.idle():
                if seat.node in self.shunned:
                    self.dismiss(seat)
                    break
        return len(self.seats) < size

    def idle(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.idle]

    @property
    def hopeless(self) -> bool:
        """Tell whether no actor works here, and none can be had."""
        return self.trouble is not None and not any(seat.where for seat in self.seats)

    def busy(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.job is not None]

    def give(self, seat: Seat, job: Any, task: Task, now: float, ahead: Task | None = None) -> None:
        seat.job, seat.began = job, now
        seat.ref, seat.handed = seat.handle.run.options(num_returns=2).remote(task, ahead, job.handed)

    def started(self, seat: Seat, now: float) -> None:
        """Take note that an actor is there, or that its load ended, one way or the other."""
        result = result_of(seat, "load")
        if isinstance(result, Failure):
            self._misstarted(seat, result, now)
        elif seat.here is None:
            seat.here, seat.began, seat.ref = result, now, seat.handle.load.remote()
        else:
            where, failure = result
            if failure:
                self._misstarted(seat, failure, now)
                return
            seat.where, seat.ref = where, None
            for known in (where.node, ""):
                self.misstarts.pop(known, None)

    def end_loads(self, now: float, deadline_s: float) -> None:
        """Give up actors that have been loading for longer than a load may take."""
        for seat in [seat for seat in self.seats if seat.loads]:
            if now - seat.began > deadline_s:
                self._misstarted(seat, too_late(deadline_s, "load"), now)

    def _misstarted(self, seat: Seat, failure: Failure, now: float) -> None:
        """Let an actor go that cannot work, and judge whose fault it is."""
        self.dismiss(seat)
        if failure.name == "CanaryMismatch":
            self.retired.append(failure.message)
            self.trouble = failure if len(self.retired) >= self.spec.size else self.trouble
            return
        weight = self.misstarts.get(seat.node, 0.0) + WEIGHS.get(failure.kind, 1.0)
        self.misstarts[seat.node] = weight
        self.next_start = now + pause(self.backoff_s, weight)
        if weight < START_ATTEMPTS or (seat.here and self.nodes.cannot_start(seat.here, failure, self.spec)):
            return
        self.trouble = failure

    def dismiss(self, seat: Seat) -> None:
        """Kill the actor and let its seat go; the next `tend` fills it."""
        self.seats.remove(seat)
        ray.kill(seat.handle, no_restart=True)

    def close(self) -> None:
        for seat in list(self.seats):
            self.dismiss(seat)


def too_late(deadline_s: float, stage: str) -> Failure:
    """Name the failure of an actor that is killed at its deadline."""
    message = f"it took longer than {deadline_s:g} s and its worker was killed"
    return Failure("strike", "DeadlineExceeded", message, stage)


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
    return not seat.node or seat.node in living()


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:300]


def _cause_of_death(problem: Exception) -> str:
    """Find the part of Ray's long report that says how the process ended."""
    text = " ".join(str(problem).split())
    _, _, detail = text.partition("Worker exit detail:")
    _, _, reason = text.partition("The actor died")
    return f"the worker process died: {(detail or reason or text).strip(' :')[:300]}"
