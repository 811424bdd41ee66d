"""Real stages, tiny: they write small files instead of videos, and do on purpose what samples do by accident.

A prompt's first word says what happens: fine, bad, raises, dies, hangs, stumbles (fails its first attempt),
down (the store fails once), poisons, lags (is scored slowly), waits (to be published), full
(there is no room to publish it). Calls are counted as
files beside the run.
"""

import dataclasses
import errno
import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import ray

from motionecho.config import RunSettings
from motionecho.errors import BadSample, CanaryMismatch, PoisonedDevice, Transient, UserError
from motionecho.runs.files import fetch
from motionecho.runs.notes import Blob
from motionecho.runs.store import RunStore
from pipelines.tasks import Task

FACTORY = "fake_stages:build"


def build(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Any]:
    makers = {"invert": invert, "train": train, "tune": tune, "generate": generate, "publish": publish}
    makers["score"] = score
    return {name: partial(makers[name], RunStore(url)) for name in names}


def build_watched(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Any]:
    """With a prefetch that is counted, and a canary that every worker but the first fails."""
    store = RunStore(url)

    def canary(device: str) -> None:
        if store.first_canary({"pid": os.getpid()})["pid"] != os.getpid():
            raise CanaryMismatch(f"this worker ({device}) has other weights")

    extra = {"canary": canary, "prefetch": lambda task: _count(store, f"prefetch-{task.payload.id}")}
    return build(names, settings, url) | extra


def build_broken(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Any]:
    raise RuntimeError("the weights are damaged")


def build_unmounted(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Any]:
    """On the node that a file beside the run names, references are not to be found."""
    stages = build(names, settings, url)
    if _here() == Path(f"{url}.broken").read_text():

        def lost(task: Task) -> dict[str, Any]:
            _count(RunStore(url), "lost")
            with fetch(f"/not/mounted{task.payload.sample.reference}"):
                raise AssertionError

        stages["invert"] = lost
    return stages


def build_bare(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Any]:
    """On the node that a file beside the run names, there are no weights."""
    if _here() == Path(f"{url}.broken").read_text():
        _count(RunStore(url), "load")
        raise UserError("the weights are missing on this machine")
    return build(names, settings, url)


def _here() -> str:
    return str(ray.get_runtime_context().get_node_id())


def invert(store: RunStore, task: Task) -> dict[str, Any]:
    uri = store.motion_uri(task.payload.motion_key)
    if store.exists(uri):
        return {"motion": Blob(uri)}
    _count(store, f"invert-{task.payload.motion_key}")
    with fetch(task.payload.sample.reference) as path:
        return {"motion": _put(store, uri, Path(path).read_bytes())}


def train(store: RunStore, task: Task) -> dict[str, Any]:
    """Nothing: no row's strategy trains."""
    return {}


def tune(store: RunStore, task: Task) -> dict[str, Any]:
    """A stage that no run has yet, once per reference as `invert` is."""
    uri = store.motion_uri(task.payload.motion_key) + ".adapter"
    if not store.exists(uri):
        _count(store, f"tune-{task.payload.motion_key}")
        _put(store, uri, b"adapter")
    return {"tuned": True}


def generate(store: RunStore, task: Task) -> dict[str, Any]:
    attempt = _count(store, f"generate-{task.payload.id}")
    misbehave(task.payload.sample.prompt.split()[0], attempt)
    with store.fetch(store.motion_uri(task.payload.motion_key)) as path:
        motion = Path(path).read_bytes()
    latents = hashlib.sha256(
        motion + task.payload.sample.prompt.encode() + str(task.payload.sample.seed).encode()
    ).hexdigest()
    return {
        "handed": latents.encode() * 20_000,  # too much to travel in Ray's messages, as a film is
        "latent_sha256": latents,
        "trace": {"forward_equivalents": 8, "evaluations": {"student": 8}},
        "seconds": {"sample": 0.5},
    }


def publish(store: RunStore, task: Task, film: bytes) -> dict[str, Any]:
    _count(store, f"publish-{task.payload.id}")
    if task.payload.sample.prompt.startswith("full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    while task.payload.sample.prompt.startswith("waits") and not Path(store.url + ".go").exists():
        time.sleep(0.05)
    return {
        "video": _put(store, store.video_uri(task.key, task.attempt), b"video " + film[:64]),
        "stats": _put(store, store.stats_uri(task.key, task.attempt), b"stats"),
    }


def score(store: RunStore, task: Task) -> dict[str, Any]:
    assert task.video is not None
    _count(store, f"score-{task.payload.id}")
    if task.payload.sample.prompt.startswith("lags"):
        time.sleep(0.2)
    with store.fetch(task.video) as path:
        size = len(Path(path).read_bytes())
    return {"scores": {"size": {"size_bytes": size}}, "skipped": {"clip": "no weights here"}}


def misbehave(how: str, attempt: int) -> None:
    if how == "bad":
        raise BadSample("this one can never be")
    if how == "raises":
        raise ValueError("out of luck")
    if how == "stumbles" and attempt == 1:
        raise ValueError("the first time always fails")
    if how == "down" and attempt == 1:
        raise Transient("the store is down")
    if how == "poisons" and attempt == 1:
        raise PoisonedDevice("an illegal memory access was encountered")
    if how == "dies":
        os._exit(7)
    if how == "slow":
        time.sleep(0.4)
    if how == "hangs":
        threading.Event().wait()


def calls(url: str) -> dict[str, int]:
    """How often each stage ran on each sample, `invert-<motion key>`, `generate-<id>`, `score-<id>`."""
    names = [path.name.rsplit(".", 1)[0] for path in Path(url + ".calls").glob("*.*")]
    return {name: names.count(name) for name in sorted(set(names))}


def _count(store: RunStore, name: str) -> int:
    folder = Path(store.url + ".calls")
    folder.mkdir(exist_ok=True)
    number = len(list(folder.glob(f"{name}.*"))) + 1
    (folder / f"{name}.{number}-{os.getpid()}").touch()
    return number


def _put(store: RunStore, uri: str, data: bytes) -> Blob:
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(data)
        file.flush()
        return store.put_blob(uri, file.name)


def drive(manifest: str, out: str, pools: str = "one") -> None:
    """A driver to be interrupted and killed: one JSON line a progress, the summary last."""
    from motionecho.config import EchoConfig
    from pipelines.generate import Execution, run

    def tell(values: Any) -> None:
        print(json.dumps(dataclasses.asdict(values)), flush=True)

    settings = RunSettings(pair="toy", echo=EchoConfig())
    execution = Execution(workers=2, separate=pools == "separate")
    tell(run(manifest, settings, out, execution, tell, factory=FACTORY))


if __name__ == "__main__":
    drive(*sys.argv[1:])
