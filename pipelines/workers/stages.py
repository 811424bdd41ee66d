"""The work on one sample as plain callables that know nothing of Ray: Invert, Generate, Publish, Score.

Each takes a Task and returns a small dict (URIs, digests, numbers) that becomes part of the sample's record.
They read from and write to the store, so any of them may run in any process, and run again; Generate alone
hands over something larger, the Film that Publish takes.
"""

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import numpy as np
from safetensors import SafetensorError

from motionecho.cache import Recent
from motionecho.config import EchoConfig, RunSettings
from motionecho.echo import generate
from motionecho.errors import BadSample
from motionecho.gate import Gate
from motionecho.inversion import Motion, invert, motion_metadata
from motionecho.make import Made, Stopwatch, latent_digest
from motionecho.metrics import Item, Metric, Scores, load_metrics
from motionecho.models.registry import load_pair, pair_spec
from motionecho.runs import files
from motionecho.runs.keys import digest, file_digest, score_key
from motionecho.runs.notes import Blob
from motionecho.runs.provenance import provenance
from motionecho.runs.results import to_parquet
from motionecho.runs.store import RunStore
from motionecho.video import Clip, read_clip, write_video
from pipelines.tasks import STAGES, Film, MakeSample, Task
from pipelines.workers.canary import check


def build(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Callable[..., Any]]:
    """Load what the named stages need, once, and return them; they share models and caches.

    Beside them are "prefetch" and, where this process generates, "canary": see `worker.Worker`.
    """
    bench = Bench(settings, url)
    if any(stage.needs_models for stage in STAGES if stage.name in names):
        _ = bench.pair
    makers: dict[str, Callable[[Bench], Callable[..., Any]]]
    makers = {"invert": Invert, "generate": Generate, "publish": Publish, "score": Score}
    stages = {name: makers[name](bench) for name in names}
    stages["prefetch"] = partial(bench.prefetch, names)
    if "generate" in names:
        stages["canary"] = lambda device: check(bench.store, bench.pair, device)
    return stages


class Bench:
    """What the stages of one process have in common."""

    def __init__(self, settings: RunSettings, url: str) -> None:
        self.settings = settings
        self.store = RunStore(url)
        self.spec = pair_spec(settings.pair, settings.placement.weights)
        self.clips: Recent[Clip] = Recent(2)
        self.motions: Recent[Motion] = Recent(8)

    @cached_property
    def pair(self) -> Any:
        return load_pair(self.settings.pair, self.settings.placement, self.settings.dtype)

    def reference(self, asked: MakeSample) -> Clip:
        """The reference as the pair sees it; BadSample where the file changed since the run was planned."""
        sample, spec = asked.sample, self.spec

        def read() -> Clip:
            with files.fetch(sample.reference) as path:
                if file_digest(path) != asked.reference_sha256:
                    raise BadSample(f'"{sample.reference}" changed while the run went on; submit again')
                return read_clip(path, spec.frames, spec.height, spec.width, sample.window, self.settings.fit)

        return self.clips.get((asked.reference_sha256, sample.window), read)

    def motion(self, asked: MakeSample) -> Motion:
        """The inverted reference out of the store, on the pair's device; made anew where the file is damaged.

        Left as it is, such a file would fail every sample of its reference, in every run that shares it.
        """
        try:
            return self._cached(asked)
        except (SafetensorError, KeyError, BadSample):  # cut short, another's file, or swept away
            self.invert(asked, self.store.put_blob)
            return self._cached(asked)

    def _cached(self, asked: MakeSample) -> Motion:
        def read() -> Motion:
            with self.store.fetch(self.store.motion_uri(asked.motion_key)) as path:
                return Motion.load(path, self.pair.device)

        return self.motions.get(asked.motion_key, read)

    def invert(self, asked: MakeSample, publish: Callable[[str, str], Blob]) -> Blob:
        """Invert the reference, publish its motion, and say what was published."""
        motion = invert(self.pair, self.reference(asked).frames, asked.config)
        facts = motion_metadata(
            asked.config, key=asked.motion_key, pair=self.spec.name, reference_sha256=asked.reference_sha256
        )
        header = {"motionecho": json.dumps(facts, sort_keys=True)}  # one entry: several come in any order
        with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
            local = os.path.join(folder, "motion.safetensors")
            motion.save(local, header)
            return publish(self.store.motion_uri(asked.motion_key), local)

    def prefetch(self, names: tuple[str, ...], task: Task) -> None:
        """Read what a coming task needs; what fails here fails again, and is told, when its turn comes."""
        asked: MakeSample = task.payload
        uri = self.store.motion_uri(asked.motion_key)
        with suppress(Exception):
            if "invert" in names or "score" in names:
                self.reference(asked)
        with suppress(Exception):
            if "generate" in names and self.store.exists(uri):
                self._cached(asked)


class Invert:
    """Reference clip to motion, once per distinct reference: later samples find it in the store."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def __call__(self, task: Task) -> dict[str, Any]:
        bench = self.bench
        asked: MakeSample = task.payload
        uri = bench.store.motion_uri(asked.motion_key)
        if bench.motions.has(asked.motion_key) or bench.store.exists(uri):
            return {"motion": Blob(uri)}
        return {"motion": bench.invert(asked, bench.store.share_blob)}


class Generate:
    """Motion and prompt to a film, its trace and its latents' digest; again where a gate asks for it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.gate = Gate.parse(bench.settings.gate) if bench.settings.gate else None
        if self.gate:
            self.judge = self.gate.load_judge(bench.settings.placement.device)

    def __call__(self, task: Task) -> dict[str, Any]:
        bench, clock = self.bench, Stopwatch()
        asked: MakeSample = task.payload
        motion = bench.motion(asked)
        clock.lap("load")

        def make(config: EchoConfig, seed: int) -> Made:
            return self._make(asked, motion, config, seed, clock)

        tries: list[dict[str, Any]] = []
        if self.gate is None:
            made = make(asked.config, asked.sample.seed)
        else:
            made, tries = self.gate.best_of(
                make, partial(self._judge, asked), asked.config, asked.sample.seed
            )
            clock.lap("gate")
        return {
            "handed": Film(made.frames, made.trace.rows(), self._origin(task, made)),
            "latent_sha256": latent_digest(made.latents),
            "trace": made.trace.summary(),
            "seconds": clock.laps,
            "tries": tries,
        }

    def _make(
        self, asked: MakeSample, motion: Motion, config: EchoConfig, seed: int, clock: "Stopwatch"
    ) -> Made:
        bench, sample = self.bench, asked.sample
        latents, traces = generate(
            bench.pair, [motion], [sample.prompt], [seed], config, [sample.negative_prompt or ""]
        )
        clock.lap("sample")
        frames = bench.pair.codec.decode(latents)[0]
        clock.lap("decode")
        return Made(frames, latents[0], traces[0], config, seed)

    def _judge(self, asked: MakeSample, frames: np.ndarray) -> Scores:
        reference = self.bench.reference(asked).frames
        return self.judge(Item(frames, reference, asked.sample.prompt, self.bench.spec.fps))

    def _origin(self, task: Task, made: Made) -> dict[str, Any]:
        return provenance(
            sample_id=task.payload.id,
            key=task.key,
            pair=self.bench.spec.name,
            prompt=task.payload.sample.prompt,
            seed=made.seed,
            settings=digest(made.config.to_dict()),
            random_weights=self.bench.spec.is_random,
        )


class Publish:
    """A film to the store: the video and the table of its trace."""

    def __init__(self, bench: Bench) -> None:
        self.store, self.fps = bench.store, bench.spec.fps

    def __call__(self, task: Task, film: Film) -> dict[str, Any]:
        store = self.store
        with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
            video, stats = os.path.join(folder, "video.mp4"), os.path.join(folder, "trace.parquet")
            write_video(video, film.frames, self.fps, film.origin)
            with open(stats, "wb") as stream:
                stream.write(to_parquet(film.steps))
            return {
                "video": store.put_blob(store.video_uri(task.key, task.attempt), video),
                "stats": store.put_blob(store.stats_uri(task.key, task.attempt), stats),
            }


class Score:
    """Every metric that can run here, on the video as it was written; the others with their reason."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.metrics, self.skipped = load_metrics(bench.settings.metrics, bench.settings.placement.device)

    def __call__(self, task: Task) -> dict[str, Any]:
        bench, spec = self.bench, self.bench.spec
        if not self.metrics:
            return {"scores": {}, "skipped": self.skipped}
        if task.video is None:
            raise BadSample("there is no video to score")
        with bench.store.fetch(task.video) as path:
            video = read_clip(path, spec.frames, spec.height, spec.width)
        asked: MakeSample = task.payload
        item = Item(video.frames, bench.reference(asked).frames, asked.sample.prompt, video.fps)
        return {
            "scores": {metric.name: dict(metric(item)) for metric in self.metrics},
            "metrics": {metric.name: self._name(task, metric) for metric in self.metrics},
            "skipped": self.skipped,
        }

    @staticmethod
    def _name(task: Task, metric: Metric) -> dict[str, str]:
        return {"version": metric.version, "key": score_key(task.key, metric.name, metric.version)}
