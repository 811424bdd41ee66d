"""The real stages, counting what is trained; the first worker to train dies when it is half-way."""

import os
from pathlib import Path
from typing import Any

from motionecho.config import RunSettings
from motionecho.guidance import training
from pipelines.tasks import Task
from pipelines.workers import stages

FACTORY = "training_stages:build"


def build(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Any]:
    """Write a file beside the run for each training; with a file `url.dies` there, the first one dies."""
    made = stages.build(names, settings, url)
    real, folder = made["train"], Path(f"{url}.trainings")
    folder.mkdir(exist_ok=True)

    def train(task: Task) -> dict[str, Any]:
        draw, steps = training.Draw.of, iter(range(1000))

        def dying(*args: Any) -> training.Draw:
            if next(steps) == 1 and _first(Path(f"{url}.dies")):
                os._exit(1)
            return draw(*args)

        training.Draw.of = dying  # type: ignore[method-assign,assignment]
        try:
            part: dict[str, Any] = real(task)
        finally:
            training.Draw.of = draw  # type: ignore[method-assign]
        if part.get("motion") and part["motion"].bytes:
            (folder / f"{task.payload.motion_key}-{os.getpid()}").touch()
        return part

    return made | {"train": train}


def _first(flag: Path) -> bool:
    """Take the flag away; False where another was first, or there is none."""
    try:
        flag.unlink()
    except FileNotFoundError:
        return False
    return True


__all__ = ["FACTORY", "build"]
