"""`motionecho manifest validate`: everything that can be known about a manifest without a model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from motionecho.cli.options import FitOption, JsonOption, ManifestArgument, PairOption
from motionecho.cli.outcome import Exit
from motionecho.cli.settings import resolve
from motionecho.cli.talk import count, put, put_json, say, table
from motionecho.errors import MotionEchoError

if TYPE_CHECKING:
    from motionecho.manifest import Sample
    from motionecho.video import Window

PARALLEL_READS = 8

app = typer.Typer(help="Check manifests.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Check manifests."""


@app.command(no_args_is_help=True)
def validate(
    manifest: ManifestArgument, pair: PairOption = None, fit: FitOption = None, json: JsonOption = False
) -> None:
    """Check columns, rows, and that every reference can be read and decoded; exit code 2 on problems."""
    from motionecho.manifest import BadRow, read_manifest

    resolved = resolve(pair=pair, fit=fit)
    rows = read_manifest(manifest)
    samples = [row for row in rows if not isinstance(row, BadRow)]
    problems = [_problem(row.row, row.id, row.reason) for row in rows if isinstance(row, BadRow)]
    spec = resolved.spec
    shape = (spec.frames, spec.height, spec.width)
    clips = {(sample.reference, sample.window): sample for sample in samples}
    say(f"reading {count(len(clips), 'reference')} of {count(len(rows), 'row')}")
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        found = pool.map(lambda sample: unreadable(sample, shape, resolved.settings.fit), clips.values())
        reasons = dict(zip(clips, found, strict=True))
    for sample in samples:
        reason = reasons[sample.reference, sample.window]
        if reason:
            problems.append(_problem(sample.row, sample.id, reason))
    problems += repeats(samples)
    problems.sort(key=lambda problem: problem["row"])
    if json:
        put_json(manifest=manifest, rows=len(rows), references=len(clips), problems=problems)
    elif problems:
        put(table(problems, limit=160))
    wrong = len({problem["row"] for problem in problems})
    say(
        f"{count(len(rows), 'row')}, {wrong} with problems"
        if wrong
        else f"{count(len(rows), 'row')}, all fine"
    )
    if problems:
        raise typer.Exit(Exit.USAGE)


def unreadable(sample: "Sample", shape: tuple[int, int, int], fit: str) -> str | None:
    """Why the row's reference cannot be used, or None: fetches the file and decodes the frames it needs."""
    from motionecho.store import fetch
    from motionecho.video import read_clip

    try:
        with fetch(sample.reference) as path:
            read_clip(path, *shape, sample.window, fit, name=sample.reference)
    except MotionEchoError as problem:
        return str(problem)
    return None


def repeats(samples: "list[Sample]") -> Iterator[dict[str, Any]]:
    """Rows that ask for a video that an earlier row asks for already, under another id."""
    first: dict[Any, Sample] = {}
    for sample in samples:
        content = _content(replace(sample, id="", row=0, extra={}))
        earlier = first.setdefault(content, sample)
        if earlier is not sample:
            reason = f'it asks for the same video as row {earlier.row} (id "{earlier.id}")'
            yield _problem(sample.row, sample.id, reason)


def _content(sample: "Sample") -> tuple[str, "Window", str]:
    return sample.reference, sample.window, repr(sorted(sample.inputs().items()))


def _problem(row: int, name: str, reason: str) -> dict[str, Any]:
    return {"row": row, "id": name, "problem": reason}
