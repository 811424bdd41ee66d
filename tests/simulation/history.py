"""One history: some people, a place, and what befalls them; told by a seed, judged by promises.

What runs is the package's own plan, submission, loop, pools, store and cleanup. Replaced are the clock, the
threads, chance, Ray and the bytes under the store.
"""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import fsspec
import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.errors import MotionEchoError
from motionecho.runs import cleanup, files, layout, leases, notes, parallel, state
from motionecho.runs.notes import ErrorNote
from motionecho.runs.store import RunStore
from pipelines import plan, submission
from pipelines.driver import loop, nodes, pool, progress
from pipelines.driver.interrupts import Signals
from pipelines.driver.outcomes import Recorder
from pipelines.execution import Execution, Summary
from pipelines.generate import identity
from pipelines.machines.resources import PoolSpec
from pipelines.plan import plan_generation
from pipelines.retry import manifests_of, only_failed
from pipelines.tasks import STAGES, Job
from tests.simulation.cluster import NODES, Ray
from tests.simulation.store import ROOT, File, Files, Moods, Store
from tests.simulation.world import Clock, Lock, Process, Promise, Violation, World

URL = f"sim://{ROOT}"
SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
EXECUTION = Execution(workers=2, deadline_s=90, load_deadline_s=60, backoff_s=1, max_failure_rate=1.0)
MINDS = ("fine", "fine", "fine", "bad", "cursed")
HOUR = 3600.0
SILENT_S = leases.LEASE_S - 60  # after which a driver that sleeps may be taken for dead
TABLES = 4
ROWS = 8  # distinct ones of both manifests
PEOPLE = ("submit",) * 6 + ("retry", "gc", "status") * 3 + ("requeue", "delete", "fresh", "wipe")


class Threads:
    """What modules have under the name `ThreadPoolExecutor`: each call a greenlet of its process."""

    world: World

    def __init__(self, *words: Any, **more: Any) -> None: ...

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *problem: object) -> None: ...

    def submit(self, action: Callable[..., Any], *words: Any) -> "Later":
        later, world = Later(self.world), self.world

        def do() -> None:
            try:
                later.set_result(action(*words))
            except Exception as problem:
                later.set_exception(problem)
            later.there.keep()

        process = world.process
        assert process is not None
        world.thread(process, do)
        return later

    def shutdown(self, wait: bool = True) -> None: ...


class Later(Future[Any]):
    """A future whose result is waited for in the world's time."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.there = world, Promise(world)

    def result(self, timeout: float | None = None) -> Any:
        while not self.done():
            self.world.pause(5.0, [self.there])
        return super().result()


class InTurn(Threads):
    """The same where it makes no difference that calls are made one after another."""

    def submit(self, action: Callable[..., Any], *words: Any) -> "Later":
        later = Later(self.world)
        try:
            later.set_result(action(*words))
        except Exception as problem:
            later.set_exception(problem)
        return later


@dataclass
class Calendar:
    """The dates of the world."""

    world: World

    def now(self, zone: Any) -> datetime:
        return datetime(2000, 1, 1, tzinfo=zone) + timedelta(seconds=round(self.world.now))


@contextmanager
def in_world(world: World, ray: Ray, store: Store) -> Iterator[None]:
    """Put the world under the package's modules for the time of a block."""
    clock = Clock(world)
    fsspec.register_implementation("sim", Files, clobber=True)
    Files.store, Threads.world = store, world
    token = lambda n: f"{world.chance.getrandbits(8 * n):0{2 * n}x}"  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTIONECHO_PROTOCOLS", "sim")
        for module in (loop, leases, progress, submission, state):
            patch.setattr(module, "time", clock)
        for module in (loop, files):
            patch.setattr(module, "random", world.chance)
        for module in (loop, nodes, pool):
            patch.setattr(module, "ray", ray)
        for module in (loop, progress):
            patch.setattr(module, "ThreadPoolExecutor", Threads)
        patch.setattr(parallel, "ThreadPoolExecutor", InTurn)
        patch.setattr(
            files.patiently, "__defaults__", (files.PATIENCE_S, clock.sleep, None, clock.monotonic, "")
        )
        patch.setattr(secrets, "token_hex", token)
        for module in (layout, notes):
            patch.setattr(module, "datetime", Calendar(world))
        patch.setattr(leases, "_machine", lambda: None)
        patch.setattr(leases, "Lock", lambda: Lock(world))
        patch.setattr(submission, "connected", lambda execution: nullcontext())
        patch.setattr(submission, "head_watched", lambda lose: nullcontext())
        patch.setattr(submission.surroundings, "check", lambda store, address: None)
        patch.setattr(submission, "drained_by_signals", lambda drain, kill: nullcontext(Signals()))
        patch.setattr(submission, "versions", dict)
        yield


def tables() -> dict[str, bytes]:
    """Map names to manifests, a and b of one number with rows in common, and the clip that they name.

    What happens to a row its prompt says.
    """
    found = {"tables/clip.mp4": b"no one decodes this"}
    for number in range(TABLES):
        rows = [f"{n},clip.mp4,{MINDS[(n * (number + 1)) % len(MINDS)]} {n},{n}" for n in range(7)]
        for name, some in (("a", rows[:5]), ("b", [*rows[3:], "9,missing.mp4,fine 9,9"])):
            text = "\n".join(["id,reference,prompt,seed", *some])
            found[f"tables/{name}{number}.csv"] = text.encode()
    return found


class History:
    """Everything that happens under one seed."""

    def __init__(self, seed: int) -> None:
        self.world = world = World(seed)
        chance = world.chance
        number = chance.randrange(TABLES)
        self.manifests = [f"sim://tables/{name}{number}.csv" for name in "ab"]
        some = lambda most, share=0.5: chance.uniform(0, most) if chance.random() < share else 0.0  # noqa: E731
        full = chance.uniform(0, HOUR)
        full = (full, full + some(600, 0.3))
        moods = Moods(some(0.1), some(0.1), some(0.1), some(60), full, chance.uniform(-1e5, 1e5))
        self.store = Store(world, moods, at_work=self.at_work)
        self.store.files |= {path: File(data, 0.0, 0.0) for path, data in tables().items()}
        troubles = {"dies": some(0.2), "hangs": some(0.1), "stumbles": some(0.2)}
        self.ray = Ray(world, troubles, chance.choice((None, None, *NODES)))
        self.drivers: list[Process] = []

    # --- people

    def submit(self, manifest: str, retry_failed: bool = False) -> Summary:
        work = plan_generation(manifest, SETTINGS, URL, retry_failed=retry_failed)
        return self._drive(work)

    def retry(self) -> Summary:
        store = RunStore(URL)
        return self._drive(only_failed(store, manifests_of(store), SETTINGS))

    def _drive(self, work: plan.Work) -> Summary:
        store, world = RunStore(URL), self.world
        finished = {k for k, r in self.store.records().items() if r["status"] == "ok"}
        if world.calm or not self.store.moods.lag:
            again = finished & {task.key for task in work.todo} & self._seen(work)
            if again:
                raise Violation(f"finished samples are planned again: {again}")

        def make(jobs: list[Job], reporter: progress.Reporter) -> loop.Loop:
            pools = [pool.Pool(PoolSpec(STAGES, 2), "sim", SETTINGS, URL, 1.0)]
            record = Recorder({}, {}).record
            return loop.Loop(jobs, pools, store, EXECUTION, record, reporter.tell)

        summary = submission.drive(work, store, identity(SETTINGS), EXECUTION, make, lambda event: None)
        self._check_summary(summary)
        if world.happens(0.3):  # as in `submit && gc`
            world.spawn("gc afterwards", lambda: self.gc(0.0), world.chance.uniform(0, 20))
        return summary

    def _seen(self, work: plan.Work) -> set[str]:
        """Samples that were finished when the plan was made, as far as its index tells."""
        return {key for key, entry in work.index.items() if entry.ok}

    def gc(self, young_s: float) -> int:
        store = RunStore(URL)
        if store.run() is None:
            return 0
        with cleanup.sweeping(store) as lease:
            return cleanup.remove(store, lease, [orphan.uri for orphan in cleanup.orphans(store, young_s)])

    def status(self) -> state.State:
        now = state.state_of(RunStore(URL))
        if now.total is not None and now.done + now.failed > now.total:
            raise Violation(f"{now.done} done and {now.failed} failed of {now.total}")
        return now

    def requeue(self) -> bool:
        """Take a finished sample's video for damaged."""
        store = RunStore(URL)
        records = [record for record in store.records() if record.ok]
        if not records:
            return False
        why = ErrorNote(kind="infra", name="Damaged", at="now")
        return store.requeue(self.world.chance.choice(records), why)

    def delete(self) -> None:
        """Delete all records of a sample by hand."""
        keys = sorted(self.store.records())
        if keys:
            key = self.world.chance.choice(keys)
            paths = [p for p in self.store.files if layout.RECORDS in p and layout.key_of(p) == key]
            self.store.delete_by_hand(paths)

    def wipe(self) -> None:
        """Delete the whole place by hand, as someone who knows nothing of drivers."""
        self.store.wiped = True
        self.store.delete_by_hand([path for path in self.store.files if path.startswith(ROOT)])

    def at_work(self) -> list[str]:
        """Name the drivers that make samples at this moment, and are not taken for dead with good reason."""
        soon = self.world.now + leases.LEASE_S / 2
        begun = [each for each in self.drivers if each.facts.get("has begun")]
        now = self.world.now
        asleep = [each for each in begun if each.asleep_until > now - 60]  # it says so once it is awake
        silent = [each for each in asleep if now - each.facts["asleep since"] > SILENT_S]
        awake = [e for e in begun if not e.ended and e.asleep_until < soon and e not in silent]
        return [each.name for each in awake if not each.killed]

    # --- what befalls them

    def happen(self) -> None:
        """Let it all happen, then let the last driver of each manifest do the rest in peace."""
        world, chance = self.world, self.world.chance
        with in_world(world, self.ray, self.store):
            try:
                for number in range(chance.randint(3, 8)):
                    self._someone_comes(number)
                world.run(until=chance.uniform(200, 2 * HOUR))
                for process in self.drivers:
                    if not process.ended and chance.random() < 0.5:
                        self._kill(process)
                world.calm = True
                world.run(until=world.now + 4 * HOUR)
                self._finish()
            finally:
                world.close()

    def _someone_comes(self, number: int) -> None:
        world, chance = self.world, self.world.chance
        what, manifest = chance.choice(PEOPLE), chance.choice(self.manifests)
        again, young = chance.random() < 0.3, chance.choice((0.0, 30.0, HOUR))
        doing: dict[str, Callable[[], Any]] = {
            "submit": lambda: self.submit(manifest, again),
            "retry": self.retry,
            "gc": lambda: self.gc(young),
            "status": self.status,
            "requeue": self.requeue,
            "delete": self.delete,
            # --fresh trusts listings: who has just begun to work is not to be seen in one that lags
            "fresh": self.status if self.store.moods.lag else lambda: cleanup.clear(RunStore(URL)),
            "wipe": self.wipe,
        }
        at = chance.choice((chance.uniform(0, 30), chance.uniform(0, 400), chance.uniform(0, HOUR)))
        process = world.spawn(f"{what} {number}", doing[what], at)
        if what in ("submit", "retry"):
            self.drivers.append(process)
        fate = chance.random()
        if fate < 0.35:
            self._later(at + chance.expovariate(1 / 60), lambda: self._kill(process))
        elif fate < 0.5:
            self._later(at + chance.expovariate(1 / 60), lambda: self._sleep(process))

    def _later(self, after: float, action: Callable[[], None]) -> None:
        self.world.spawn("fate", action, after)

    def _kill(self, process: Process) -> None:
        self.world.kill(process)
        for actor in self.ray.actors:
            if actor.driver is process:
                self._later(self.world.chance.uniform(0, 30), actor.die)

    def _sleep(self, process: Process) -> None:
        process.facts["asleep since"] = self.world.now
        process.asleep_until = self.world.now + self.world.chance.choice((60.0, 1000.0, 2 * HOUR))
        self.world.tell(f"{process.name} falls asleep until {process.asleep_until:.0f}")

    # --- how it has to end

    def _finish(self) -> None:
        world = self.world
        for manifest in self.manifests:
            last = world.spawn("last submit", lambda path=manifest: self.submit(path))
            world.run(until=world.now + 4 * HOUR)
            if not last.ended:
                raise Violation("the last submit does not end")
            if not isinstance(last.result, Summary):
                raise Violation(f"the last submit ends so: {last.result!r}")
            if last.result.left or last.result.stopped:
                raise Violation(f"the last submit leaves something: {last.result}")
        for process in self.drivers:
            expected = (Summary, str, MotionEchoError, OSError)
            if process.ended and not isinstance(process.result, expected):
                raise Violation(f"{process.name} ends so: {process.result!r}") from process.result
        for record in self.store.records().values():
            if record["status"] == "failed" and record["error"]["class"] == "NotThere":
                raise Violation(f"record {record['key']} is charged with a broken node: {record['error']}")
            for name in ("video", "stats"):
                there = record["status"] != "ok" or f"{ROOT}/{record[name]['uri']}" in self.store.files
                if not there and not self.store.wiped:
                    raise Violation(f"record {record['key']} names a {name} that is not there")
        self._check_status()

    def _check_status(self) -> None:
        done = self.world.spawn("last status", self.status)
        sweep = self.world.spawn("last gc", lambda: self.gc(0.0), 60)
        self.world.run(until=self.world.now + HOUR)
        now = done.result
        if not (isinstance(now, state.State) and now.finished and now.done + now.failed == now.total == ROWS):
            raise Violation(f"the last status: {now!r}")
        if not isinstance(sweep.result, int):
            raise Violation(f"the last gc: {sweep.result!r}")

    def _check_summary(self, summary: Summary) -> None:
        parts = (summary.committed, summary.already_done, summary.failed, summary.left)
        if sum(parts) != summary.total or min(parts) < 0:
            raise Violation(f"it does not add up: {summary}")
        there = len(self.store.finished())
        counted = summary.committed + summary.already_done
        if counted > there and self.world.now - self.store.by_hand > 60:
            raise Violation(f"it claims {counted} samples, and {there} are there: {summary}")
