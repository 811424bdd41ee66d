"""`motionecho manifest`: build one, and find out all that can be known about it without a model."""

from collections.abc import Iterator
from dataclasses import asdict
from json import dumps
from typing import TYPE_CHECKING, Any

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.findings import Findings, Problem
from motionecho.cli.manifest_build import build
from motionecho.cli.options import (
    DenyOption,
    FitOption,
    JsonOption,
    ManifestArgument,
    PairOption,
    SettingsOptions,
)
from motionecho.cli.printing import count, put, put_json, say, table
from motionecho.errors import BadSample, MotionEchoError, NotThere, UserError
from motionecho.runs.parallel import in_order

if TYPE_CHECKING:
    from motionecho.cli.settings import Resolved
    from motionecho.manifest import Sample
    from motionecho.models.registry import PairSpec
    from motionecho.video import VideoInfo

PARALLEL_READS = 8
ENLARGED = 1.5  # times that a clip may be scaled up before it is worth a word
SHOWN = ("row", "id", "level", "column", "value", "problem")

app = typer.Typer(help="Build and check manifests.", no_args_is_help=True)
app.command(no_args_is_help=True)(build)


@app.command(no_args_is_help=True)
def validate(
    manifest: ManifestArgument,
    pair: PairOption = None,
    fit: FitOption = None,
    deny: DenyOption = None,
    json: JsonOption = False,
) -> None:
    """Check columns, rows, prompts, and that every clip decodes; exit code 2 on errors, 0 on warnings."""
    from motionecho.cli.settings import resolve
    from motionecho.manifest import BadRow, read_manifest
    from motionecho.manifest.prompts import prompt_filters

    filters = prompt_filters(deny)
    resolved = resolve(SettingsOptions(pair=pair, fit=fit))
    rows, found = read_manifest(manifest), Findings(all=json)
    samples = [row for row in rows if not isinstance(row, BadRow)]
    for row in rows:
        if isinstance(row, BadRow):
            value = row.inputs.get(row.column or "")
            found.add(Problem(row.row, row.id, "error", row.column, value, row.reason))
    clips = {(sample.reference, sample.window): sample for sample in samples}
    say(f"reading {count(len(clips), 'clip')} of {count(len(rows), 'row')}")
    remarks = in_order(
        lambda sample: clip_remark(sample, resolved.spec, resolved.settings.fit),
        clips.values(),
        PARALLEL_READS,
    )
    of_clip = dict(zip(clips, remarks, strict=True))
    texts: dict[str, tuple[str, str] | None] = {}
    asked: dict[str, str | None] = {}
    for sample in samples:
        remark = of_clip[sample.reference, sample.window]
        if remark:
            found.add(Problem(sample.row, sample.id, remark[0], "reference", sample.reference, remark[1]))
        if why := filters.why(sample.prompt):
            found.add(Problem(sample.row, sample.id, "error", "prompt", sample.prompt, why))
        for problem in unread_words(sample, resolved.spec, texts):
            found.add(problem)
        if why := refused(sample, resolved, asked):
            found.add(Problem(sample.row, sample.id, "error", None, None, why))
    for problem in repeats(samples):
        found.add(problem)
    if json:
        put_json(manifest=manifest, rows=len(rows), references=len({s.reference for s in samples}),
                 problems=list(map(asdict, found.of("error"))),
                 warnings=list(map(asdict, found.of("warning"))))  # fmt: skip
    elif found.kept:
        put(table(list(map(asdict, found.shown())), SHOWN))
    say(*found.more(), f"{count(len(rows), 'row')}, {found.verdict()}")
    if found.rows["error"]:
        raise typer.Exit(Exit.USAGE)


def clip_remark(sample: "Sample", spec: "PairSpec", fit: str) -> tuple[str, str] | None:
    """Say what is to be said of a row's clip, fetched and decoded as a run would: (level, sentence)."""
    from motionecho.runs.files import fetch
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


def refused(sample: "Sample", resolved: "Resolved", known: dict[str, str | None]) -> str | None:
    """Say why the pair cannot do as a row's settings ask, None where it can; `known` are answers so far."""
    from pipelines.keying import kept_of

    asked = dumps(sample.overrides, sort_keys=True)
    if asked not in known:
        known[asked] = None
        try:
            reference = resolved.spec.updated(resolved.settings.echo, sample.overrides).reference
            kept_of(reference)
            if reference.trains and not reference.motion_lora:
                resolved.spec.check_prompt(reference.reference_prompt)
        except UserError as problem:
            known[asked] = str(problem)
        except BadSample as problem:
            known[asked] = f"reference_prompt: {problem}"
    return known[asked]


def outside_envelope(info: "VideoInfo", indices: tuple[int, ...], spec: "PairSpec") -> Iterator[str]:
    """Yield reasons why a clip that can be read will serve the pair badly."""
    different = len(set(indices))
    if different < spec.frames:
        yield f"only {different} different frames for {spec.frames}, some shown twice; take a longer window"
    scale = max(spec.height / info.height, spec.width / info.width)
    if scale > ENLARGED:
        yield f"{info.width}x{info.height} pixels are enlarged {scale:.1f} times; use a larger copy"


def unread_words(
    sample: "Sample", spec: "PairSpec", known: dict[str, tuple[str, str] | None]
) -> Iterator[Problem]:
    """Yield texts that the pair cannot read, or not to their end; `known` are remarks on earlier ones."""
    for column in ("prompt", "negative_prompt"):
        text = getattr(sample, column)
        if not text:
            continue
        if text not in known:
            known[text] = _remark_on(text, spec)
        remark = known[text]
        if remark:
            yield Problem(sample.row, sample.id, remark[0], column, text, remark[1])


def _remark_on(text: str, spec: "PairSpec") -> tuple[str, str] | None:
    try:
        spec.check_prompt(text)
    except BadSample as problem:
        return "error", str(problem)
    lost = spec.lost_of(text)
    return ("warning", f'the pair does not read its end, from "{lost}" on: make it shorter') if lost else None


def repeats(samples: "list[Sample]") -> Iterator[Problem]:
    """Yield rows that ask for a video that an earlier row asks for already, under another id."""
    first: dict[Any, Sample] = {}
    for sample in samples:
        overrides = repr(sorted(sample.overrides.items())) if sample.overrides else ""
        asked = (
            sample.reference,
            sample.window,
            sample.prompt,
            sample.negative_prompt,
            sample.seed,
            overrides,
        )
        earlier = first.setdefault(asked, sample)
        if earlier is not sample:
            reason = (
                f'it asks for the same video as row {earlier.row} (id "{earlier.id}"); give it another seed'
            )
            yield Problem(sample.row, sample.id, "error", None, None, reason)
