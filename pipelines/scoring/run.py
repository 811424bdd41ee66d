"""Scoring videos that exist: a run's, a results table's, or those of any table with a `video` column.

    source -> rows -> keys -> [score] per video, in Ray actors -> commit -> results

A place of scores has the layout of a run. Its records are named by the score keys they hold, so that the same
command continues; a metric added later reads the videos again but takes no figure twice.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from motionecho.errors import MotionEchoError, Transient, UserError
from motionecho.manifest import BadRow, Sample, check_rows
from motionecho.manifest.lacking import completed
from motionecho.manifest.tables import TABLES, RawRow, read_table
from motionecho.metrics import Shared, load_embedders, load_metrics
from motionecho.metrics.sets import SETS
from motionecho.runs.files import absolute
from motionecho.runs.keys import KEY_LENGTH, digest, score_key
from motionecho.runs.layout import SCORES
from motionecho.runs.notes import ErrorNote, now
from motionecho.runs.places import Place, opened
from motionecho.runs.provenance import versions
from motionecho.runs.records import OUTCOME_PREFIX, Record
from motionecho.runs.results import Entry, Index
from motionecho.runs.store import RunStore
from pipelines.driver.loop import Loop
from pipelines.driver.pool import Pool
from pipelines.driver.progress import Reporter
from pipelines.execution import Execution, Progress, Summary
from pipelines.machines.ray_cluster import node_cores
from pipelines.machines.resources import PoolSpec
from pipelines.plan import Work, hash_references, rows_of, to_do, what_is_there
from pipelines.scoring.stage import ScoreVideo
from pipelines.submission import drive
from pipelines.tasks import Job, StageSpec, Task

FACTORY = "pipelines.scoring.stage:build"
STAGE = StageSpec("score")
REQUIRED = ("video",)


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


@dataclass(frozen=True)
class ScoredSource:
    """The rows to score. `without` counts rows that have no video because they failed when it was made."""

    rows: list[Sample | BadRow]
    name: str  # its path or URL
    without: int = 0
    place: str | None = None  # the run's own folder, where it is one
    fit: str | None = None  # how the run brought its references to size
    background: str = "black"  # and what it laid under what is transparent in them
    known: tuple[Entry, ...] = ()  # references hashed before
    videos: dict[str, str] = dataclasses.field(default_factory=dict)  # sha256 by URI, where known

    def records(self) -> Iterator[Record]:
        """Return the run's own records, for what they say of cost and of scores taken when it was made."""
        return RunStore(self.place).records() if self.place else iter(())

    @property
    def missing(self) -> list[str]:
        """The columns that metrics ask for and no row has."""
        samples = [row for row in self.rows if isinstance(row, Sample)]
        return [name for name in ("reference", "prompt") if not any(getattr(s, name) for s in samples)]


def read_source(place: str, manifest: str | None = None) -> ScoredSource:
    """Read a run, a results table or any table with a `video` column; UserError where it is none of these.

    `manifest` has what opens those files whose places are stored without it.
    """
    if Place(place).name.lower().endswith(TABLES):
        raw = read_table(place, outcomes=True)
        rows = completed([_as_video_row(row) for row in raw if not _failed(row)], manifest)
        checked = check_rows(rows, place, REQUIRED) if rows else []
        return ScoredSource(checked, absolute(place), len(raw) - len(rows))
    store = RunStore(place)
    about = store.run()
    if about is None:
        raise UserError(
            f'nothing to score at "{place}": it is neither a run nor a .parquet, .csv or .jsonl table'
        )
    settings = about.get("identity", {}).get("settings")
    if settings is None:
        raise UserError(f'"{place}" holds scores, not videos; name the run or the table they were made from')
    records = list(store.records())
    made = [record for record in records if record.ok and record.video]
    videos = [(store.absolute(blob.uri), blob.sha256) for r in made if (blob := r.video)]
    rows = [record.inputs | {"video": uri} for record, (uri, _) in zip(made, videos, strict=True)]
    rows = completed(rows, manifest)
    return ScoredSource(
        rows=check_rows(rows, place, REQUIRED) if rows else [],
        name=store.url,
        without=len(records) - len(made),
        place=store.url,
        fit=settings.get("fit"),
        background=settings.get("echo", {}).get("background", "black"),
        known=tuple(Entry.of(record) for record in made),
        videos={uri: sha256 for uri, sha256 in videos if sha256},
    )


def _failed(row: RawRow) -> bool:
    return isinstance(row, dict) and row.get(f"{OUTCOME_PREFIX}status") == "failed"


def _as_video_row(row: RawRow) -> RawRow:
    """Show a results row's video under the name that any table uses."""
    if isinstance(row, str):
        return row
    plain = {n: value for n, value in row.items() if value is not None and not n.startswith(OUTCOME_PREFIX)}
    video = row.get(f"{OUTCOME_PREFIX}video")
    return {"video": video} | plain if video is not None else plain


def plan_scoring(
    source: ScoredSource,
    scoring: Scoring,
    store_url: str,
    limit: int | None = None,
    retry_failed: bool = False,
) -> tuple[Work, dict[str, dict[str, Any]]]:
    """Say what is left to score, and which figures are known already, by score key. Writes nothing."""
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
    for sample in samples:
        video = hashed[opened(sample.video or "")]
        reference = hashed[opened(sample.reference)] if sample.reference else ("", "")
        if isinstance(video, MotionEchoError) or isinstance(reference, MotionEchoError):
            wrong = video if isinstance(video, MotionEchoError) else reference
            row = BadRow(sample.row, sample.id, str(wrong), sample.inputs())
            (unread if isinstance(wrong, Transient) else bad).append(row)
            continue
        item = _item_key(sample, video[0], reference[0], scoring)
        key = digest([sample.id, *sorted(scoring.score_keys(item).values())])[:KEY_LENGTH]
        asked = ScoreVideo(sample, *reference, video[0], item, tuple(scoring.metrics))
        tasks[key] = Task(key, reference[0], asked)

    todo = to_do(tasks, index, retry_failed)
    known = _known(store, index) if todo and index else {}
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
    work, known = plan_scoring(source, scoring, store_url, execution.limit, execution.retry_failed)
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
    return summary, [found for found in store.records() if found.key in work.tasks]


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
