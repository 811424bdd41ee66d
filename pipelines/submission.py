"""The parts of every run, whatever its stages: check the place, take up what is left, loop, sum up."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ray

from motionecho.metrics import plugged_in
from motionecho.runs.keys import digest
from motionecho.runs.notes import now
from motionecho.runs.provenance import versions
from motionecho.runs.results import Entry
from motionecho.runs.store import RunStore
from pipelines.driver.interrupts import drained_by_signals
from pipelines.driver.loop import Loop
from pipelines.driver.outcomes import commit_bad_rows
from pipelines.driver.progress import Reporter
from pipelines.execution import Execution, Progress, Summary
from pipelines.machines import surroundings
from pipelines.machines.ray_cluster import address_of, connected, head_watched
from pipelines.plan import Work
from pipelines.tasks import Job, Tally

Finish = Callable[[bool, Callable[[str], None]], dict[str, str | None]]  # (anything new?, where to complain)


def drive(
    work: Work,
    store: RunStore,
    identity: Mapping[str, Any],
    execution: Execution,
    make_loop: Callable[[list[Job], Reporter], Loop],
    on_event: Callable[[Progress], None],
    finish: Finish = lambda fresh, complain: {},
    facts: Mapping[str, Any] | None = None,
) -> Summary:
    """Do the work of one submission into `store` and say how it went; raises UserError before it begins.

    `make_loop` is called once Ray is there, and not at all where nothing is left to do. `facts` are noted in
    run.json beside the identity, for people; `finish` draws what people look at, and says where it is. What
    the summary counts is in the store when it is counted.
    """
    began, before = time.monotonic(), work.plan
    about = {"created_at": now(), "manifest": digest(sorted(work.tasks)), "versions": versions()}
    about |= facts or {}
    refuse(work, store, identity, execution)

    def wait(message: str) -> None:
        on_event(Progress(before.rows, before.done, before.failed_before, message=message))

    lease = store.take_lease("driver", work.sources, wait)
    tally, stopped, interrupted = Tally(), None, False
    pages: dict[str, str | None] = {}
    with Reporter(before, store, lease, on_event) as reporter:
        store.create(identity, about)
        for sentence in work.index.damaged:
            reporter.say(sentence)
        bad = commit_bad_rows(store, work)
        todo = {task.key for task in work.todo}
        loose = [record for record in work.index.loose if record.key not in todo]
        store.expect(work.index, _carried(work), plugged_in())
        _cached(lambda: store.compact([*loose, *bad]), reporter)
        _cached(lambda: store.tidy(work.index), reporter)
        if work.todo:
            with connected(execution):
                strikes = store.strikes(reporter.say)
                jobs = [Job(task, strikes=strikes.get(task.key, [])) for task in work.todo]
                loop = make_loop(jobs, reporter)
                lose = _losing(loop, reporter)
                with drained_by_signals(loop.drain, loop.kill) as signals, head_watched(lose):
                    tally = loop.run()
            stopped, interrupted = loop.stopped, signals.seen > 0
        if store.uneven or any(entry.generation > 1 for entry in tally.records.values()):
            _cached(lambda: store.tidy(store.index(), unlike=True), reporter)  # rows of what was made again
        reporter.end(tally)
        made, there, lost = _counted(store, work, [Entry.of(record) for record in bad], tally)
        if lost:
            stopped = (
                f"{lost} of {len(made) + len(there) + lost} finished samples are not in {store.url} any "
                "more: it was deleted or moved while the run went on; submit again to make them"
            )
        else:
            pages = finish(tally.committed > 0, reporter.say)

    committed, already_done = sum(e.ok for e in made), sum(e.ok for e in there)
    failed = sum(e.failed for e in (*made, *there))
    return Summary(
        total=before.rows,
        committed=committed,
        already_done=already_done,
        failed=failed,
        left=before.rows - committed - already_done - failed,
        unread=len(before.unread),
        warned=len(tally.warned),
        warned_of=tally.warned[0] if tally.warned else None,
        put_off=tally.put_off.total(),
        put_off_for=tally.examples[tally.put_off.most_common(1)[0][0]] if tally.put_off else None,
        stopped=stopped,
        interrupted=interrupted,
        seconds=round(time.monotonic() - began, 3),
        sheet=pages.get("sheet"),
        report=pages.get("report"),
        failures=dict(tally.failures),
    )


def refuse(work: Work, store: RunStore, identity: Mapping[str, Any], execution: Execution) -> None:
    """Raise UserError where `drive` could not begin: the place holds another run, or a need is not met."""
    store.refuse_other(identity)
    if work.todo and not ray.is_initialized():
        surroundings.check(store, address_of(execution))


def _carried(work: Work) -> Iterator[Mapping[str, Any]]:
    """Yield what a manifest's rows have beside the columns that every table has."""
    yield from (row.inputs for row in work.bad)
    for task in work.tasks.values():
        sample = task.payload.sample
        if sample.overrides or sample.extra:
            yield {**sample.overrides, **sample.extra}


def _losing(loop: Loop, reporter: Reporter) -> Callable[[str], None]:
    """Return what is to be done where Ray's head is lost: say so at once, begin nothing, end the lease."""

    def lose(sentence: str) -> None:
        loop.drain(sentence)
        reporter.say(sentence)

    return lose


def _cached(action: Callable[[], object], reporter: Reporter) -> None:
    """Bring a cache up to date; one that cannot be written is told of, and stops nothing."""
    try:
        action()
    except Exception as problem:
        reporter.say(f"results wait for the next submit: {problem}")


def _counted(
    store: RunStore, work: Work, bad: list[Entry], tally: Tally
) -> tuple[list[Entry], list[Entry], int]:
    """Return what this run has made and what was there before, as far as it is there now; and what is not."""
    made = {entry.key: entry for entry in bad} | tally.records
    rows = [key for keys in work.sources.values() for key in keys]
    before = {key: work.index[key] for key in rows if key in work.index and not work.index[key].to_do}
    before = {key: entry for key, entry in before.items() if key not in made}
    listed = store.generations()

    def kept(entries: Iterable[Entry]) -> list[Entry]:
        entries = list(entries)
        missing = {e.key: e.generation for e in entries if listed.get(e.key, 0) < e.generation}
        gone = missing.keys() - store.still_there(missing)
        return [entry for entry in entries if entry.key not in gone]

    now_made, still = kept(made.values()), kept(before.values())
    return now_made, still, len(made) + len(before) - len(now_made) - len(still)
