"""`motionecho manifest`: build one, and find out all that can be known about it without a model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.manifest_build import build
from motionecho.cli.options import FitOption, JsonOption, ManifestArgument, PairOption, SettingsOptions
from motionecho.cli.printing import count, put, put_json, say, table
from motionecho.errors import BadSample, MotionEchoError, NotThere

if TYPE_CHECKING:
    from motionecho.manifest import Sample
    from motionecho.models.registry import PairSpec
    from motionecho.video import VideoInfo

PARALLEL_READS = 8
ENLARGED = 1.5  # times that a clip may be scaled up before it is worth a word
SHOWN = ("row", "id", "level", "column", "value", "problem")

Problem = dict[str, Any]

app = typer.Typer(help="Build and check manifests.", no_args_is_help=True)
app.command(no_args_is_help=True)(build)


@app.command(no_args_is_help=True)
def validate(
    manifest: ManifestArgument, pair: PairOption = None, fit: FitOption = None, json: JsonOption = False
) -> None:
    """Check columns, rows, prompts, and that every clip decodes; exit code 2 on errors, 0 on warnings."""
    from motionecho.cli.settings import resolve
    from motionecho.manifest import BadRow, read_manifest

    resolved = resolve(SettingsOptions(pair=pair, fit=fit))
    rows = read_manifest(manifest)
    samples = [row for row in rows if not isinstance(row, BadRow)]
    found = [
        problem_of(row.row, row.id, row.column, row.inputs.get(row.column or ""), row.reason)
        for row in rows
        if isinstance(row, BadRow)
    ]
    clips = {(sample.reference, sample.window): sample for sample in samples}
    say(f"reading {count(len(clips), 'clip')} of {count(len(rows), 'row')}")
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        remarks = pool.map(
            lambda sample: clip_remark(sample, resolved.spec, resolved.settings.fit), clips.values()
        )
        of_clip = dict(zip(clips, remarks, strict=True))
    for sample in samples:
        remark = of_clip[sample.reference, sample.window]
        if remark:
            level, sentence = remark
            found.append(problem_of(sample.row, sample.id, "reference", sample.reference, sentence, level))
        found += unknown_words(sample, resolved.spec)
    found += repeats(samples)
    found.sort(key=lambda problem: problem["row"])
    errors = [problem for problem in found if problem["level"] == "error"]
    warnings = [problem for problem in found if problem["level"] == "warning"]
    if json:
        put_json(manifest=manifest, rows=len(rows), references=len({s.reference for s in samples}),
                 problems=errors, warnings=warnings)  # fmt: skip
    elif found:
        put(table(found, SHOWN, limit=160))
    say(f"{count(len(rows), 'row')}, {_verdict(errors, warnings)}")
    if errors:
        raise typer.Exit(Exit.USAGE)


def clip_remark(sample: "Sample", spec: "PairSpec", fit: str) -> tuple[str, str] | None:
    """Say what is to be said of a row's clip, fetched and decoded as a run would: (level, sentence)."""
    from motionecho.runs.store import fetch
    from motionecho.video import read_clip

    size = (spec.frames, spec.height, spec.width)
    try:
        with fetch(sample.reference) as path:
            clip = read_clip(path, *size, sample.window, fit, name=sample.reference)
    except MotionEchoError as problem:
        gone = isinstance(problem, NotThere)
        return "error", f"{problem}{'; mend the path, or leave the row out' if gone else ''}"
    remarks = [*clip.remarks, *outside_envelope(clip.info, clip.indices, spec)]
    return ("warning", "; ".join(remarks)) if remarks else None


def outside_envelope(info: "VideoInfo", indices: tuple[int, ...], spec: "PairSpec") -> Iterator[str]:
    """Yield reasons why a clip that can be read will serve the pair badly."""
    different = len(set(indices))
    if different < spec.frames:
        yield f"only {different} different frames for {spec.frames}, some shown twice; take a longer window"
    scale = max(spec.height / info.height, spec.width / info.width)
    if scale > ENLARGED:
        yield f"{info.width}x{info.height} pixels are enlarged {scale:.1f} times; use a larger copy"


def unknown_words(sample: "Sample", spec: "PairSpec") -> Iterator[Problem]:
    """Yield texts that the pair says it cannot read."""
    for column in ("prompt", "negative_prompt"):
        text = getattr(sample, column)
        try:
            spec.check_prompt(text or "")
        except BadSample as problem:
            yield problem_of(sample.row, sample.id, column, text, str(problem))


def repeats(samples: "list[Sample]") -> Iterator[Problem]:
    """Yield rows that ask for a video that an earlier row asks for already, under another id."""
    first: dict[Any, Sample] = {}
    for sample in samples:
        bare = replace(sample, id="", row=0, extra={})
        earlier = first.setdefault((bare.reference, bare.window, repr(sorted(bare.inputs().items()))), sample)
        if earlier is not sample:
            reason = (
                f'it asks for the same video as row {earlier.row} (id "{earlier.id}"); give it another seed'
            )
            yield problem_of(sample.row, sample.id, None, None, reason)


def problem_of(
    row: int, name: str, column: str | None, value: Any, sentence: str, level: str = "error"
) -> Problem:
    """Make one line of the report; the sentence ends with the way out."""
    return {"row": row, "id": name, "level": level, "column": column, "value": value, "problem": sentence}


def _verdict(errors: list[Problem], warnings: list[Problem]) -> str:
    wrong = len({(problem["row"], problem["id"]) for problem in errors})
    noted = len({(problem["row"], problem["id"]) for problem in warnings})
    parts = [f"{wrong} with problems"] if wrong else []
    parts += [f"{noted} with warnings"] if noted else []
    return ", ".join(parts) or "all fine"
