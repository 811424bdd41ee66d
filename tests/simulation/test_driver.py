"""The loop in a made world: what its workers do is scripted, and time passes as it is told to."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from motionecho.errors import Transient
from motionecho.runs.store import RunStore
from pipelines.driver.loop import Loop
from pipelines.driver.outcomes import Recorder
from pipelines.driver.pool import Pool
from pipelines.machines.resources import PoolSpec
from pipelines.plan import plan_generation
from pipelines.tasks import STAGES, Failure, Job, Tally, Task, failure_of
from tests.simulation.cluster import Actor, Ray
from tests.simulation.history import EXECUTION, SETTINGS, URL, in_world, tables
from tests.simulation.store import File, Moods, Store
from tests.simulation.world import World

PEACE = {"dies": 0.0, "hangs": 0.0, "stumbles": 0.0}
Start = Callable[..., Loop]


@pytest.fixture
def world() -> Iterator[World]:
    made = World(1)
    yield made
    made.close()


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    """Make a loop for the fine rows of a table, by the specs of its pools."""
    store = Store(world, Moods())
    store.files |= {path: File(data, 0.0, 0.0) for path, data in tables().items()}

    def make(*specs: PoolSpec) -> Loop:
        work = plan_generation("sim://tables/a0.csv", SETTINGS, URL)
        jobs = [Job(task) for task in work.todo if task.payload.sample.prompt.startswith("fine")]
        pools = [Pool(spec, "sim", SETTINGS, URL, 1.0) for spec in specs]
        return Loop(jobs, pools, RunStore(URL), EXECUTION, Recorder({}, {}).record, lambda loop: None)

    with in_world(world, Ray(world, dict(PEACE), None), store):
        yield make


def done(world: World, action: Callable[[], Any]) -> Any:
    """Return what an action gives that waits in the world."""
    process = world.spawn("a driver", action)
    world.run(until=4000)
    assert process.ended
    if isinstance(process.result, Exception):
        raise process.result
    return process.result


def test_a_worker_whose_load_hangs_is_replaced(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, hung = Actor._load, []

    def hangs(self: Actor) -> Any:
        if len(hung) < 2:  # both at the start
            hung.append(self)
            world.pause(1e9)
        return load(self)

    monkeypatch.setattr(Actor, "_load", hangs)
    tally: Tally = done(world, lambda: start(PoolSpec(STAGES, 2)).run())
    assert (len(hung), tally.committed, tally.failed) == (2, 3, 0)
    assert all(actor.process.killed for actor in hung)


def test_workers_that_all_hang_stop_the_run(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Actor, "_load", lambda self: world.pause(1e9))

    def run() -> tuple[Loop, Tally]:
        loop = start(PoolSpec(STAGES, 2))
        return loop, loop.run()

    loop, tally = done(world, run)
    assert tally.committed == 0
    assert "no worker could start: DeadlineExceeded: it took longer than 60 s" in (loop.stopped or "")


def test_a_worker_that_waits_for_its_place_has_no_deadline(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, full = World.thread, 3000.0

    def begins(self: World, process: Any, action: Any, after: float = 0.0, **more: Any) -> None:
        crowded = process.name.startswith("worker") and world.now < full
        begin(self, process, action, full if crowded else after, **more)

    monkeypatch.setattr(World, "thread", begins)
    tally: Tally = done(world, lambda: start(PoolSpec(STAGES, 2)).run())
    assert (tally.committed, tally.failed) == (3, 0)


def test_what_is_made_is_published_by_those_that_work(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no further worker can be had, the run ends, and the store has stumbled once."""
    run, stumbles = Actor._run, [Transient("the store is down")]

    def runs(self: Actor, task: Task, *more: Any) -> Any:
        return failure_of(stumbles.pop(), "publish") if task.video and stumbles else run(self, task, *more)

    def drains(loop: Loop) -> None:
        if not stumbles and not loop.draining:
            loop.pools[1].trouble = Failure("strike", "WorkerDied", "no other starts", "load")
            loop.drain("enough")

    monkeypatch.setattr(Actor, "_run", runs)

    def go() -> Tally:
        loop = start(PoolSpec(STAGES[:3], 1), PoolSpec(STAGES[3:], 1))
        loop.on_change = drains
        return loop.run()

    tally: Tally = done(world, go)
    assert not stumbles
    assert tally.committed >= 1
