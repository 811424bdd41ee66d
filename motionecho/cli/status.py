"""`motionecho batch status` and `failures`: what a run's place says, read without Ray from anywhere."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from motionecho.cli.options import JsonOption, RunArgument
from motionecho.cli.printing import count, duration, put, put_json, say, table
from motionecho.errors import UserError

if TYPE_CHECKING:
    from motionecho.runs.state import State
    from motionecho.runs.store import RunStore

WATCH_EVERY_S = 5.0
SILENT_AFTER_S = 90.0  # a living driver leaves a word every 15 s
FAILURE_FACTS = ("id", "key", "inputs", "attempts", "error", "strikes", "where")


def status(
    run: RunArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat every 5 s until the run ends.")] = False,
    json: JsonOption = False,
) -> None:
    """Say how far a run is. Reads the run's place, not the cluster, so it works from any machine."""
    from motionecho.runs.state import state_of

    store = open_run(run, begun=False)
    while store.run() is None:  # a job that waits for its cluster
        job = store.job() or {}
        sentence = f"{store.url}: waits for the cluster as job {job.get('id')} on {job.get('address')}"
        put_json(run=store.url, job=job, begun=False) if json else put(sentence)
        if not watch:
            return
        time.sleep(WATCH_EVERY_S)
    while True:
        now = state_of(store)
        put_json(**asdict(now), eta_s=now.eta_s) if json else put(_sentence(now))
        if not watch or now.finished or now.ended:
            break
        time.sleep(WATCH_EVERY_S)
    say(*(f"note: {sentence}" for sentence in now.damaged))


def failures(run: RunArgument, json: JsonOption = False) -> None:
    """List the samples that failed: which, where and why. --json adds tracebacks and earlier attempts."""
    store = open_run(run)
    failed = [record.to_dict() for record in store.records() if not record.ok]
    if json:
        put_json(run=run, failures=[{name: facts[name] for name in FAILURE_FACTS} for facts in failed])
        return
    if not failed:
        say("no failed samples")
        return
    rows = [
        {name: facts[name] for name in ("id", "attempts")}
        | {name: (facts["error"] or {}).get(name) for name in ("stage", "class", "message")}
        for facts in failed
    ]
    put(table(rows))
    scores = "scoring" in (store.run() or {}).get("identity", {})
    again = "score again with --retry-failed" if scores else f"motionecho batch retry {run}"
    say(f"{count(len(failed), 'failed sample')}; to try them again: {again}")


def _sentence(now: "State") -> str:
    of = f" of {now.total}" if now.total is not None else ""
    parts = [f"{now.done}{of} done"]
    parts += [f"{now.failed} failed"] if now.failed else []
    if now.finished:
        parts.append("finished")
    elif now.ended:
        parts.append("ended before it was finished: submit again to continue")
    elif now.silent_s is not None and now.silent_s > SILENT_AFTER_S:
        parts.append(
            f"nothing heard for {duration(now.silent_s)}: if the driver died, submit again to continue"
        )
    else:
        parts += [f"{len(now.drivers)} drivers at work"] if len(now.drivers) > 1 else []
        parts += [f"about {duration(now.eta_s)} left"] if now.eta_s else []
    return f"{now.run}: {', '.join(parts)}"


def open_run(url: str, begun: bool = True) -> "RunStore":
    """Open the store of a run that exists; with `begun` false a job that waits for its cluster is enough."""
    from motionecho.runs.store import RunStore

    store = RunStore(url)
    if store.run() is None and (begun or store.job() is None):
        raise UserError(f'there is no run at "{url}": no run.json in it')
    return store
