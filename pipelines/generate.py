"""START HERE: a batch run from manifest to contact sheet.

    manifest -> survey -> [invert -> generate -> score] per sample, in Ray actors -> commit -> results, sheet

Submitting the same manifest to the same place continues the run: what has a record is done.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

import ray

from motionecho.backbones.registry import pair_spec
from motionecho.config import RunSettings
from motionecho.keys import CODE_EPOCH, digest
from motionecho.provenance import versions
from motionecho.store import RunStore
from pipelines.cluster import connected, node_cores, pool_specs
from pipelines.engine import Engine, Progress, Summary
from pipelines.interrupts import drained_by_signals
from pipelines.loop import Loop
from pipelines.outcomes import Recorder, commit_bad_rows, now
from pipelines.plan import Plan, Work, survey
from pipelines.pool import Pool
from pipelines.progress import Reporter
from pipelines.sheet import publish_sheet
from pipelines.tasks import Job, Tally

__all__ = ["Engine", "Plan", "Progress", "Summary", "Work", "plan", "run", "survey"]
STAGES = "pipelines.stages:build"


def plan(manifest_path: str, settings: RunSettings, store_url: str, limit: int | None = None) -> Plan:
    """Say what a run would do; writes nothing. Raises UserError as `run` would."""
    return survey(manifest_path, settings, store_url, limit).plan


def run(
    manifest_path: str,
    settings: RunSettings,
    store_url: str,
    engine: Engine,
    on_event: Callable[[Progress], None] = lambda progress: None,
    work: Work | None = None,
    factory: str = STAGES,
) -> Summary:
    """Make every video of the manifest that the store has no record of, and say how it went.

    `work` is a survey made just before, to save making it again; `factory` names what builds the stages.
    Raises UserError where manifest, settings, store or cluster cannot be used; a bad row is never an error.
    """
    began = time.monotonic()
    work = work or survey(manifest_path, settings, store_url, engine.limit, engine.retry_failed)
    store, before = RunStore(store_url), work.plan
    about = {"created_at": now(), "manifest": digest(sorted(work.tasks)), "versions": versions(),
             "weights_at": list(settings.weights)}  # fmt: skip
    store.create(identity(settings), about)
    store.forget_deleted()
    store.forget(work.given_up if work.retry_failed else ())
    commit_bad_rows(store, work)
    store.compact(store.uncompacted())

    tally, stopped, interrupted = Tally(), None, False
    with Reporter(before, store, on_event) as reporter:
        if work.todo:
            with connected(engine):
                loop = make_loop(work, settings, store, engine, reporter, factory)
                with drained_by_signals(loop.drain, loop.kill) as signals:
                    tally = loop.run()
            stopped, interrupted = loop.stopped, signals.seen > 0
        reporter.end(tally)
        sheet = publish_sheet(store, settings, work, fresh=tally.committed > 0, on_problem=reporter.say)

    return Summary(
        total=before.rows,
        committed=tally.committed,
        already_done=before.done,
        failed=before.failed_before + len(before.bad) + tally.failed,
        left=before.todo - tally.committed - tally.failed,
        stopped=stopped,
        interrupted=interrupted,
        seconds=round(time.monotonic() - began, 3),
        sheet=sheet,
        failures=dict(tally.failures),
    )


def make_loop(
    work: Work, settings: RunSettings, store: RunStore, engine: Engine, reporter: Reporter, factory: str
) -> Loop:
    """The DAG: jobs enter the first pool, its results enter the next, the last one's are committed."""
    specs = pool_specs(ray.cluster_resources().get("GPU", 0), node_cores(), engine.workers, engine.separate)
    pools = [Pool(spec, factory, settings, store.url, engine.backoff_s) for spec in specs]
    strikes = store.strikes()
    jobs = [Job(task, strikes=strikes.get(task.key, [])) for task in work.todo]
    make = Recorder(versions(), pair_spec(settings.pair, settings.weights).weights())
    return Loop(jobs, pools, store, engine, secrets.token_hex(3), make.record, reporter.tell)


def identity(settings: RunSettings) -> dict[str, Any]:
    """What has to be equal for a run to be continued: all that decides results, not where it computes."""
    values = settings.to_dict()
    for where in ("device", "weights", "offload"):  # of the weights, their sha256 counts
        values.pop(where)
    weights = pair_spec(settings.pair, settings.weights).weights()
    return {"settings": values, "weights": weights, "code_epoch": CODE_EPOCH}
