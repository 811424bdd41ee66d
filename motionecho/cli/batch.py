"""`motionecho batch submit`: run a manifest, from here or as a job of a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from motionecho.cli.flatten import flattened
from motionecho.cli.jobs import submit_job
from motionecho.cli.options import (
    ClusterOptions,
    EffortOptions,
    GateOptions,
    JobOptions,
    JsonOption,
    ManifestArgument,
    MetricOption,
    OutOption,
    PlacementOptions,
    SettingsOptions,
)
from motionecho.cli.plan import put_plan, refusal
from motionecho.cli.printing import count, say
from motionecho.cli.running import banner, execute, read_cluster
from motionecho.errors import UserError
from motionecho.runs.places import Place

app = typer.Typer(help="Run a manifest of samples, and look at runs.", no_args_is_help=True)


@app.command(no_args_is_help=True)
@flattened
def submit(
    manifest: ManifestArgument,
    settings: SettingsOptions,
    gate: GateOptions,
    placement: PlacementOptions,
    cluster: ClusterOptions,
    effort: EffortOptions,
    job: JobOptions,
    out: OutOption = None,
    metric: MetricOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make every video of MANIFEST. The same manifest submitted to the same place continues the run."""
    from motionecho.cli.settings import resolve

    resolved = resolve(settings, placement, gate, metric)
    url = out or f"runs/{Path(Place(manifest).name).stem}"

    from pipelines.execution import is_job_server

    as_job = is_job_server(cluster.address)
    if (job.detach or job.runtime_env) and not as_job:
        raise UserError(
            f"{'--detach' if job.detach else '--runtime-env'} is for jobs: add --address http://HEAD:8265"
        )
    if as_job and not dry_run:
        if effort.fresh and not effort.yes:  # of the job nobody would hear before it has its turn
            raise UserError(f'--fresh deletes the run that the job finds at "{url}": add --yes to do that')
        submit_job(manifest, resolved.settings, url, cluster, effort, job, json)

    from motionecho.manifest.prompts import prompt_filters
    from motionecho.runs.results import Index
    from pipelines import generate as pipeline

    execution = read_cluster(cluster, effort, limit=effort.limit, retry_failed=effort.retry_failed)
    work = pipeline.plan_generation(
        manifest,
        resolved.settings,
        url,
        effort.limit,
        effort.retry_failed,
        cluster.motions,
        index=Index() if effort.fresh else None,  # whatever version made what is there
        filters=prompt_filters(effort.deny),
    )
    if dry_run:
        refused = None if effort.fresh else refusal(resolved.settings, url, cluster.motions)
        put_plan(work, manifest, url, json=json, refused=refused)
        return
    if effort.fresh:  # once no mistake is left to be told
        start_over(url, effort.yes)
    pipeline.check(work, resolved.settings, url, execution)
    banner(work.plan, manifest, url, resolved.spec.name)
    spec, elsewhere = resolved.spec, cluster.address not in (None, "local")
    if elsewhere and spec.parts and not spec.is_random:
        size = spec.gigabytes(spec.needed(resolved.settings.echo.sampling.method))
        say(f"weights    a node that lacks them fetches up to {size:.1f} GB into a cache of its own")
    code = execute(work, manifest, resolved.settings, url, execution, effort.allow_failures, json)
    raise typer.Exit(code)


def start_over(url: str, yes: bool) -> None:
    """Delete what is at the run's place, once that is confirmed; a place without a run is left as it is."""
    from motionecho.runs import cleanup
    from motionecho.runs.store import RunStore

    store = RunStore(url)
    if store.run() is None:
        return
    if not yes:
        kept = count(len(store.keys()), "finished sample")
        raise UserError(f'--fresh deletes the run at "{store.url}" with its {kept}: add --yes to do that')
    say(f"deleted {count(cleanup.clear(store), 'file')} of the run before; inverted references are kept")
