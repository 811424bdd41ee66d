"""`motionecho calibrate`: delta_1 and delta_2 for a pair, from runs over some samples of a manifest."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.flatten import flattened
from motionecho.cli.options import DenyOption, JsonOption, ManifestArgument, PlacementOptions, SettingsOptions
from motionecho.cli.printing import count, put, put_json, say, table
from motionecho.errors import UserError
from motionecho.report.visible import visible

if TYPE_CHECKING:
    from motionecho.calibrate import Point, Run
    from motionecho.cli.settings import Resolved
    from motionecho.config import EchoConfig
    from motionecho.inversion import Motion
    from motionecho.manifest import Sample
    from motionecho.trace import Trace
    from motionecho.video import Clip


@flattened
def calibrate(
    manifest: ManifestArgument,
    settings: SettingsOptions,
    placement: PlacementOptions,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="The settings file. [default: PAIR-calibrated.yaml]")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Samples to use.")] = 8,
    keep: Annotated[
        float, typer.Option("--keep", min=0, max=1, help="Share of the teacher's gain in fidelity to keep.")
    ] = 0.95,
    deny: DenyOption = None,
    json: JsonOption = False,
) -> None:
    """Find delta_1 and delta_2: print fidelity against teacher evaluations, write settings for --config."""
    from motionecho.calibrate import cheapest, curve
    from motionecho.cli.settings import resolve
    from motionecho.manifest import Sample, read_manifest
    from motionecho.manifest.prompts import prompt_filters
    from motionecho.runs.local import replacing

    resolved = resolve(settings, placement)
    rows = read_manifest(manifest)
    filters = prompt_filters(deny)
    samples = [row for row in rows if isinstance(row, Sample) and not filters.why(row.prompt)][:limit]
    if not samples:
        raise UserError(f'no row of "{manifest}" can run: see motionecho manifest validate {manifest}')
    echo = resolved.settings.echo
    unit = echo.activation.threshold_unit
    resolved.fetch()
    say(f"{count(len(samples), 'sample')}, 5 settings each, unit of the thresholds: {unit}")
    points: list[Point] = []
    for point in curve(samples, echo, runner(resolved)):
        points.append(point)
        found = f"fidelity {point.fidelity.mean:.3f} at {point.cost:.1f} forward equivalents"
        say(f"{point.candidate.name}: {found}")
    best = cheapest(points, keep)
    path = out or f"{resolved.spec.name}-calibrated.yaml"
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.write(settings_text(resolved, best, manifest, len(samples)))
    if json:
        put_json(settings=path, chosen=best.candidate.name, points=[asdict(point) for point in points])
    else:
        put(table([line(point) for point in points]))
        put(path)
    say(f"chosen: {best.candidate.name}; use it with --config {path}")


def runner(resolved: "Resolved") -> "Run":
    """Return what makes a sample and measures it; models load once, a reference inverts once."""
    from motionecho.cache import Recent
    from motionecho.make import Maker
    from motionecho.metrics import Item, load_metrics

    spec, settings = resolved.spec, resolved.settings
    maker = Maker(resolved.load(), settings.fit)
    (metric,), _ = load_metrics(["motion_fidelity"], settings.placement.device)
    known: Recent[tuple[Clip, Motion]] = Recent(64)

    def run(sample: "Sample", used: "EchoConfig") -> "tuple[float | None, Trace]":
        def invert() -> "tuple[Clip, Motion]":
            clip = maker.clip(sample.reference, sample.window)
            return clip, maker.motion(clip, used)

        clip, motion = known.get((sample.reference, sample.window), invert)
        made = maker.make(motion, sample.prompt, sample.seed, used, sample.negative_prompt or "")
        figure = metric(Item(made.frames, clip.frames, sample.prompt, spec.fps))["follows"]
        return (float(figure) if isinstance(figure, float) else None), made.trace

    return run


def line(point: "Point") -> dict[str, Any]:
    """Make a row of the printed curve out of a point."""
    changes, fidelity = point.candidate.changes, point.fidelity
    return {
        "teacher": point.candidate.name,
        "delta_1": changes.get("activation_threshold"),
        "delta_2": changes.get("truncation_threshold"),
        "follows": fidelity.mean,
        "low": fidelity.low,
        "high": fidelity.high,
        "active": f"{point.activated:.0%}",
        "teacher forwards": round(point.teacher, 1),
        "all forwards": round(point.cost, 1),
    }


def settings_text(resolved: "Resolved", best: "Point", manifest: str, samples: int) -> str:
    """Write the settings file: what differs from the pair's own, and where it comes from."""
    import yaml

    chosen = resolved.settings.echo.updated(best.candidate.changes).to_dict()
    own = resolved.spec.defaults.to_dict()
    always = ("activation", "threshold_unit", "activation_threshold", "truncation_threshold", "window")
    echo = {name: value for name, value in chosen.items() if name in always or value != own[name]}
    head = f"# found by motionecho calibrate on {count(samples, 'sample')} of {visible(manifest)}\n"
    return head + yaml.safe_dump({"pair": resolved.spec.name, "echo": echo}, sort_keys=False)
