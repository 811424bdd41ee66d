"""`motionecho batch status` and `failures`: what a run's place says, read without Ray from anywhere."""

import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from motionecho.cli.headline import commands, labelled, lines, next_steps, put_off
from motionecho.cli.options import JsonOption, RunArgument
from motionecho.cli.printing import count, put, put_json, say, table
from motionecho.errors import UserError

if TYPE_CHECKING:
    from motionecho.metrics.headline import Headline
    from motionecho.runs.state import State
    from motionecho.runs.store import RunStore

WATCH_EVERY_S = 5.0
FAILURE_FACTS = ("id", "key", "inputs", "attempts", "error", "strikes", "where")


def status(
    run: RunArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Go on looking until the run ends.")] = False,
    json: JsonOption = False,
) -> None:
    """Say how far a run is. Reads the run's place, not the cluster, so it works from any machine."""
    from motionecho.cli import watch as watching
    from motionecho.metrics.headline import headline_of

    store = open_run(run, begun=False)
    if not _begun(store, watch, json):
        return
    if watch:
        state, head = watching.watch(store.url, partial(_put_facts, store) if json else None)
    else:
        state, head = headline_of(store)
    if not json:
        put(watching.sentence(state), *lines(head, store.url))
        if head.put_off:
            put(*labelled("put off", put_off(head.put_off)))
        put(*commands("next", next_steps(store, state, head)))
    elif not watch:
        _put_facts(store, state, head)
    say(*(f"note: {sentence}" for sentence in state.damaged))


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


def _begun(store: "RunStore", watch: bool, json: bool) -> bool:
    """Tell whether a run has begun; a job that waits for its cluster is named, and waited for if watched."""
    told = False
    while store.run() is None:
        job = store.job() or {}
        sentence = f"{store.url}: waits for the cluster as job {job.get('id')} on {job.get('address')}"
        if json:
            put_json(run=store.url, job=job, begun=False)
        elif not told:
            put(sentence)
        if not watch:
            return False
        told = True
        time.sleep(WATCH_EVERY_S)
    return True


def _put_facts(store: "RunStore", state: "State", head: "Headline") -> None:
    steps = next_steps(store, state, head)
    put_json(**asdict(state), eta_s=state.eta_s, headline=asdict(head), next=steps)


def open_run(url: str, begun: bool = True) -> "RunStore":
    """Open the store of a run that exists; with `begun` false a job that waits for its cluster is enough."""
    from motionecho.runs.store import RunStore

    store = RunStore(url)
    if store.run() is None and (begun or store.job() is None):
        raise UserError(f'there is no run at "{url}": no run.json in it')
    return store
