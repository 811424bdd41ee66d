"""START HERE: a batch run from manifest to contact sheet.

    manifest -> plan -> [invert -> generate -> publish -> score] per sample, in actors -> commit -> results

Pairs whose text encoder is larger than their networks have a stage `text` before these.

Submitting the same manifest to the same place continues the run: what has a record is done.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ray

from motionecho.config import RunSettings
from motionecho.metrics import wants_gpu
from motionecho.models.registry import pair_spec
from motionecho.runs.keys import CODE_EPOCH, keyed
from motionecho.runs.notes import ErrorNote
from motionecho.runs.provenance import versions
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.driver.loop import Loop
from pipelines.driver.meters import Meters
from pipelines.driver.outcomes import Recorder
from pipelines.driver.pool import Pool
from pipelines.driver.progress import Reporter
from pipelines.execution import Execution, Progress, Summary
from pipelines.machines.ray_cluster import node_cores, pool_specs, text_pool
from pipelines.machines.resources import PoolSpec, laid_over, read_execution
from pipelines.plan import Plan, Work, plan_generation, texts_of
from pipelines.reporting.write import publish_report
from pipelines.sheet import publish_sheet
from pipelines.submission import drive, refuse
from pipelines.tasks import Job

__all__ = [
    "Execution",
    "Plan",
    "Progress",
    "Summary",
    "Work",
    "check",
    "identity",
    "plan_generation",
    "read_execution",
    "run",
]
FACTORY = "pipelines.workers.stages:build"


def run(
    manifest_path: str,
    settings: RunSettings,
    store_url: str,
    execution: Execution,
    on_event: Callable[[Progress], None] = lambda progress: None,
    work: Work | None = None,
    factory: str = FACTORY,
) -> Summary:
    """Make every video of the manifest that the store has no record of, and say how it went.

    `work` is a plan made just before, to save planning again; `factory` names what builds the stages.
    Raises UserError where manifest, settings, store or cluster cannot be used; a bad row is never an error.
    """
    work = work or plan_generation(
        manifest_path, settings, store_url, execution.limit, execution.retry_failed, execution.motions
    )
    store = RunStore(store_url, motions=execution.motions)
    filtered = {"filters": dict(work.filters)} if work.filters else {}

    def loop(jobs: list[Job], reporter: Reporter) -> Loop:
        return make_loop(jobs, settings, store, execution, reporter, factory, filtered)

    def draw(fresh: bool, complain: Callable[[str], None]) -> dict[str, str | None]:
        return {
            "sheet": publish_sheet(store, settings, work, fresh=fresh, on_problem=complain),
            "report": publish_report(store, fresh, complain),
        }

    facts = {"weights_at": list(settings.placement.weights)} | filtered
    return drive(work, store, identity(settings), execution, loop, on_event, draw, facts)


def check(work: Work, settings: RunSettings, store_url: str, execution: Execution) -> None:
    """Raise UserError where `run` could not begin, before anything is said of it."""
    refuse(work, RunStore(store_url, motions=execution.motions), identity(settings), execution)


def make_loop(
    jobs: list[Job],
    settings: RunSettings,
    store: RunStore,
    execution: Execution,
    reporter: Reporter,
    factory: str,
    facts: Mapping[str, Any] | None = None,
) -> Loop:
    """Build the DAG: jobs enter the first pool, its results the next, the last one's are committed.

    `facts` are noted in every record.
    """
    gpus = ray.cluster_resources().get("GPU", 0)
    helped = execution.separate is None and not wants_gpu(settings.metrics)
    specs = pool_specs(gpus, node_cores(), execution.workers, bool(execution.separate), helped)
    texts = texts_of(job.task for job in jobs)
    if texts and texts - store.texts():
        specs = [text_pool(node_cores()), *specs]
    pools = [
        Pool(spec, factory, _on(spec, gpus, settings), store.url, execution.backoff_s, execution.canary)
        for spec in laid_over(specs, execution.resources)
    ]
    spec = pair_spec(settings.pair, settings.placement.weights)
    methods = {job.task.payload.config.sampling.method for job in jobs} & {*spec.optional.values()}
    own = {method: spec.weights(method) for method in methods}
    make = Recorder(versions(), spec.weights(), own, {"pair": settings.pair} | dict(facts or {}))
    meters = Meters(store.url, len(jobs))

    def record(job: Job, error: ErrorNote | None) -> Record:
        made = make.record(job, error)
        meters.took(made)
        return made

    def tell(loop: Loop) -> None:
        if reporter.tell(loop):
            meters.tell(loop)

    return Loop(jobs, pools, store, execution, record, tell)


def _on(spec: PoolSpec, gpus: float, settings: RunSettings) -> RunSettings:
    """Return a pool's settings: its device is the CPU where it has no share of the cluster's GPUs."""
    cpu = replace(settings.placement, device="cpu")
    return replace(settings, placement=cpu) if gpus and not spec.num_gpus else settings


def identity(settings: RunSettings) -> dict[str, Any]:
    """Return what has to be equal for a run to continue: all that decides results, not where it computes."""
    spec = pair_spec(settings.pair, settings.placement.weights)
    weights = spec.weights(settings.echo.sampling.method)
    decides = settings.decides() | {"echo": keyed(settings.echo.to_dict())}
    return {"settings": decides, "weights": weights, "code_epoch": CODE_EPOCH}
