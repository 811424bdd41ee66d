"""Scoring videos that exist: a run's, a results table's, or those of any table with a `video` column.

    source -> rows -> keys -> [score] per video, in Ray actors -> commit -> results

A place of scores has the layout of a run. Its records are named by the score keys they hold, so that the same
command continues; a metric added later reads the videos again but takes no figure twice. Figures that a run's
own records hold, by the same version of the metric, are taken from there.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from motionecho.errors import MotionEchoError, Transient
from motionecho.manifest import BadRow, Sample
from motionecho.metrics import Shared, load_embedders, load_metrics
from motionecho.metrics.sets import SETS
from motionecho.runs.keys import KEY_LENGTH, digest, score_key
from motionecho.runs.layout import SCORES
from motionecho.runs.notes import ErrorNote, now
from motionecho.runs.places import opened
from motionecho.runs.provenance import versions
from motionecho.runs.records import Record
from motionecho.runs.results import Index
from motionecho.runs.store import RunStore
from pipelines.driver.loop import Loop
from pipelines.driver.pool import Pool
from pipelines.driver.progress import Reporter
from pipelines.execution import Execution, Progress, Summary
from pipelines.machines.ray_cluster import node_cores
from pipelines.machines.resources import PoolSpec
from pipelines.plan import Work, hash_references, rows_of, to_do, what_is_there
from pipelines.scoring.source import ScoredSource
from pipelines.scoring.stage import ScoreVideo
from pipelines.submission import drive
from pipelines.tasks import Job, StageSpec, Task

FACTORY = "pipelines.scoring.stage:build"
STAGE = StageSpec("score")


@dataclass(frozen=True)
class Scoring:
    """The grounds of figures: the metrics that can run here, with versions, and how a clip is fitted.

    An embedder counts as a metric; its row names the files with the features of both videos.
    """

    metrics: dict[str, str]
    skipped: dict[str, str]
    fit: str = "crop"
    device: str = "auto"
    background: str = "black"

    @classmethod
    def of(cls, names: Sequence[str], fit: str, device: str, background: str = "black") -> "Scoring":
        """Load the metrics once, to know their versions; they are let go again."""
        shared = Shared(device)
        wanted = dict.fromkeys(SETS[name] for name in names if name in SETS)
        metrics, skipped = load_metrics([name for name in names if name not in SETS], device, shared)
        embedders, missing = load_embedders(wanted, shared)
        found = {metric.name: metric.version for metric in metrics}
        found |= {embedder.name: embedder.version for embedder in embedders}
        return cls(found, skipped | missing, fit, device, background)

    def score_keys(self, item_key: str) -> dict[str, str]:
        """Name every metric's figure of an item, by its content and the metric's version."""
        return {name: score_key(item_key, name, version) for name, version in self.metrics.items()}


def plan_scoring(
    source: ScoredSource,
    scoring: Scoring,
    store_url: str,
    limit: int | None = None,
    retry_failed: bool = False,
) -> tuple[Work, dict[str, dict[str, Any]]]:
    """Say what is left to score, and which figures are known already, by score key. Writes nothing.

    A sample of which the run that made it has every figure is none of the work's tasks.
    """
    rows = source.rows[:limit]
    bad = [row for row in rows if isinstance(row, BadRow)]
    samples = [row for row in rows if isinstance(row, Sample)]
    index, _ = what_is_there(store_url)
    store = RunStore(store_url)
    places = [s.reference for s in samples if s.reference]
    places += [s.video for s in samples if s.video and s.video not in source.videos]
    hashed = hash_references(places, [*index.values(), *source.known])
    hashed |= {uri: (sha256, "") for uri, sha256 in source.videos.items()}

    tasks: dict[str, Task] = {}
    unread: list[BadRow] = []
    known: dict[str, dict[str, Any]] = {}
    alike = (source.fit, source.background) == (scoring.fit, scoring.background)
    for sample in samples:
        video = hashed[opened(sample.video or "")]
        reference = hashed[opened(sample.reference)] if sample.reference else ("", "")
        if isinstance(video, MotionEchoError) or isinstance(reference, MotionEchoError):
            wrong = video if isinstance(video, MotionEchoError) else reference
            row = BadRow(sample.row, sample.id, str(wrong), sample.inputs())
            (unread if isinstance(wrong, Transient) else bad).append(row)
            continue
        item = _item_key(sample, video[0], reference[0], scoring)
        keys = scoring.score_keys(item)
        own = source.figures.get(sample.video or "", {}) if alike else {}
        own = {name: figures for name, figures in own.items() if scoring.metrics.get(name) == figures[0]}
        if own.keys() >= keys.keys():
            continue
        known |= {keys[name]: row for name, (_, row) in own.items()}
        key = digest([sample.id, *sorted(keys.values())])[:KEY_LENGTH]
        asked = ScoreVideo(sample, *reference, video[0], item, tuple(scoring.metrics))
        tasks[key] = Task(key, reference[0], asked)

    todo = to_do(tasks, index, retry_failed)
    known |= _known(store, index) if todo and index else {}
    left = [_without_known(task, scoring, known) for task in todo]
    bad.sort(key=lambda row: row.row)
    named = {source.name: rows_of(tasks, [*bad, *unread])}
    work = Work(tasks, tuple(left), bad, index, retry_failed, set(), named, unread)
    return work, known


def _item_key(sample: Sample, video_sha256: str, reference_sha256: str, scoring: Scoring) -> str:
    """Name what a figure is of: both files' bytes, how the reference is read, and the prompt."""
    window = dataclasses.asdict(sample.window)
    read = [video_sha256, reference_sha256, window, scoring.fit, sample.prompt]
    under = [] if scoring.background == "black" else [scoring.background]
    return digest([*read, *under])[:KEY_LENGTH]


def _known(store: RunStore, index: Index) -> dict[str, dict[str, Any]]:
    """Return every figure in the place, by score key."""
    return {
        record.metrics[name]["key"]: row
        for record in store.records(index)
        for name, row in record.scores.items()
        if name in record.metrics
    }


def _without_known(task: Task, scoring: Scoring, known: dict[str, Any]) -> Task:
    """Take the metrics out of a task whose figures are known."""
    keys = scoring.score_keys(task.payload.item_key)
    left = tuple(name for name in task.payload.metrics if keys[name] not in known)
    return dataclasses.replace(task, payload=dataclasses.replace(task.payload, metrics=left))


def run(
    source: ScoredSource,
    scoring: Scoring,
    store_url: str,
    execution: Execution,
    on_event: Callable[[Progress], None] = lambda progress: None,
    factory: str = FACTORY,
) -> tuple[Summary, list[Record]]:
    """Score every row that the place holds no figures of; return how it went and the records of all rows.

    Raises UserError where place or cluster cannot be used; a bad row never is an error.
    """
    began = time.monotonic()
    work, known = plan_scoring(source, scoring, store_url, execution.limit, execution.retry_failed)
    plan, whole = work.plan, len(source.rows[: execution.limit])
    known_whole = whole - plan.rows  # samples that have all their figures from when they were made
    if known_whole and not plan.rows:
        return _nothing_to_do(known_whole, time.monotonic() - began), []
    store, software = RunStore(store_url), versions()

    def record(job: Job, error: ErrorNote | None) -> Record:
        return make_record(job, error, scoring, known, software)

    def loop(jobs: list[Job], reporter: Reporter) -> Loop:
        spec = pool_spec(ray.cluster_resources().get("GPU", 0), node_cores(), execution.workers)
        pool = Pool(spec, factory, scoring, store.url, execution.backoff_s)
        return Loop(jobs, [pool], store, execution, record, reporter.tell)

    under = {} if scoring.background == "black" else {"background": scoring.background}
    identity = {"scoring": {"fit": scoring.fit} | under}
    summary = drive(work, store, identity, execution, loop, on_event)
    summary = dataclasses.replace(summary, total=whole, already_done=summary.already_done + known_whole)
    return summary, [found for found in store.records() if found.key in work.tasks]


def _nothing_to_do(known: int, seconds: float) -> Summary:
    return Summary(total=known, committed=0, already_done=known, failed=0, left=0, stopped=None,
                   interrupted=False, seconds=round(seconds, 3), sheet=None)  # fmt: skip


def pool_spec(gpus: float, nodes: list[float], workers: int | None) -> PoolSpec:
    """Plan one worker a core, as tracking uses one; with GPUs one a GPU, or `workers` that share them."""
    size = workers or int(gpus) or max(1, int(sum(nodes)))
    share = min(1.0, int(gpus) / size)
    return PoolSpec((STAGE,), size, share, min(1.0, (sum(nodes) or 1.0) / size), None if gpus else 1)


def make_record(
    job: Job,
    error: ErrorNote | None,
    scoring: Scoring,
    known: dict[str, dict[str, Any]],
    software: dict[str, str],
) -> Record:
    """Make the record of a scored video: figures taken now beside those that were known."""
    keys = scoring.score_keys(job.task.payload.item_key)
    scores = {name: known[key] for name, key in keys.items() if key in known} | job.result.get("scores", {})
    return Record(
        key=job.task.key,
        generation=job.task.generation,
        status="failed" if error else "ok",
        attempts=len(job.strikes) + job.infra + (error is None),
        scores={} if error else {name: scores[name] for name in scoring.metrics},
        metrics={name: {"version": scoring.metrics[name], "key": key} for name, key in keys.items()},
        skipped=scoring.skipped,
        seconds=job.result.get("seconds", {}),
        strikes=job.strikes,
        error=error,
        where=job.where,
        versions=software,
        committed_at=now(),
        **job.task.payload.for_record(),
    )


def default_place(source: ScoredSource, name: str) -> str:
    """Name the place: beside the run, or in `scores/<table's name>` here."""
    return RunStore(source.place).scores_url if source.place else f"{SCORES}/{name}"
