"""`motionecho models`: the pairs that can be named with --pair, and the weights that they need."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.options import JsonOption, WeightsOption
from motionecho.cli.phases import phases
from motionecho.cli.printing import count, put, put_json, say, table
from motionecho.errors import UserError
from motionecho.runs.waits import doing

if TYPE_CHECKING:
    from motionecho.models.registry import PairSpec

app = typer.Typer(help="Model pairs: what there is and what each needs.", no_args_is_help=True)
OwnOption = Annotated[
    str | None, typer.Option("--method", help="With what this method alone needs, e.g. structure.")
]
PairArgument = Annotated[str, typer.Argument(metavar="PAIR", help="A pair, e.g. toy.", show_default=False)]


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the pairs, one a line."""
    from motionecho.models.registry import PAIRS

    described = [_describe(spec.at()) for spec in PAIRS.values()]
    if json:
        put_json(models=described)
        return
    for row, spec in zip(described, PAIRS.values(), strict=True):
        row["size"] = f"{spec.frames}x{spec.height}x{spec.width}"  # as --pair takes it behind an @
        row["ready"] = row["missing"] is None
    put(table(described, ["name", "size", "fps", "gigabytes", "ready", "summary"]))


@app.command(no_args_is_help=True)
def show(name: PairArgument, weights: WeightsOption = None, json: JsonOption = False) -> None:
    """Show one pair: size, licence, weights with their sha256 where known, presets and default settings."""
    from motionecho.config import STRATEGIES, TRAINED
    from motionecho.models.registry import pair_spec

    spec = pair_spec(name, tuple(weights or ()))
    facts = _describe(spec)
    if json:
        layers = {word: list(its) for word, its in spec.layers.items()}
        put_json(**facts, layers=layers, defaults=spec.defaults.to_dict())
        return
    put(f"{spec.name}: {spec.summary}")
    put(f"licence   {spec.licence}")
    put(f"videos    {spec.frames} frames of {spec.height} x {spec.width} at {spec.fps} fps")
    for part, published in spec.parts.items():
        alone = f", for method {spec.optional[part]} alone" if part in spec.optional else ""
        put(f"published {part:<10} https://huggingface.co/{published.hub} ({published.gigabytes} GB{alone})")
    if facts["missing"]:
        put(f"weights   {facts['missing']}")
    for component, sha256 in facts["weights"].items():
        put(f"weights   {component:<10} sha256 {sha256 or 'not computed yet; `models pull` does it'}")
    for word in (word for word in STRATEGIES if word not in spec.lacks):
        others = "trains on the layers over time" if word in TRAINED else "compares the videos themselves"
        of = f"of {giver}" if (giver := STRATEGIES.giver(word)) else others
        put(f"strategy  {word:<20} {', '.join(spec.layers.get(word, ())) or of}")
    put(f"methods   {', '.join(spec.methods)}")
    for preset, changes in spec.presets.items():
        put(f"preset    {preset:<20} {' '.join(f'{key}={value}' for key, value in changes.items())}")
    put("settings  motionecho config show --explain --pair " + spec.name)


@app.command(no_args_is_help=True)
def pull(
    name: PairArgument, weights: WeightsOption = None, method: OwnOption = None, json: JsonOption = False
) -> None:
    """Fetch those of a pair's weights that are not on this machine; print size and sha256 of all."""
    from motionecho.models.registry import pair_spec

    spec = pair_spec(name, tuple(weights or ()))
    if spec.is_random:
        raise UserError("random weights are made, not fetched")
    word = _checked(spec, method)
    with phases():
        files = spec.pull(word)
        doing("sha256")
        hashes = spec.weights(word)
    rows = [
        {"file": key, "bytes": path.stat().st_size, "sha256": hashes[key], "path": str(path)}
        for key, path in files.items()
    ]
    if json:
        put_json(pair=name, files=rows)
    else:
        put(table(rows))


@app.command(no_args_is_help=True)
def check(
    name: PairArgument, weights: WeightsOption = None, method: OwnOption = None, json: JsonOption = False
) -> None:
    """Compare every tensor of a pair's weights with what its networks need, without a GPU."""
    from motionecho.models.registry import check_pair, pair_spec

    spec = pair_spec(name, tuple(weights or ()))
    word = _checked(spec, method)
    with phases():
        if not spec.is_random:
            spec.paths(word)  # what is missing is told before torch is there
            doing("tensors")
        found = check_pair(spec, word)
    rows = [
        {"network": network, "problem": mismatch.problem, "tensor": mismatch.tensor,
         "expected": mismatch.expected, "found": mismatch.found}
        for network, mismatches in found.items() for mismatch in mismatches
    ]  # fmt: skip
    if json:
        put_json(pair=name, ok=not rows, networks=list(found), mismatches=rows)
    elif rows:
        put(table(rows))
    else:
        put(f"{name}: {', '.join(found)} fit")
    if rows:
        say(f"error: pair {name}: {count(len(rows), 'tensor')} of its weights do not fit")
        raise typer.Exit(Exit.USAGE)


def _checked(spec: "PairSpec", method: str | None) -> str:
    """Return the method's word, "" for none; UserError on one that the pair does not have."""
    return spec.config(changes={"method": method}).sampling.method if method else ""


def _describe(spec: "PairSpec") -> dict[str, Any]:
    weights, missing = {}, None
    try:
        weights = spec.known_weights()
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
        "gigabytes": round(sum(part.gigabytes for part in spec.needed().values()), 1),
        "presets": {preset: dict(changes) for preset, changes in spec.presets.items()},
        "published": {part: published.hub for part, published in spec.parts.items()},
        "weights": weights,
        "missing": missing,
    }
