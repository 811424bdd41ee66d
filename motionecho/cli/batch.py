"""`motionecho batch submit`: run a manifest. The only place that reaches up to `pipelines`, lazily."""

from pathlib import Path
from typing import Annotated

import typer

from motionecho.cli.jobs import submit_job
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
from motionecho.cli.plan import put_plan
from motionecho.cli.printing import count, say
from motionecho.cli.running import banner, execute
from motionecho.cli.settings import resolve
from motionecho.errors import UserError

app = typer.Typer(help="Run a manifest of samples, and look at runs.", no_args_is_help=True)


@app.command(no_args_is_help=True)
def submit(
    ctx: typer.Context,
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
    address: AddressOption = None,
    motions: MotionsOption = None,
    workers: WorkersOption = None,
    gate: GateOption = None,
    gate_tries: GateTriesOption = None,
    weights: WeightsOption = None,
    offload: OffloadOption = None,
    eager: EagerOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N rows.")] = None,
    deadline: Annotated[
        float, typer.Option("--deadline", min=1, help="Seconds an attempt may take.")
    ] = 1800.0,
    max_failure_rate: Annotated[
        float, typer.Option("--max-failure-rate", min=0, max=1, help="Stop above it, after 50 samples.")
    ] = 0.05,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed samples again.")] = False,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Exit with 0 although samples failed.")
    ] = False,
    engine_file: EngineOption = None,
    canary: Annotated[
        bool, typer.Option("--canary/--no-canary", help="Every worker proves itself before it makes videos.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: delete the run at this place.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm --fresh.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the job alone once it is submitted; print its id.")
    ] = False,
    runtime_env: Annotated[
        str | None,
        typer.Option("--runtime-env", metavar="FILE.yaml", help="Ray's runtime_env for the job."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make every video of MANIFEST. The same manifest submitted to the same place continues the run."""
    resolved = resolve(
        pair=pair, preset=preset, changes=changes or (), config=config, metrics=metric or (), fit=fit,
        device=device, dtype=dtype, weights=weights, offload=offload, eager=eager,
        gate=gate, gate_tries=gate_tries,
    )  # fmt: skip
    url = out or f"runs/{Path(manifest).stem}"

    from pipelines.execution import is_job_server

    as_job = is_job_server(address)
    if (detach or runtime_env) and not as_job:
        raise UserError(
            f"{'--detach' if detach else '--runtime-env'} is for jobs: add --address http://HEAD:8265"
        )
    if as_job and not dry_run:
        submit_job(ctx, resolved, url, detach, runtime_env, json)

    from pipelines import generate as pipeline

    if fresh and not as_job:
        pipeline.plan_generation(
            manifest, resolved.settings, url, limit
        )  # a mistake is told before anything is deleted
        start_over(url, yes, dry_run)
    work = pipeline.plan_generation(manifest, resolved.settings, url, limit, retry_failed, motions)
    if dry_run:
        put_plan(work, manifest, url, json=json)
        return
    banner(work.plan, manifest, url, resolved.spec.name)
    engine = pipeline.Execution(
        **(pipeline.read_execution(engine_file) if engine_file else {}),
        canary=canary,
        address=address,
        workers=workers,
        deadline_s=deadline,
        max_failure_rate=max_failure_rate,
        limit=limit,
        retry_failed=retry_failed,
        motions=motions,
    )
    raise typer.Exit(execute(work, manifest, resolved.settings, url, engine, allow_failures, json))


def start_over(url: str, yes: bool, dry_run: bool) -> None:
    """Delete what is at the run's place, once that is confirmed; a place without a run is left as it is."""
    from motionecho.runs import cleanup
    from motionecho.runs.store import RunStore

    store = RunStore(url)
    if dry_run or store.run() is None:
        return
    if not yes:
        kept = count(len(store.keys()), "finished sample")
        raise UserError(f'--fresh deletes the run at "{store.url}" with its {kept}: add --yes to do that')
    say(f"deleted {count(cleanup.clear(store), 'file')} of the run before; inverted references are kept")
