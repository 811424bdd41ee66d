"""`motionecho batch submit`: run a manifest. The only place that reaches up to `pipelines`, lazily."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

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
from motionecho.cli.outcome import Exit
from motionecho.cli.plan import put_plan
from motionecho.cli.progress import Display, outcome
from motionecho.cli.settings import resolve
from motionecho.cli.talk import count, put, put_json, say, stderr
from motionecho.config import RunSettings
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

    from pipelines.engine import is_job_server

    as_job = is_job_server(address)
    if (detach or runtime_env) and not as_job:
        raise UserError(
            f"{'--detach' if detach else '--runtime-env'} is for jobs: add --address http://HEAD:8265"
        )
    if as_job and not dry_run:
        submit_job(ctx, resolved, url, detach, runtime_env, json)

    from pipelines import generate as pipeline

    if fresh and not as_job:
        pipeline.survey(
            manifest, resolved.settings, url, limit
        )  # a mistake is told before anything is deleted
        start_over(url, yes, dry_run)
    work = pipeline.survey(manifest, resolved.settings, url, limit, retry_failed, motions)
    if dry_run:
        put_plan(work, manifest, url, json=json)
        return
    banner(work.plan, manifest, url, resolved.spec.name)
    engine = pipeline.Engine(
        **(pipeline.read_engine(engine_file) if engine_file else {}),
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


def execute(
    work: Any, manifest: str, settings: RunSettings, url: str, engine: Any, allow_failures: bool, json: bool
) -> Exit:
    """Carry out a survey, say how it goes and how it went, and return the exit code."""
    from pipelines import generate as pipeline

    with Display(stderr(), manifest, url) as display:
        summary = pipeline.run(manifest, settings, url, engine, display.update, work)
    conclude(summary, url)
    code = verdict(summary, allow_failures)
    if json:
        put_json(run=url, exit_code=int(code), **asdict(summary))
    else:
        put(url)
    return code


def start_over(url: str, yes: bool, dry_run: bool) -> None:
    """Delete what is at the run's place, once that is confirmed; a place without a run is left as it is."""
    from motionecho import sweep
    from motionecho.store import RunStore

    store = RunStore(url)
    if dry_run or store.run() is None:
        return
    if not yes:
        kept = count(len(store.keys()), "finished sample")
        raise UserError(f'--fresh deletes the run at "{store.url}" with its {kept}: add --yes to do that')
    say(f"deleted {count(sweep.clear(store), 'file')} of the run before; inverted references are kept")


def verdict(summary: Any, allow_failures: bool) -> Exit:
    """The exit code of a finished, stopped or interrupted run."""
    if summary.interrupted:
        return Exit.INTERRUPTED
    if summary.stopped:
        return Exit.GUARD
    return Exit.FAILED_SAMPLES if summary.failed and not allow_failures else Exit.OK


def banner(plan: Any, manifest: str, url: str, pair: str) -> None:
    """What is about to happen, in at most eight lines of talk."""
    before = f", {plan.failed_before} failed before" if plan.failed_before else ""
    say(
        f"manifest   {manifest}: {count(plan.rows, 'row')}, {count(plan.references, 'reference')}"
        + (f" ({plan.motions_cached} already inverted)" if plan.motions_cached else ""),
        f"work left  {plan.todo} of {plan.rows} ({plan.done} done{before})",
        f"pair       {pair}",
        f"out        {url}",
    )
    if plan.bad:
        say(f"bad rows   {len(plan.bad)}; the first: {plan.bad[0].reason}")
    say("resume     the same command again")


def conclude(summary: Any, url: str) -> None:
    """How a run ended and what to do next, in a few lines of talk."""
    done = summary.committed + summary.already_done
    say(outcome(done, summary.failed, summary.already_done, summary.total, summary.seconds))
    if summary.stopped:
        say(f"stopped early: {summary.stopped}")
    if summary.sheet:
        say(f"look at    {summary.sheet}")
    if summary.failed:
        say(f"failures   motionecho batch failures {url}")
    if summary.interrupted:
        say("interrupted: what is finished is kept; the same command again continues")
