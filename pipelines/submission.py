"""The parts of every run, whatever its stages: check the place, take up what is left, loop, sum up."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from motionecho.runs.keys import digest
from motionecho.runs.provenance import versions
from motionecho.runs.store import RunStore
from pipelines.driver.interrupts import drained_by_signals
from pipelines.driver.loop import Loop
from pipelines.driver.outcomes import commit_bad_rows, now
from pipelines.driver.progress import Reporter
from pipelines.execution import Execution, Progress, Summary
from pipelines.machines.ray_cluster import connected
from pipelines.plan import Work
from pipelines.tasks import Job, Tally

Finish = Callable[[bool, Callable[[str], None]], str | None]  # (anything new?, where to complain) -> a report


def drive(
    work: Work,
    store: RunStore,
    identity: Mapping[str, Any],
    execution: Execution,
    make_loop: Callable[[list[Job], Reporter], Loop],
    on_event: Callable[[Progress], None],
    finish: Finish = lambda fresh, complain: None,
    facts: Mapping[str, Any] | None = None,
    manifest: str = "",
) -> Summary:
    """Do the work of one submission into `store` and say how it went; raises UserError before it begins.

    `make_loop` is called once Ray is there, and not at all where nothing is left to do. `facts` are noted in
    run.json beside the identity, for people; `manifest` is noted for whoever retries.
    """
    began, before = time.monotonic(), work.plan
    about = {"created_at": now(), "manifest": digest(sorted(work.tasks)), "versions": versions()}
    about |= facts or {}
    store.create(identity, about)
    again = set(work.given_up if work.retry_failed else ())
    store.forget_deleted(work.index)
    store.forget(again)
    bad = commit_bad_rows(store, work)
    left_behind = [record for record in work.index.loose if record.key not in again]
    store.compact([*left_behind, *bad])

    tally, stopped, interrupted = Tally(), None, False
    with Reporter(before, store, on_event, manifest) as reporter:
        if work.todo:
            with connected(execution):
                strikes = store.strikes()
                jobs = [Job(task, strikes=strikes.get(task.key, [])) for task in work.todo]
                loop = make_loop(jobs, reporter)
                with drained_by_signals(loop.drain, loop.kill) as signals:
                    tally = loop.run()
            stopped, interrupted = loop.stopped, signals.seen > 0
        reporter.end(tally)
        report = finish(tally.committed > 0, reporter.say)

    return Summary(
        total=before.rows,
        committed=tally.committed,
        already_done=before.done,
        failed=before.failed_before + len(before.bad) + tally.failed,
        left=before.todo - tally.committed - tally.failed + len(before.unread),
        unread=len(before.unread),
        stopped=stopped,
        interrupted=interrupted,
        seconds=round(time.monotonic() - began, 3),
        sheet=report,
        failures=dict(tally.failures),
    )
