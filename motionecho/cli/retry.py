"""`motionecho batch retry`: the samples of a run that failed, once more."""

from dataclasses import replace
from typing import Annotated

import typer

from motionecho.cli.flatten import flattened
from motionecho.cli.options import (
    ClusterOptions,
    DeviceOption,
    EagerOption,
    GuardOptions,
    JsonOption,
    OffloadOption,
    RunArgument,
)
from motionecho.cli.running import banner, execute, read_cluster
from motionecho.cli.status import open_run
from motionecho.errors import UserError
from motionecho.runs.places import Place


@flattened
def retry(
    run: RunArgument,
    cluster: ClusterOptions,
    guards: GuardOptions,
    manifest: Annotated[
        str | None,
        typer.Argument(
            parser=Place,
            metavar="MANIFEST",
            help="Where its rows are now. [default: what was submitted]",
        ),
    ] = None,
    device: DeviceOption = None,
    offload: OffloadOption = None,
    eager: EagerOption = None,
    json: JsonOption = False,
) -> None:
    """Run just the samples of RUN that failed or were requeued, with its settings."""
    from motionecho.manifest.prompts import prompt_filters
    from pipelines.execution import is_job_server
    from pipelines.retry import manifests_of, only_failed, settings_of

    store = open_run(run)
    places = [manifest] if manifest else manifests_of(store)
    place = places[0] if len(places) == 1 else f"{len(places)} manifests"
    if is_job_server(cluster.address):
        raise UserError(
            f"as a job: motionecho batch submit {places[0]} --out {store.url} --retry-failed --address ..."
        )
    settings = settings_of(store, device)
    how = replace(settings.placement, offload=bool(offload), eager=bool(eager))
    settings = replace(settings, placement=how)
    work = only_failed(store, places, settings, prompt_filters(guards.deny))
    banner(work.plan, place, store.url, settings.pair)
    execution = read_cluster(cluster, guards, retry_failed=True)
    raise typer.Exit(execute(work, place, settings, store.url, execution, guards.allow_failures, json))
