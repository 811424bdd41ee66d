"""The shell around stages inside one Ray actor: loads once, runs one task at a time, never raises."""

import importlib
import os
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import ray

from motionecho.runs.notes import Host
from pipelines.tasks import Failure, StageSpec, Task, failure_of

Factory = Callable[[tuple[str, ...], Any, str], dict[str, Callable[..., Any]]]


class Worker:
    """A runner of a set of stages in order. Constructing it is instant; `load` brings the models.

    `factory` is "module:function" and is called with (names, settings, store URL) to make their callables. It
    may add "prefetch", called with a task that may come next, and "canary", called once with the device's
    name, which raises where this worker must not work.
    """

    def __init__(
        self,
        factory: str,
        specs: tuple[StageSpec, ...],
        settings: Any,
        url: str,
        threads: int | None,
        canary: bool = False,
    ) -> None:
        self.factory, self.specs, self.settings = factory, specs, settings
        self.url, self.threads, self.canary = url, threads, canary
        self.stages: dict[str, Callable[..., Any]] = {}
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="prefetch")

    def here(self) -> Host:
        """Say where this is, before anything is loaded."""
        context = ray.get_runtime_context()
        return Host(
            name=socket.gethostname(),
            node=context.get_node_id(),
            pid=os.getpid(),
            gpus=context.get_assigned_resources().get("GPU") or None,
            stages=tuple(spec.name for spec in self.specs),
        )

    def load(self) -> tuple[Host, Failure | None]:
        """Make the stages; return where this is, and why it cannot work, if so."""
        host = self.here()
        try:
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning steals shared cores
            if self.threads:
                os.environ["OMP_NUM_THREADS"] = str(self.threads)
            module, function = self.factory.split(":")
            factory: Factory = getattr(importlib.import_module(module), function)
            self.stages = factory(host.stages, self.settings, self.url)
            device, threads = _device(self.threads)
            host = replace(host, device=device, threads=threads)
            if self.canary and "canary" in self.stages:
                self.stages["canary"](f"{host.computes_on or 'cpu'} on {host.name}")
            return host, None
        except Exception as problem:
            return host, failure_of(problem, "load")

    def run(
        self, task: Task, ahead: Task | None = None, handed: Any = None
    ) -> tuple[dict[str, Any] | Failure, Any]:
        """Run all stages on one task; return their merged result, or the first failure.

        What the task `ahead` needs is read meanwhile; it may go to another worker in the end. `handed` is
        what a worker before this one left; what this one leaves for the next comes second.
        """
        if ahead is not None and "prefetch" in self.stages:
            self.reader.submit(self.stages["prefetch"], ahead)
        result: dict[str, Any] = {"seconds": {}}
        for spec in self.specs:
            name, began = spec.name, time.perf_counter()
            try:
                part, handed = spec.call(self.stages[name], task, handed)
            except Exception as problem:
                return failure_of(problem, name), None
            inner = {f"{name}_{lap}": value for lap, value in part.pop("seconds", {}).items()}
            if part or inner:  # of a stage that has nothing to do for this task, nothing is told
                result["seconds"] |= {name: round(time.perf_counter() - began, 4)} | inner
            result |= part
            if "video" in part:
                task = replace(task, video=part["video"].uri)
        return result, handed


def _device(threads: int | None) -> tuple[str | None, int | None]:
    """Keep to the cores given; name the device the stages compute on, and the threads of a CPU.

    Both are None where the stages did not bring torch in.
    """
    torch, cv2 = sys.modules.get("torch"), sys.modules.get("cv2")
    if threads and cv2:
        cv2.setNumThreads(threads)
    if torch is None:
        return None, None
    if threads:
        torch.set_num_threads(threads)
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(), None
    return "cpu", torch.get_num_threads()
