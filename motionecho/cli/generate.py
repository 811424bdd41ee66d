"""`motionecho generate`: one clip, one prompt, one video. The batch path's own steps, without Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motionecho.cli.flatten import flattened
from motionecho.cli.options import (
    DenyOption,
    GateOptions,
    JsonOption,
    PlacementOptions,
    SettingsOptions,
    SigningOptions,
)
from motionecho.cli.phases import phases
from motionecho.cli.printing import duration, fitted, put, put_json, say, table
from motionecho.errors import BadSample, Unreachable, UserError
from motionecho.runs.places import Place
from motionecho.runs.waits import doing

if TYPE_CHECKING:
    from motionecho.trace import Trace

SUFFIXES = (".mp4", ".m4v")
TRACE_COLUMNS = (
    "step", "t", "loss", "window_mean", "active", "teacher_steps", "truncated", "teacher_loss", "seconds"
)  # fmt: skip


@flattened
def generate(
    reference: Annotated[
        str,
        typer.Argument(parser=Place, metavar="REF", help="Reference clip, path or URL.", show_default=False),
    ],
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What the video shows.", show_default=False)
    ],
    settings: SettingsOptions,
    gate: GateOptions,
    placement: PlacementOptions,
    signing: SigningOptions,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE.mp4", help="The video to write.")
    ] = "out.mp4",
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of all noise.")] = 0,
    negative_prompt: Annotated[
        str, typer.Option("--negative-prompt", metavar="TEXT", help="What it does not show.")
    ] = "",
    start: Annotated[
        float, typer.Option("--start", metavar="S", help="Where in the clip to begin, seconds.")
    ] = 0.0,
    duration_s: Annotated[
        float | None, typer.Option("--duration", metavar="S", help="How much of the clip, seconds.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", metavar="N", help="Frames per second to read; default: spread evenly."),
    ] = None,
    deny: DenyOption = None,
    json: JsonOption = False,
) -> None:
    """Make one video that follows the motion of REF and shows PROMPT."""
    with phases():  # what takes long to import comes within, and what can be refused before that
        from motionecho.cli.settings import resolve

        resolved = resolve(settings, placement, gate)
        _check_out(out)

        from motionecho.manifest.cells import LARGEST_SEED
        from motionecho.manifest.prompts import prompt_filters
        from motionecho.models.references import read_reference
        from motionecho.trace import Stopwatch
        from motionecho.video import Window
        from motionecho.video.credentials import read_signing, sign
        from pipelines.keying import kept_of

        signed_with = read_signing(signing.c2pa, signing.c2pa_key, signing.timestamps)
        chosen, spec, watch = resolved.settings, resolved.spec, Stopwatch()
        if seed > LARGEST_SEED:
            raise UserError(f"--seed {seed} is too large: it has to be a whole number from 0 to 2^63-1")
        with _as_usage():
            if not prompt.strip():
                raise UserError("the prompt is empty: say what the video shows")
            prompt_filters(deny).check(prompt)
            spec.check_prompt(prompt)
            background = chosen.echo.reference.background
            kept_of(chosen.echo.reference)  # a file of factors is there
            clip = read_reference(reference, spec, Window(start, duration_s, fps), chosen.fit, background)
        watch.lap("read")
        resolved.fetch()
        say(*(f"note: {remark}" for remark in clip.remarks))
        doing("libraries")

        from motionecho.make import Maker
        from motionecho.models.texts import encoded

        texts = encoded(spec, chosen.placement, spec.texts(prompt, negative_prompt, chosen.echo.reference))
        if texts:
            watch.lap("encode")
        doing("weights")
        maker = Maker(resolved.load(), chosen.fit, chosen.gate, chosen.placement.device)
        _ = maker.judge  # a gate that cannot be judged is told before minutes of work
        for text in texts:
            assert maker.pair.remember  # as its spec has the stage
            maker.pair.remember(text)
        watch.lap("load")
        motion = maker.motion(clip, chosen.echo, train=chosen.echo.guidance.carried > 0)
        watch.lap("invert")
        made = maker.make(motion, prompt, seed, chosen.echo, negative_prompt, reference=lambda: clip)
        watch.lap("generate")
        made.write(out)
        if signed_with:
            sign(out, signed_with)
        watch.lap("write")
    if made.tries:
        say(table(made.tries, talk=True))
    _tell(made.trace, watch.laps)
    if json:
        put_json(
            video=out, prompt=prompt, seed=seed, settings=chosen.to_dict(), frames=list(clip.indices),
            trace=made.trace.rows(), summary=made.trace.summary(), tries=made.tries, seconds=watch.laps,
            weights=spec.known_weights(chosen.echo.sampling.method),
        )  # fmt: skip
    else:
        put(out)


def _check_out(out: str) -> None:
    """Fail before minutes of work rather than after them."""
    folder = Path(out).resolve().parent
    if Path(out).is_dir():
        raise UserError(f'"{out}" is a folder; name the video itself, e.g. -o {Path(out) / "out.mp4"}')
    if Path(out).suffix.lower() not in SUFFIXES:
        raise UserError(
            f'"{out}" would hold an mp4 under another name: write -o {Path(out).with_suffix(".mp4")}'
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{Path(out).name}.try"
        probe.touch()
        probe.unlink()
    except OSError as problem:
        raise UserError(f'cannot write "{out}": {problem.strerror}') from problem


@contextmanager
def _as_usage() -> Iterator[None]:
    """A reference that cannot be used is a mistake in the command here, not a failed row."""
    try:
        yield
    except (BadSample, Unreachable) as problem:
        raise UserError(str(problem)) from problem


def _tell(trace: "Trace", laps: dict[str, float]) -> None:
    summary = trace.summary()
    counts = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in summary["evaluations"].items() if n)
    say(table(trace.rows(), TRACE_COLUMNS, talk=True))
    told = (
        f"teacher active in {summary['activated_steps']} of {summary['steps']} steps; evaluations: {counts} "
        f"({summary['forward_equivalents']} forward passes' worth)"
    )
    say(
        *fitted("", told, talk=True),
        ", ".join(f"{name} {duration(seconds)}" for name, seconds in laps.items()),
    )
