"""`motionecho batch plan`: what a submit would do and cost. `batch submit --dry-run` is the same."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motionecho.cli.flatten import flattened
from motionecho.cli.options import (
    ClusterOptions,
    DenyOption,
    GateOptions,
    JsonOption,
    LimitOption,
    ManifestArgument,
    MetricOption,
    OutOption,
    PlacementOptions,
    SettingsOptions,
)
from motionecho.cli.printing import count, fitted, put, put_json, say, size
from motionecho.cli.running import read_cluster
from motionecho.errors import UserError
from motionecho.runs.places import Place

if TYPE_CHECKING:
    from motionecho.config import RunSettings
    from pipelines.estimate import Cost, Forecast
    from pipelines.plan import Work


@flattened
def plan(
    manifest: ManifestArgument,
    settings: SettingsOptions,
    gate: GateOptions,
    placement: PlacementOptions,
    cluster: ClusterOptions,
    out: OutOption = None,
    metric: MetricOption = None,
    limit: LimitOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="As if failed samples ran again.")
    ] = False,
    like: Annotated[
        str | None,
        typer.Option("--like", parser=Place, metavar="RUN", help="Take the costs of another run's samples."),
    ] = None,
    pilot: Annotated[
        int | None,
        typer.Option("--pilot", min=1, help="Make N samples in a temporary place to learn the cost."),
    ] = None,
    deny: DenyOption = None,
    json: JsonOption = False,
) -> None:
    """Say what is done, cached and left, and the hours and bytes it takes. Writes nothing to the run."""
    from motionecho.cli.settings import resolve

    if like and pilot:
        raise UserError("--like and --pilot are two sources of the same figures; give one of them")
    resolved = resolve(settings, placement, gate, metric)
    url = out or f"runs/{Path(Place(manifest).name).stem}"

    from motionecho.manifest.prompts import prompt_filters
    from pipelines import estimate, generate

    filters, motions = prompt_filters(deny), cluster.motions
    work = generate.plan_generation(
        manifest, resolved.settings, url, limit, retry_failed, motions, filters=filters
    )
    cost = estimate.of_run(like, resolved.settings) if like else None
    if pilot and work.todo:
        say(f"making {count(min(pilot, len(work.todo)), 'sample')} in a temporary place")
        cost = estimate.pilot(work, resolved.settings, url, read_cluster(cluster), pilot)
    put_plan(work, manifest, url, cost, json, refusal(resolved.settings, url, cluster.motions))


def refusal(settings: "RunSettings", url: str, motions: str | None) -> str | None:
    """Return why a submit into the place would be refused, None where it would not."""
    from motionecho.runs.store import RunStore
    from pipelines.generate import identity

    try:
        RunStore(url, motions=motions).refuse_other(identity(settings))
    except UserError as problem:
        return str(problem)
    return None


def put_plan(
    work: "Work",
    manifest: str,
    url: str,
    cost: "Cost | None" = None,
    json: bool = False,
    refused: str | None = None,
) -> None:
    """Print a plan with its costs: those given, else those of the run's own records.

    `refused` is why a submit would not begin.
    """
    from pipelines import estimate

    cost = cost or estimate.of_run(url, index=work.index)
    expected = estimate.estimate(work, cost) if cost else None
    if json:
        facts_of = asdict(expected) if expected else None
        put_json(run=url, plan=asdict(work.plan), estimate=facts_of, refused=refused)
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
    if facts.texts:
        lines["stage text"] = f"{count(facts.texts, 'distinct text')}, of which {facts.texts_cached} encoded"
    if expected:
        lines["storage"] = size(expected.bytes)
    if facts.bad:
        lines["bad rows"] = f"{len(facts.bad)}; row {facts.bad[0].row}: {facts.bad[0].reason}"
    if facts.unread:
        lines["not read"] = f"{len(facts.unread)}; row {facts.unread[0].row}: {facts.unread[0].reason}"
    if refused:
        lines["refused"] = refused
    lines |= {"note" + " " * n: note for n, note in enumerate(facts.notes)}
    for name, text in lines.items():
        put(*fitted(f"{name:<11}", text))


def _cost(expected: "Forecast | None") -> str:
    if expected is None:
        return "not known: no sample to go by; --pilot 3 makes some, --like RUN takes another run's"
    between = "" if expected.low is None else f" ({expected.low:.3g} to {expected.high:.3g})"
    return f"{expected.hours:.3g} {expected.unit}-hours{between}, from {expected.basis}"
