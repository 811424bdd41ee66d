"""`motionecho batch plan`: what a submit would do and cost. `batch submit --dry-run` is the same."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from motionecho.cli.options import (
    AddressOption,
    ConfigOption,
    DeviceOption,
    DtypeOption,
    EagerOption,
    EngineOption,
    FitOption,
    GateOption,
    GateTriesOption,
    JsonOption,
    ManifestArgument,
    MetricOption,
    MotionsOption,
    OffloadOption,
    OutOption,
    PairOption,
    PresetOption,
    SetOption,
    WeightsOption,
    WorkersOption,
)
from motionecho.cli.printing import count, put, put_json, say, size, table
from motionecho.cli.settings import resolve
from motionecho.errors import UserError


def plan(
    manifest: ManifestArgument,
    out: OutOption = None,
    pair: PairOption = None,
    preset: PresetOption = None,
    changes: SetOption = None,
    config: ConfigOption = None,
    metric: MetricOption = None,
    fit: FitOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    weights: WeightsOption = None,
    offload: OffloadOption = None,
    eager: EagerOption = None,
    gate: GateOption = None,
    gate_tries: GateTriesOption = None,
    motions: MotionsOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N rows.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="As if failed samples ran again.")
    ] = False,
    like: Annotated[
        str | None, typer.Option("--like", metavar="RUN", help="Take the costs of another run's samples.")
    ] = None,
    pilot: Annotated[
        int | None,
        typer.Option("--pilot", min=1, help="Make N samples in a temporary place to learn the cost."),
    ] = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    engine_file: EngineOption = None,
    json: JsonOption = False,
) -> None:
    """What is done, cached and left, and the hours and bytes it takes. Writes nothing to the run."""
    if like and pilot:
        raise UserError("--like and --pilot are two sources of the same figures; give one of them")
    resolved = resolve(
        pair=pair, preset=preset, changes=changes or (), config=config, metrics=metric or (), fit=fit,
        device=device, dtype=dtype, weights=weights, offload=offload, eager=eager,
        gate=gate, gate_tries=gate_tries,
    )  # fmt: skip
    url = out or f"runs/{Path(manifest).stem}"

    from pipelines import estimate, generate

    work = generate.plan_generation(manifest, resolved.settings, url, limit, retry_failed, motions)
    cost = estimate.of_run(like, resolved.settings) if like else None
    if pilot and work.todo:
        say(f"making {count(min(pilot, len(work.todo)), 'sample')} in a temporary place")
        pools = generate.read_execution(engine_file) if engine_file else {}
        engine = generate.Execution(**pools, address=address, workers=workers)
        cost = estimate.pilot(work, resolved.settings, url, engine, pilot)
    put_plan(work, manifest, url, cost, json)


def put_plan(work: Any, manifest: str, url: str, cost: Any = None, json: bool = False) -> None:
    """Print a plan with its costs: those given, else those of the run's own records."""
    from pipelines import estimate

    cost = cost or estimate.of_run(url)
    expected = estimate.estimate(work, cost) if cost else None
    if json:
        put_json(run=url, plan=asdict(work.plan), estimate=asdict(expected) if expected else None)
        return
    facts = work.plan
    lines = {
        "manifest": f"{manifest}: {count(facts.rows, 'row')}, "
        f"{count(facts.references, 'distinct reference')}",
        "out": url,
        "done": f"{facts.done}"
        + (f", and {facts.failed_before} failed before" if facts.failed_before else ""),
        "work left": f"{count(facts.todo, 'sample')}, {count(facts.motions, 'motion')} "
        f"of which {facts.motions_cached} cached",
        "cost": _cost(expected),
    }
    if expected:
        lines["storage"] = size(expected.bytes)
    if facts.bad:
        lines["bad rows"] = f"{len(facts.bad)}; row {facts.bad[0].row}: {facts.bad[0].reason}"
    put(table([{"plan": name, "": text} for name, text in lines.items()], limit=200))


def _cost(expected: Any) -> str:
    if expected is None:
        return "not known: no sample was made here; --pilot 3 makes some, --like RUN takes another run's"
    between = "" if expected.low is None else f" ({expected.low:.3g} to {expected.high:.3g})"
    return f"{expected.hours:.3g} {expected.unit}-hours{between}, from {expected.basis}"
