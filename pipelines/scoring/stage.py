"""One video to its figures: read as it is, its reference brought to its frames and size, every metric run."""

import dataclasses
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from motionecho.cache import Recent
from motionecho.errors import Changed, UserError
from motionecho.metrics import Item, Scores, Shared, load_embedders, load_metrics
from motionecho.metrics.protocol import Embedder
from motionecho.metrics.registry import EMBEDDERS
from motionecho.runs import files
from motionecho.runs.keys import KEY_LENGTH, digest, file_digest
from motionecho.runs.store import RunStore
from motionecho.video import Clip
from motionecho.video.whole import read_like, read_whole
from pipelines.tasks import Payload, Stage, Task

if TYPE_CHECKING:
    from pipelines.scoring.run import Scoring


def build(names: tuple[str, ...], scoring: "Scoring", url: str) -> dict[str, Stage]:
    """Load the metrics; UserError where this machine's weights are others than the driver's."""
    return {"score": Scorer(scoring, RunStore(url))}


@dataclasses.dataclass(frozen=True)
class ScoreVideo(Payload):
    """A video to score, which its row names."""

    video_sha256: str
    item_key: str  # names by content what the figures are of
    metrics: tuple[str, ...]  # those to take


class Scorer:
    """A stage that takes every metric the task asks for, on one video."""

    def __init__(self, scoring: "Scoring", store: RunStore) -> None:
        self.scoring, self.store = scoring, store
        shared = Shared(scoring.device)
        embedders, missing = load_embedders([n for n in scoring.metrics if n in EMBEDDERS], shared)
        metrics, skipped = load_metrics([n for n in scoring.metrics if n not in EMBEDDERS], shared=shared)
        skipped |= missing
        self.embedders = {each.name: each for each in embedders}
        self.metrics = {each.name: each for each in metrics}
        loaded = {metric.name: metric.version for metric in metrics}
        loaded |= {embedder.name: embedder.version for embedder in embedders}
        for name, version in scoring.metrics.items():
            if name in skipped:
                raise UserError(f"{name} runs on the driver's machine but not on this one: {skipped[name]}")
            if loaded[name] != version:
                raise UserError(
                    f'{name} is "{loaded[name]}" on this machine and "{version}" on the driver\'s'
                )
        self.references: Recent[Clip] = Recent(4)

    def __call__(self, task: Task) -> dict[str, Any]:
        asked: ScoreVideo = task.payload
        if not asked.metrics:
            return {"scores": {}}
        sample = asked.sample
        with _recorded(sample.video or "", asked.video_sha256) as path:
            video = read_whole(path, sample.video or "", self.scoring.background)
        reference = self._reference(asked, video) if sample.reference else None
        item = Item(video.frames, None if reference is None else reference.frames, sample.prompt, video.fps)
        scores = {name: dict(self.metrics[name](item)) for name in asked.metrics if name in self.metrics}
        for name in asked.metrics:
            if name in self.embedders:
                scores[name] = self._embed(self.embedders[name], asked, item)
        return {"scores": scores}

    def _embed(self, embedder: Embedder, asked: ScoreVideo, item: Item) -> Scores:
        """Leave both videos' features in the store, named by content: one reference serves many videos."""
        name, (frames, height, width) = embedder.name, item.video.shape[:3]
        row: Scores = {f"{name}_video": self._leave(embedder, item.video, asked.item_key)}
        row[f"{name}_reference"] = None
        if item.reference is not None:
            window = dataclasses.asdict(asked.sample.window)
            read = [asked.reference_sha256, window, self.scoring.fit, frames, height, width]
            row[f"{name}_reference"] = self._leave(embedder, item.reference, digest(read))
        return row | {f"{name}_status": "ok"}

    def _leave(self, embedder: Embedder, frames: NDArray[np.uint8], content: str) -> str:
        uri = self.store.features_uri(digest([content, embedder.version])[:KEY_LENGTH])
        if read_features(self.store, uri) is None:
            with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
                local = os.path.join(folder, "features.npz")
                np.savez(local, features=embedder.embed(frames))
                self.store.put_blob(uri, local)
        return uri

    def _reference(self, asked: ScoreVideo, video: Clip) -> Clip:
        """Read the reference at the video's size, with as many frames, or as many as it has."""
        sample, size = asked.sample, (len(video.frames), *video.frames.shape[1:3])

        def read() -> Clip:
            with _recorded(sample.reference, asked.reference_sha256) as path:
                fit, under = self.scoring.fit, self.scoring.background
                return read_like(path, size, sample.window, fit, sample.reference, under)

        return self.references.get((asked.reference_sha256, sample.window, size), read)


def read_features(store: RunStore, uri: str) -> NDArray[np.float32] | None:
    """Read features [f, d] that a place of scores keeps; None where they are not there, or damaged.

    An npz has a checksum of what is in it; an npy, which older places have, shows only damage to its form.
    """
    try:
        data = store.folder.read(uri)
    except FileNotFoundError:
        return None
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        return np.asarray(found["features"] if isinstance(found, NpzFile) else found)
    except Exception:  # a damaged file fails in many ways, and all of them mean the same here
        return None


@contextmanager
def _recorded(uri: str, sha256: str) -> Iterator[str]:
    """Give a local path with the bytes of `uri`; raises Changed where they are not those of `sha256`."""
    with files.fetch(uri) as path:
        if file_digest(path) != sha256:
            raise Changed(
                f'"{uri}" is not what was recorded of it, or has changed meanwhile; once it is mended (for a '
                "run: motionecho batch verify), score again with --retry-failed"
            )
        yield path
