"""The command line with stages whose latents are the sample's own noise: a run of hundreds in a minute.

Everything else is the real thing: store, loop, Ray, records. What a sample's latents have to be, `latents_of`
says without any of it.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from motionecho.config import RunSettings
from motionecho.noise import noise
from motionecho.runs.store import RunStore
from pipelines import generate as pipeline
from pipelines.tasks import Task


def latents_of(seed: int) -> bytes:
    return bytes(noise(seed, "student", 0, (4, 2, 4, 4)).numpy().tobytes())


def build(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Callable[..., Any]]:
    store = RunStore(url)
    made = {
        "invert": lambda task: {},
        "train": lambda task: {},
        "generate": generate,
        "publish": partial(publish, store),
        "score": score,
    }
    return {name: made[name] for name in names}


def generate(task: Task) -> dict[str, Any]:
    time.sleep(0.2)
    latents = latents_of(task.payload.sample.seed)
    return {"handed": latents, "latent_sha256": hashlib.sha256(latents).hexdigest()}


def publish(store: RunStore, task: Task, film: bytes) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "latents"
        local.write_bytes(film)
        video = store.put_blob(store.video_uri(task.key, task.attempt), str(local))
        time.sleep(0.05)  # to be killed between the two
        return {"video": video, "stats": store.put_blob(store.stats_uri(task.key, task.attempt), str(local))}


def score(task: Task) -> dict[str, Any]:
    return {"scores": {}}


if __name__ == "__main__":
    from motionecho.cli import main

    pipeline.run = partial(pipeline.run, factory="noise_stages:build")  # type: ignore[assignment]
    sys.exit(main())
