"""The command line with the real stages, disturbed on purpose: the first word of a sample's id says how.

"dies" ends the process, "hangs" never returns, "starves" runs out of memory, until a file <run>.mended is
there. Every start of a generation is counted as a file in <run>.starts, where the run is on the local disk.
"""

import os
import sys
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from motionecho.config import RunSettings
from pipelines import generate as pipeline
from pipelines.tasks import Task
from pipelines.workers import stages


def build(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Callable[..., Any]]:
    made = stages.build(names, settings, url)
    if "generate" not in made:
        return made
    real = made["generate"]

    def generate(task: Task) -> dict[str, Any]:
        if "://" not in url:
            Path(url + ".starts").mkdir(parents=True, exist_ok=True)
            Path(url + ".starts", f"{task.payload.id}.{uuid.uuid4().hex}").touch()
        if not Path(url + ".mended").exists():
            misbehave(task.payload.id.split("-")[0])
        outcome: dict[str, Any] = real(task)
        return outcome

    return made | {"generate": generate}


def misbehave(how: str) -> None:
    if how == "dies":
        os._exit(7)
    if how == "hangs":
        threading.Event().wait()
    if how == "starves":
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")


if __name__ == "__main__":
    from motionecho.cli import main

    pipeline.run = partial(pipeline.run, factory="chaos_stages:build")  # type: ignore[assignment]
    sys.exit(main())
