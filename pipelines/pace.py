"""A batch to measure, and how fast it went and how busy its workers were, out of its records alone."""

import csv
import os
import statistics
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from motionecho.bench.sampler import PROMPT
from motionecho.errors import UserError
from motionecho.runs.records import Record
from motionecho.sprites.motions import FPS
from motionecho.sprites.render import reference_clip
from motionecho.video import write_video
from pipelines.tasks import STAGES


def write_manifest(folder: str, samples: int, references: int) -> str:
    """Write a manifest of that many seeds, in turn on procedural references beside it; return its path."""
    for seed in range(references):
        write_video(os.path.join(folder, f"{seed}.mp4"), reference_clip(seed, "linear")[0], FPS, None)
    rows = [(f"s{seed}", f"{seed % references}.mp4", PROMPT, seed) for seed in range(samples)]
    path = os.path.join(folder, "manifest.csv")
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("id", "reference", "prompt", "seed"), *rows])
    return path


def pace(records: Iterable[Record]) -> dict[str, Any]:
    """Measure samples a second and the workers' busy share, from first start to last commit.

    `seconds` are the medians of what a sample took by stage and within it. Raises UserError where fewer
    than two samples were finished.
    """
    records = list(records)
    done = [record for record in records if record.ok]
    if len(done) < 2:
        errors = [record.error.message for record in records if record.error]
        why = f"{len(errors)} failed, the first: {errors[0]}" if errors else "ask for at least 2"
        raise UserError(f"{len(done)} finished samples tell nothing of a pace; {why}")
    ends = [datetime.fromisoformat(record.committed_at).timestamp() for record in done]
    spent = [record.spent(*(stage.name for stage in STAGES)) for record in done]
    span = max(ends) - min(end - took for end, took in zip(ends, spent, strict=True))
    workers = {(record.where.node, record.where.pid) if record.where else None for record in done}
    laps = {name for record in done for name in record.seconds}
    return {
        "samples": len(done),
        "workers": len(workers),
        "samples_per_s": round(len(done) / span, 3),
        "busy": round(sum(spent) / (span * len(workers)), 4),
        "seconds": {
            name: round(statistics.median(record.seconds.get(name, 0.0) for record in done), 3)
            for name in sorted(laps)
        },
    }
