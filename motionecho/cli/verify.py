"""`motionecho batch verify`: are the files of a run what its records say?"""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.options import JsonOption, RunArgument
from motionecho.cli.printing import count, put, put_json, say, table
from motionecho.cli.status import open_run

if TYPE_CHECKING:
    from motionecho.runs.verify import Verified

TELL_EVERY_S = 10.0


def verify(
    run: RunArgument,
    requeue: Annotated[
        bool, typer.Option("--requeue", help="Have `batch retry` make the samples of such files again.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Compare every file of RUN with its record; exit code 3 where one is damaged or missing.

    After Ctrl-C the same command goes on where it was. --requeue takes up what a finished verification has
    found, where there was one, and else looks at everything itself.
    """
    from motionecho.runs import verify as library

    store, spoke = open_run(run), time.monotonic()

    def tell(state: "Verified", total: int) -> None:
        nonlocal spoke
        if time.monotonic() - spoke >= TELL_EVERY_S:
            spoke = time.monotonic()
            say(f"{state.records} of {count(total, 'record')}: {_counts(state)}")

    state = library.verify(store, _read_motion, tell, again=requeue, read_text=_read_text)
    if requeue:
        library.requeue(store, state)
    code = Exit.UNEXPECTED if state.number("unread") else Exit.OK
    code = Exit.FAILED_SAMPLES if state.number("damaged") + state.number("missing") else code
    if json:
        numbers = {what: state.number(what) for what in ("damaged", "missing", "unread")}
        numbers |= {"absent_motions": state.absent, "requeued": state.requeued}
        found = [asdict(finding) for finding in state.findings]
        put_json(
            run=store.url,
            exit_code=int(code),
            records=state.records,
            files=state.files,
            **numbers,
            findings=found,
        )
    elif state.findings:
        rows = [
            {"id": each.id or None, "file": each.file or None, "problem": f"{each.what}: {each.problem}"}
            for each in state.findings
        ]
        put(table(rows))
    say(*_ways_out(state, run, requeue))
    say(f"{count(state.files, 'file')} of {count(state.records, 'record')}: {_counts(state)}")
    raise typer.Exit(code)


def _read_motion(path: str, key: str | None) -> object:
    from motionecho.inversion import Motion

    return Motion.load(path, key=key)


def _read_text(path: str, key: str | None) -> object:
    from motionecho.models.texts import EncodedText

    return EncodedText.load(path, key)


def _counts(state: "Verified") -> str:
    unread = state.number("unread")
    found = f"{state.number('damaged')} damaged, {state.number('missing')} missing"
    return found + (f", {unread} could not be read" if unread else "")


def _ways_out(state: "Verified", run: str, requeue: bool) -> Iterator[str]:
    """Say what to do about what was found, a line each."""
    samples = len({finding.key for finding in state.findings if finding.key})
    if state.unkept:
        yield f"note: how far this was could not be kept: {state.unkept}"
    if state.absent:
        yield f"note: {count(state.absent, 'motion')} not there; one is made again when it is next used"
    if state.number("unread"):
        yield "what could not be read may be whole: the same command again, once the store answers"
    if any(finding.what == "damaged" and not finding.file for finding in state.findings):
        yield "samples without a record that can be read are made again by submitting again"
    if samples and not requeue:
        yield f"to have {count(samples, 'sample')} made again: motionecho batch verify {run} --requeue"
    if state.requeued:
        yield f"{count(state.requeued, 'sample')} requeued; to make them again: motionecho batch retry {run}"
