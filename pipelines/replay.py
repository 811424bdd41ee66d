"""One sample made once more from its record, to be compared."""

import dataclasses
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from motionecho.errors import UserError
from motionecho.manifest import check_rows
from motionecho.manifest.lacking import completed
from motionecho.runs.notes import Host
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.video import read_clip
from pipelines.plan import plan_generation
from pipelines.retry import settings_of
from pipelines.tasks import STAGES, TEXT
from pipelines.workers.stages import build


@dataclass(frozen=True)
class Replay:
    """A sample made again beside its record; `frames` compares 8-bit values where the latents differ."""

    id: str
    key: str
    equal: bool
    recorded: str | None  # latents digests
    now: str
    notes: list[str]  # what is not as it was
    frames: dict[str, float] | None = None


def find(store: RunStore, sample: str) -> Record:
    """Find the finished sample of that id or key; UserError where there is none."""
    found = [record for record in store.records() if sample in (record.id, record.key)]
    ok = [record for record in found if record.ok]
    if not ok:
        why = (
            f"it failed: {found[0].error.message if found[0].error else None}"
            if found
            else "no record has that id or key"
        )
        raise UserError(f'cannot replay "{sample}" of {store.url}: {why}')
    if len(ok) > 1:  # two manifests of one run may have an id in common
        keys = ", ".join(record.key for record in ok)
        raise UserError(
            f'{len(ok)} samples of {store.url} have the id "{sample}": name one by its key, {keys}'
        )
    return ok[0]


def replay(
    store: RunStore,
    sample: str,
    device: str | None = None,
    out: str | None = None,
    manifest: str | None = None,
) -> Replay:
    """Make one sample again here, its inversion included, and compare the latents.

    `out` keeps the new video; `manifest` has what opens the reference, where the record may not hold it.
    Raises UserError where the sample's row cannot run any more.
    """
    record, settings = find(store, sample), settings_of(store, device)
    with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
        rows = check_rows(completed([record.inputs], manifest), store.url)
        work = plan_generation(store.url, settings, os.path.join(folder, "run"), rows=rows)
        if not work.todo:
            raise UserError(f'cannot replay "{record.id}": {[*work.bad, *work.unread][0].reason}')
        task = dataclasses.replace(work.todo[0], attempt="replay")
        _as_many_threads(record.where)
        made: dict[str, Any] = {}
        handed: Any = None
        specs = [spec for spec in STAGES if spec.needs_models or spec.takes_film]  # those that make the video
        if task.payload.texts:  # before the networks are there
            build((TEXT.name,), settings, os.path.join(folder, "run"))[TEXT.name](task)
        stages = build(tuple(spec.name for spec in specs), settings, os.path.join(folder, "run"))
        for spec in specs:
            part, handed = spec.call(stages[spec.name], task, handed)
            made |= part
        again = RunStore(os.path.join(folder, "run"))
        video = again.absolute(made["video"].uri)
        if out:
            with again.fetch(made["video"].uri) as local, open(local, "rb") as source:
                _save(source.read(), out)
        equal = made["latent_sha256"] == record.latent_sha256
        frames = None if equal else _differences(store, record, video)
    notes = []
    if task.payload.reference_sha256 != record.reference.get("sha256"):
        notes.append("the reference clip has changed since")
    elif task.key != record.key:
        notes.append("weights or code differ from the run's: the sample has another key here")
    if not equal:
        notes.append(f"it was made on: {record.made_on or 'a device that was not noted'}")
    return Replay(record.id, record.key, equal, record.latent_sha256, made["latent_sha256"], notes, frames)


def _differences(store: RunStore, record: Record, video: str) -> dict[str, float] | None:
    if record.video is None:
        return None
    with store.fetch(record.video.uri) as path:
        before, after = (_frames(each) for each in (path, video))
    if before.shape != after.shape:
        return None
    apart = np.abs(before - after)
    mse = float((apart**2).mean())
    psnr = 99.0 if mse == 0 else 10 * float(np.log10(255.0**2 / mse))
    return {"mean": round(float(apart.mean()), 4), "max": float(apart.max()), "psnr_db": round(psnr, 2)}


def _as_many_threads(where: Host | None) -> None:
    """Take as many threads as the record names: on a CPU sums round by their number."""
    import torch

    if where and where.threads:
        torch.set_num_threads(where.threads)


def _frames(path: str) -> Any:
    from motionecho.video import probe

    info = probe(path)
    return read_clip(path, info.frames, info.height, info.width).frames.astype(np.float32)


def _save(data: bytes, out: str) -> None:
    from motionecho.runs.local import replacing

    with replacing(out) as temporary, open(temporary, "wb") as stream:
        stream.write(data)
