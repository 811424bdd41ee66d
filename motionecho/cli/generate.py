"""`motionecho generate`: one clip, one prompt, one video. The batch path's own steps, without Ray."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.flatten import flattened
from motionecho.cli.options import GateOptions, JsonOption, PlacementOptions, SettingsOptions
from motionecho.cli.printing import duration, put, put_json, say, table
from motionecho.errors import BadSample, UserError

if TYPE_CHECKING:
    from motionecho.cli.settings import Resolved
    from motionecho.config import EchoConfig
    from motionecho.trace import Trace

TRACE_COLUMNS = (
    "step", "t", "loss", "window_mean", "active", "teacher_steps", "truncated", "teacher_loss", "seconds"
)  # fmt: skip


@flattened
def generate(
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="Reference clip, path or URL.", show_default=False)
    ],
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What the video shows.", show_default=False)
    ],
    settings: SettingsOptions,
    gate: GateOptions,
    placement: PlacementOptions,
    out: Annotated[str, typer.Option("--out", "-o", help="The video to write.")] = "out.mp4",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all noise.")] = 0,
    negative_prompt: Annotated[str, typer.Option("--negative-prompt", help="What it does not show.")] = "",
    start: Annotated[float, typer.Option("--start", help="Where in the clip to begin, seconds.")] = 0.0,
    duration_s: Annotated[
        float | None, typer.Option("--duration", help="How much of the clip, seconds.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Frames per second to read; default: spread evenly.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make one video that follows the motion of REF and shows PROMPT."""
    from motionecho.cli.settings import resolve

    resolved = resolve(settings, placement, gate)
    _check_out(out)
    clock = Clock()
    clip = _read(reference, resolved, start, duration_s, fps)
    clock.lap("read")

    from motionecho.echo import generate as echo
    from motionecho.gate import Gate
    from motionecho.inversion import invert
    from motionecho.make import Made
    from motionecho.metrics import Item
    from motionecho.runs.keys import digest
    from motionecho.runs.provenance import provenance
    from motionecho.video import write_video

    chosen, spec = resolved.settings, resolved.spec
    models = resolved.load()
    clock.lap("load")
    motion = invert(models, clip.frames, chosen.echo)
    clock.lap("invert")

    def make(used: "EchoConfig", drawn: int) -> Made:
        latents, traces = echo(models, [motion], [prompt], [drawn], used, [negative_prompt])
        return Made(models.codec.decode(latents)[0], latents[0], traces[0], used, drawn)

    def judge(frames: Any) -> Any:
        return metric(Item(frames, clip.frames, prompt, spec.fps))

    tries: list[dict[str, Any]] = []
    if chosen.gate:
        bar = Gate.parse(chosen.gate)
        metric = bar.load_judge(chosen.placement.device)
        made, tries = bar.best_of(make, judge, chosen.echo, seed)
        say(table(tries))
    else:
        made = make(chosen.echo, seed)
    clock.lap("generate")
    origin = provenance(
        sample_id=Path(out).stem,
        key="",
        pair=spec.name,
        prompt=prompt,
        seed=made.seed,
        settings=digest(made.config.to_dict()),
        random_weights=spec.is_random,
    )
    write_video(out, made.frames, spec.fps, origin)
    clock.lap("write")
    _tell(made.trace, clock.laps)
    if json:
        put_json(
            video=out, prompt=prompt, seed=seed, settings=chosen.to_dict(), frames=list(clip.indices),
            trace=made.trace.rows(), summary=made.trace.summary(), tries=tries, seconds=clock.laps,
            weights=spec.known_weights(),
        )  # fmt: skip
    else:
        put(out)


class Clock:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self.last = round(now - self.last, 3), now


def _check_out(out: str) -> None:
    """Fail before minutes of work rather than after them."""
    folder = Path(out).resolve().parent
    if Path(out).is_dir():
        raise UserError(f'"{out}" is a folder; name the video itself, e.g. -o {Path(out) / "out.mp4"}')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{Path(out).name}.try"
        probe.touch()
        probe.unlink()
    except OSError as problem:
        raise UserError(f'cannot write "{out}": {problem.strerror}') from problem


def _read(
    reference: str, resolved: "Resolved", start: float, duration_s: float | None, fps: float | None
) -> Any:
    from motionecho.runs.store import fetch
    from motionecho.video import Window, read_clip

    spec = resolved.spec
    with _as_usage(), fetch(reference) as path:
        window = Window(start, duration_s, fps)
        return read_clip(
            path, spec.frames, spec.height, spec.width, window, resolved.settings.fit, name=reference
        )


@contextmanager
def _as_usage() -> Iterator[None]:
    """A reference that cannot be used is a mistake in the command here, not a failed row."""
    try:
        yield
    except BadSample as problem:
        raise UserError(str(problem)) from problem


def _tell(trace: "Trace", laps: dict[str, float]) -> None:
    summary = trace.summary()
    counts = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in summary["evaluations"].items() if n)
    say(table(trace.rows(), TRACE_COLUMNS))
    say(
        f"teacher active in {summary['activated_steps']} of {summary['steps']} steps; evaluations: {counts} "
        f"({summary['forward_equivalents']} forward passes' worth)",
        ", ".join(f"{name} {duration(seconds)}" for name, seconds in laps.items()),
    )
