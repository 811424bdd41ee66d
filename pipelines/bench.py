"""The costs of the pipeline itself: no-op stages through the real loop; a long manifest planned, resumed."""

import json
import os
import resource
import sys
import time
from datetime import datetime
from typing import Any

from motionecho.config import EchoConfig, RunSettings
from motionecho.runs.notes import Blob
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.execution import Execution
from pipelines.generate import identity, run
from pipelines.plan import plan_generation
from pipelines.tasks import Task

FACTORY = "pipelines.bench:build"
NO_VIDEO = Blob("videos/none.mp4")  # a finished sample names one
SETTINGS = RunSettings(pair="toy", echo=EchoConfig())


def build(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Any]:
    """Make stages that do nothing: what is left is Ray, the loop and the commits."""

    def nothing(task: Task, handed: None = None) -> dict[str, Any]:
        return {"video": NO_VIDEO}

    return dict.fromkeys(names, nothing)


def throughput(
    folder: str, samples: int, store: str | None = None, execution: Execution | None = None
) -> float:
    """Measure samples a second from the first to the last commit of a run of no-ops."""
    manifest, url = write_manifest(folder, samples), store or os.path.join(folder, "run")
    run(manifest, SETTINGS, url, execution or Execution(workers=2), factory=FACTORY)
    ends = sorted(datetime.fromisoformat(record.committed_at) for record in RunStore(url).records())
    return (len(ends) - 1) / (ends[-1] - ends[0]).total_seconds()


def resuming(folder: str, rows: int, done: int) -> dict[str, float]:
    """Measure seconds to plan a manifest, mostly done, and to open its run again as a submit does."""
    manifest = write_manifest(folder, rows)
    url = os.path.join(folder, "resumed")
    tasks = plan_generation(manifest, SETTINGS, url).tasks
    store = RunStore(url)
    store.create(identity(SETTINGS), {})
    _pretend(store, list(tasks.values())[:done])
    del tasks
    began = time.monotonic()
    work = plan_generation(manifest, SETTINGS, url)
    planned = time.monotonic()
    store.tidy(work.index)
    store.compact(work.index.loose)
    ended = time.monotonic()
    return {
        "rows": rows,
        "left": len(work.todo),
        "plan_s": round(planned - began, 2),
        "resume_s": round(ended - planned, 2),
        "peak_gib": round(peak_bytes() / 2**30, 3),
    }


def write_manifest(folder: str, rows: int) -> str:
    """Write a manifest of so many seeds on one small reference."""
    with open(os.path.join(folder, "clip.mp4"), "w") as stream:
        stream.write("no one decodes this")
    path = os.path.join(folder, f"{rows}.jsonl")
    with open(path, "w") as stream:
        for seed in range(rows):
            row = {"id": f"s{seed}", "reference": "clip.mp4", "prompt": "a red star", "seed": seed}
            stream.write(json.dumps(row) + "\n")
    return path


def peak_bytes() -> int:
    """Return the most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _pretend(store: RunStore, tasks: list[Task], chunk: int = 1000) -> None:
    """Write records and parts as a run leaves them, without its fsyncs."""
    for start in range(0, len(tasks), chunk):
        records = []
        for task in tasks[start : start + chunk]:
            said = task.payload.for_record()
            record = Record(key=task.key, status="ok", attempts=1, video=NO_VIDEO, **said)
            path = os.path.join(store.url, store.record_uri(task.key))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as stream:
                stream.write(record.to_json())
            records.append(record)
        store.compact(records)
