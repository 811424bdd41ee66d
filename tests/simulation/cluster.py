"""Ray as the driver sees it: actors that start, work, die, hang and are killed, in the world's time."""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayActorError

from motionecho.errors import BadSample, NotThere, Transient
from motionecho.runs.notes import Host
from motionecho.runs.store import RunStore
from pipelines.tasks import Failure, Task, failure_of
from tests.simulation.world import Process, Promise, World

NODES = ("node1", "node2")
BYTES = os.path.join(os.path.dirname(__file__), "world.py")  # what stands for a video


class Ray:
    """What the driver has under the name `ray`; its actors die a while after their driver."""

    def __init__(self, world: World, troubles: dict[str, float], broken: str | None) -> None:
        self.world, self.troubles, self.broken = world, troubles, broken
        self.actors: list[Actor] = []

    def remote(self, worker: type) -> "Ray":
        return self

    def options(self, label_selector: dict[str, str], **words: Any) -> Any:
        ray = self

        class Make:
            def remote(self, factory: str, stages: Any, settings: Any, url: str, *rest: Any) -> Actor:
                shunned = "".join(label_selector.values())
                crowds = Counter(each.node for each in ray.actors if not each.process.killed)
                node = min((node for node in NODES if node not in shunned), key=lambda node: crowds[node])
                ray.actors.append(Actor(ray, url, ray.world.process, node))
                return ray.actors[-1]

        return Make()

    def get(self, ref: Promise) -> Any:
        if ref.error is not None:
            raise ref.error
        return ref.value

    def wait(
        self, refs: list[Promise], num_returns: int = 1, timeout: float = 0.0
    ) -> tuple[list[Promise], list[Promise]]:
        if timeout and not any(ref.done for ref in refs):
            self.world.pause(timeout, refs)
        ready = [ref for ref in refs if ref.done]
        return ready, [ref for ref in refs if not ref.done]

    def kill(self, actor: "Actor", no_restart: bool = True) -> None:
        actor.die()

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": node, "Alive": True, "Resources": {"CPU": 2.0}} for node in NODES]


class Actor:
    """One actor: a process whose calls are promises."""

    def __init__(self, ray: Ray, url: str, driver: Process | None, node: str) -> None:
        self.ray, self.world, self.url, self.driver, self.node = ray, ray.world, url, driver, node
        self.process = Process(f"worker {len(ray.actors)} of {driver.name if driver else None}")
        self.asked: list[Promise] = []
        self.here, self.load = Call(self, self._here), Call(self, self._load)
        self.run = Call(self, self._run)

    def die(self) -> None:
        self.world.kill(self.process)
        self.process.killed = True
        for promise in self.asked:
            promise.keep(error=RayActorError(error_msg="The actor died: killed"))

    def _here(self) -> Host:
        return Host(name=self.node, node=self.node, pid=1, device="cpu", threads=1, stages=("all",))

    def _load(self) -> tuple[Host, Failure | None]:
        self.world.pause(self.world.chance.uniform(0.5, 5))
        if self.world.happens(self.ray.troubles["hangs"]):
            self.world.pause(1e9)
        return self._here(), None

    def _run(self, task: Task, ahead: Task | None, handed: Any) -> dict[str, Any] | Failure:
        """Do what every stage does to the store, or something else that happens to samples."""
        world, store, troubles = self.world, RunStore(self.url), self.ray.troubles
        mind = task.payload.sample.prompt.split()[0]
        world.pause(world.chance.expovariate(1 / 8))
        try:
            if self.node == self.ray.broken:
                raise NotThere("the share is not mounted")
            if mind == "bad":
                raise BadSample("this one can never be")
            if mind == "cursed" and not world.calm:
                raise ValueError("out of luck")
            if world.happens(troubles["stumbles"]):
                raise Transient("the store is down")
            if world.happens(troubles["dies"]):
                self.die()
            if world.happens(troubles["hangs"]):
                world.pause(1e9)
            video = store.put_blob(store.video_uri(task.key, task.attempt), BYTES)
            if world.happens(troubles["dies"]):
                self.die()
            world.pause(world.chance.expovariate(1 / 2))
            stats = store.put_blob(store.stats_uri(task.key, task.attempt), BYTES)
            return {"video": video, "stats": stats, "seconds": {}}
        except Exception as problem:
            return failure_of(problem, "generate")


class Call:
    """A method of an actor, as Ray has it."""

    def __init__(self, actor: Actor, action: Callable[..., Any]) -> None:
        self.actor, self.action, self.returns = actor, action, 1

    def options(self, num_returns: int = 1) -> "Call":
        self.returns = num_returns
        return self

    def remote(self, *words: Any) -> Any:
        actor, promise = self.actor, Promise(self.actor.world)
        actor.asked.append(promise)
        if actor.process.killed:
            promise.keep(error=RayActorError(error_msg="The actor died before"))
        else:
            actor.world.thread(actor.process, lambda: promise.keep(self.action(*words)))
        return (promise, Promise(actor.world)) if self.returns == 2 else promise
