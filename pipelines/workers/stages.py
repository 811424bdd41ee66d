"""The work on one sample as plain callables without Ray: Text, Invert, Train, Generate, Publish, Score.

Each takes a Task and returns a small dict (URIs, digests, numbers) that becomes part of the sample's record.
They read from and write to the store, so any of them may run in any process, and run again; Generate alone
hands over something larger, the Film that Publish takes.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from motionecho.cache import Recent
from motionecho.config import RunSettings
from motionecho.errors import BadSample, Damaged, NotThere
from motionecho.guidance.strategy import as_planned
from motionecho.inversion import Motion
from motionecho.make import Made, Maker
from motionecho.metrics import Item, Metric, load_metrics
from motionecho.models.references import read_reference
from motionecho.models.registry import load_pair, pair_spec
from motionecho.models.texts import EncodedText, load_text
from motionecho.report.preview import write_preview
from motionecho.runs.keys import score_key
from motionecho.runs.notes import Blob
from motionecho.runs.store import RunStore
from motionecho.runs.tables import steps_table, written
from motionecho.trace import Stopwatch, by_column
from motionecho.video import Clip, read_clip, write_video
from pipelines.tasks import STAGES, Film, MakeSample, Task
from pipelines.workers.canary import check


def build(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Callable[..., Any]]:
    """Load what the named stages need, once, and return them; they share models and caches.

    Beside them are "prefetch" and, where this process generates, "canary": see `worker.Worker`.
    """
    common = Common(settings, url)
    if any(stage.needs_models for stage in STAGES if stage.name in names):
        _ = common.maker
    makers: dict[str, Callable[[Common], Callable[..., Any]]]
    makers = {"text": Text, "invert": Invert, "train": Train, "generate": Generate, "publish": Publish}
    makers["score"] = Score
    stages = {name: makers[name](common) for name in names}
    stages["prefetch"] = partial(common.prefetch, names)
    if "generate" in names:
        stages["canary"] = lambda device: check(common.store, common.maker.pair, device)
    return stages


class Common:
    """The things that stages of one process share: the maker with its pair, the store, what was read last."""

    def __init__(self, settings: RunSettings, url: str) -> None:
        self.settings = settings
        self.store = RunStore(url)
        self.spec = pair_spec(settings.pair, settings.placement.weights)
        self.clips: Recent[Clip] = Recent(2)
        self.motions: Recent[Motion] = Recent(8)
        self.texts: Recent[EncodedText] = Recent(32)

    @cached_property
    def maker(self) -> Maker:
        settings = self.settings
        pair = load_pair(settings.pair, settings.placement, settings.dtype)
        return Maker(pair, settings.fit, settings.gate, settings.placement.device)

    def reference(self, asked: MakeSample) -> Clip:
        """Read the reference as the pair sees it; BadSample where it changed since the run was planned."""
        sample, sha256 = asked.sample, asked.reference_sha256
        under = asked.config.reference.background

        def read() -> Clip:
            fit = self.settings.fit
            return read_reference(sample.reference, self.spec, sample.window, fit, under, sha256)

        return self.clips.get((sha256, sample.window, under), read)

    def motion(self, asked: MakeSample) -> Motion:
        """Read the motion out of the store, to the pair's device; it is made anew where the file is damaged.

        Left as it is, such a file would spoil every sample of its reference, in every run that shares it.
        """
        as_planned(asked.config.reference.strategy, asked.giver)
        try:
            return self.cached(asked)
        except (Damaged, BadSample):  # of other bytes, another's, of an older version; or swept away
            return self.motions.get(asked.motion_key, lambda: self.invert(asked, self.store.put_blob)[0])

    def cached(self, asked: MakeSample) -> Motion:
        def read() -> Motion:
            with self.store.fetch(self.store.motion_uri(asked.motion_key)) as path:
                return Motion.load(path, self.maker.pair.device, asked.motion_key)

        return self.motions.get(asked.motion_key, read)

    def invert(self, asked: MakeSample, publish: Callable[[str, str], Blob]) -> tuple[Motion, Blob]:
        """Invert the reference and publish its motion; return it, and what was published."""
        as_planned(asked.config.reference.strategy, asked.giver)
        self.remember(asked)
        motion = self.maker.motion(self.reference(asked), asked.config)
        with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
            local = os.path.join(folder, "motion.safetensors")
            motion.save(local, key=asked.motion_key, reference_sha256=asked.reference_sha256)
            return motion, publish(self.store.motion_uri(asked.motion_key), local)

    def text(self, key: str) -> EncodedText:
        """Read an encoded text out of the store; Damaged or NotThere where it is not as it was written."""

        def read() -> EncodedText:
            with self.store.fetch(self.store.text_uri(key)) as path:
                return EncodedText.load(path, key)

        return self.texts.get(key, read)

    def remember(self, asked: MakeSample) -> None:
        """Hand the pair the sample's texts as its stage encoded them; what is damaged it encodes itself."""
        for _, key in asked.texts:
            assert self.maker.pair.remember  # as its spec has the stage
            with suppress(Damaged, BadSample):
                self.maker.pair.remember(self.text(key))

    def prefetch(self, names: tuple[str, ...], task: Task) -> None:
        """Read what a coming task needs; what fails here fails again, and is told, when its turn comes."""
        asked: MakeSample = task.payload
        uri = self.store.motion_uri(asked.motion_key)
        with suppress(Exception):
            if "invert" in names or "train" in names or "score" in names:
                self.reference(asked)
        with suppress(Exception):
            for _, key in asked.texts if {"invert", "generate"} & {*names} else ():
                self.text(key)
        with suppress(Exception):
            if "generate" in names and self.store.exists(uri):
                self.cached(asked)


class Text:
    """A stage that encodes texts, once per distinct one, and has no network beside their encoder.

    Those after it find them stored.
    """

    def __init__(self, common: Common) -> None:
        self.common, self.whole = common, set[str]()  # keys of what is there as it should be
        self.encode = load_text(common.spec, common.settings.placement)

    def __call__(self, task: Task) -> dict[str, Any]:
        asked: MakeSample = task.payload
        new = [(text, key) for text, key in asked.texts if key not in self.whole]
        made = sum(self._make(text, key) for text, key in new)
        self.whole.update(key for _, key in new)
        return {"texts": made} if made else {}

    def _make(self, text: str, key: str) -> bool:
        """Make sure of an encoded text; False where it was there."""
        store = self.common.store
        try:
            self.common.text(key)
            return False
        except NotThere:
            publish = store.share_blob
        except Damaged:
            publish = store.put_blob
        with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
            local = os.path.join(folder, "text.safetensors")
            self.encode(text).save(local, key=key)
            publish(store.text_uri(key), local)
        return True


class Invert:
    """A stage from reference clip to motion, once per distinct reference: later samples find it stored.

    Strategies that train on the reference leave it to the next stage, whose time is then told apart.
    """

    trains = False

    def __init__(self, common: Common) -> None:
        self.common = common

    def __call__(self, task: Task) -> dict[str, Any]:
        common = self.common
        asked: MakeSample = task.payload
        if asked.config.reference.trains != self.trains:
            return {}
        uri = common.store.motion_uri(asked.motion_key)
        if common.motions.has(asked.motion_key) or common.store.exists(uri):
            return {"motion": Blob(uri)}
        motion, clip = common.invert(asked, common.store.share_blob)[1], common.reference(asked)
        return {"motion": motion, "warnings": clip.remarks}


class Train(Invert):
    """A stage from reference clip to a motion with what was trained on it, once per distinct reference.

    One whose worker is killed begins again, to the same bits.
    """

    trains = True


class Generate:
    """A stage from motion and prompt to a film, its trace and latents' digest; again where a gate asks."""

    def __init__(self, common: Common) -> None:
        self.common = common
        _ = common.maker.judge  # a gate that cannot be judged here stops the worker, not its samples

    def __call__(self, task: Task) -> dict[str, Any]:
        common, watch = self.common, Stopwatch()
        asked: MakeSample = task.payload
        sample, motion = asked.sample, common.motion(asked)
        common.remember(asked)
        watch.lap("load")
        made = common.maker.make(
            motion, sample.prompt, sample.seed, asked.config, sample.negative_prompt or "",
            reference=lambda: common.reference(asked),
        )  # fmt: skip
        return {
            "handed": Film(made.frames, made.trace.rows(), made.origin(sample.id, task.key)),
            "latent_sha256": made.latent_sha256,
            "trace": made.trace.summary(),
            "facts": self._facts(made),
            "seconds": watch.laps | made.seconds,
            "tries": made.tries,
        }

    def _facts(self, made: Made) -> dict[str, Any]:
        """Say what tables tell of a video; its file has even sizes, as `write_video` pads it."""
        frames, height, width, _ = made.frames.shape
        size = {"width": width + width % 2, "height": height + height % 2}
        dtype = str(self.common.maker.pair.codec.dtype).removeprefix("torch.")
        return {"dtype": dtype, **size, "frames": frames, "fps": made.fps}


class Publish:
    """A stage from a film to the store: the video, the table of its trace, and a preview for reports."""

    def __init__(self, common: Common) -> None:
        self.common, self.store, self.fps = common, common.store, common.spec.fps

    def __call__(self, task: Task, film: Film) -> dict[str, Any]:
        store = self.store
        with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
            video, stats = os.path.join(folder, "video.mp4"), os.path.join(folder, "trace.parquet")
            write_video(video, film.frames, self.fps, film.origin)
            with open(stats, "wb") as stream:
                stream.write(written(steps_table(film.steps, task.key, task.payload.id)))
            made = {
                "video": store.put_blob(store.video_uri(task.key, task.attempt), video),
                "stats": store.put_blob(store.stats_uri(task.key, task.attempt), stats),
                "steps": by_column(film.steps),
            }
            watch = Stopwatch()
            with suppress(Exception):  # a report goes without, or makes it later and says why it could not
                made["preview"] = self._preview(task, film, os.path.join(folder, "preview.mp4"))
            watch.lap("preview")
        return made | {"seconds": watch.laps}

    def _preview(self, task: Task, film: Film, local: str) -> Blob:
        write_preview(local, self.common.reference(task.payload).frames, film.frames, self.fps, film.origin)
        return self.store.put_blob(self.store.preview_uri(task.key, task.attempt), local)


class Score:
    """A stage that takes every metric that can run, on the video as written; the others with their reason."""

    def __init__(self, common: Common) -> None:
        self.common = common
        self.metrics, self.skipped = load_metrics(common.settings.metrics, common.settings.placement.device)

    def __call__(self, task: Task) -> dict[str, Any]:
        common, spec = self.common, self.common.spec
        if not self.metrics:
            return {"scores": {}, "skipped": self.skipped}
        if task.video is None:
            raise BadSample("there is no video to score")
        with common.store.fetch(task.video) as path:
            video = read_clip(path, spec.frames, spec.height, spec.width)
        asked: MakeSample = task.payload
        item = Item(video.frames, common.reference(asked).frames, asked.sample.prompt, video.fps)
        return {
            "scores": {metric.name: dict(metric(item)) for metric in self.metrics},
            "metrics": {metric.name: self._name(task, metric) for metric in self.metrics},
            "skipped": self.skipped,
        }

    @staticmethod
    def _name(task: Task, metric: Metric) -> dict[str, str]:
        return {"version": metric.version, "key": score_key(task.key, metric.name, metric.version)}
