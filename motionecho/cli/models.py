"""`motionecho models`: the pairs that can be named with --pair, without loading any."""

from typing import Annotated, Any

import typer

from motionecho.backbones.registry import PAIRS, PairSpec, pair_spec
from motionecho.cli.options import JsonOption
from motionecho.cli.talk import put, put_json, table
from motionecho.errors import UserError

app = typer.Typer(help="Model pairs: what there is and what each needs.", no_args_is_help=True)


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the pairs, one a line."""
    described = [_describe(spec) for spec in PAIRS.values()]
    if json:
        put_json(models=described)
        return
    for row, spec in zip(described, PAIRS.values(), strict=True):
        row["size"] = f"{spec.frames} x {spec.height} x {spec.width}"
        row["ready"] = row["missing"] is None
    put(table(described, ["name", "size", "fps", "licence", "ready", "summary"], limit=100))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A pair, e.g. toy.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Show one pair: size, licence, weights with their sha256, presets and default settings."""
    spec = pair_spec(name)
    facts = _describe(spec)
    if json:
        put_json(**facts, defaults=spec.defaults.to_dict())
        return
    put(f"{spec.name}: {spec.summary}")
    put(f"licence   {spec.licence}")
    put(f"videos    {spec.frames} frames of {spec.height} x {spec.width} at {spec.fps} fps")
    if facts["missing"]:
        put(f"weights   {facts['missing']}")
    for component, sha256 in facts["weights"].items():
        put(f"weights   {component:<10} sha256 {sha256}")
    for preset, changes in spec.presets.items():
        put(f"preset    {preset:<20} {' '.join(f'{key}={value}' for key, value in changes.items())}")
    put("settings  motionecho config show --explain --pair " + spec.name)


def _describe(spec: PairSpec) -> dict[str, Any]:
    weights, missing = {}, None
    try:
        weights = spec.weights()
    except UserError as problem:
        missing = str(problem)
    return {
        "name": spec.name,
        "summary": spec.summary,
        "licence": spec.licence,
        "frames": spec.frames,
        "height": spec.height,
        "width": spec.width,
        "fps": spec.fps,
        "presets": {preset: dict(changes) for preset, changes in spec.presets.items()},
        "weights": weights,
        "missing": missing,
    }
