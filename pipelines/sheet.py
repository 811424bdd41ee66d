"""The contact sheet of a run: some references beside what was made of them, read back from the store."""

import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from motionecho.config import RunSettings
from motionecho.metrics import METRICS, headlines
from motionecho.models.registry import PairSpec, pair_spec
from motionecho.report.moving import moving_sheet
from motionecho.report.sheet import SheetRow, contact_sheet
from motionecho.runs.files import fetch
from motionecho.runs.layout import is_own
from motionecho.runs.notes import Blob
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.video import read_clip
from pipelines.plan import Work, first_of_each_reference_first
from pipelines.tasks import Task

SAMPLES = 12


def publish_sheet(
    store: RunStore, settings: RunSettings, work: Work, fresh: bool, on_problem: Callable[[str], None]
) -> str | None:
    """Write the run's contact sheet and return where it is; None, and a word, where that was not possible.

    One that moves is written beside it. A sheet that exists is kept unless something `fresh` was made. The
    run has succeeded before this begins, so nothing that goes wrong here may turn it into a failure.
    """
    try:
        if not fresh and store.exists(store.sheet_uri):
            return store.absolute(store.sheet_uri)
        tasks = {task.key: task for task in first_of_each_reference_first(work.tasks.values())}
        shown, spec, listed = [], pair_spec(settings.pair), store.generations()
        for key, record in store.read({key: listed[key] for key in tasks if key in listed}):
            if not isinstance(record, Record) or not record.ok:  # one that is damaged has no row
                continue
            if record.video and is_own(record.video.uri):
                shown.append(_row(store, settings, spec, tasks[key], record, record.video))
            if len(shown) == SAMPLES:
                break
        if not shown:
            return None
        with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
            local = os.path.join(folder, "contact_sheet.png")
            contact_sheet(shown, local, total=len(work.tasks))
            sheet = store.absolute(store.put_blob(store.sheet_uri, local).uri)
        _publish_moving(store, shown, spec.fps, on_problem)
        return sheet
    except Exception as problem:
        on_problem(f"no contact sheet: {problem}")
        return None


def _publish_moving(
    store: RunStore, shown: list[SheetRow], fps: float, on_problem: Callable[[str], None]
) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
            local = os.path.join(folder, "preview.webp")
            moving_sheet(shown, local, fps)
            store.put_blob(store.moving_uri, local)
    except Exception as problem:  # a Pillow without WebP, say: the sheet is there
        on_problem(f"no moving picture: {problem}")


def _row(
    store: RunStore, settings: RunSettings, spec: PairSpec, task: Task, record: Record, video: Blob
) -> SheetRow:
    sample, size = task.payload.sample, (spec.frames, spec.height, spec.width)
    with fetch(sample.reference) as path:
        under = task.payload.config.reference.background
        reference = read_clip(path, *size, sample.window, settings.fit, background=under)
    with store.fetch(video.uri) as path:
        result = read_clip(path, *size)
    return SheetRow(reference.frames, result.frames, sample.prompt, remark(record))


def remark(record: Record) -> str:
    """Write the figures that say most, or why there is none, and what the sample cost."""
    scores = {name: value for values in record.scores.values() for name, value in values.items()}
    figures = [f"{name} {scores[name]:.2f}" for name in headlines() if isinstance(scores.get(name), float)]
    figures += lacking(scores)
    if "forward_equivalents" in record.trace:
        figures.append(f"{record.trace['forward_equivalents']} forward equivalents")
    return f"{record.id}: {', '.join(figures)}" if figures else record.id


def lacking(scores: Mapping[str, Any]) -> list[str]:
    """Say of every metric that was taken and has no figure why."""
    shown = headlines()
    words = []
    for spec in METRICS.values():
        name, status = spec.headlines[0], scores.get(f"{spec.name}_status")
        if name in shown and scores.get(name) is None and status not in (None, "ok"):
            words.append(f"no {name}: {scores.get(f'{name}_why') or str(status).replace('_', ' ')}")
    return words
