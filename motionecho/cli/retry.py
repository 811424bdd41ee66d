"""`motionecho batch retry`: the samples of a run that failed, once more."""

from dataclasses import replace
from typing import Annotated

import typer

from motionecho.cli.options import (
    AddressOption,
    DeviceOption,
    EagerOption,
    EngineOption,
    JsonOption,
    MotionsOption,
    OffloadOption,
    RunArgument,
    WorkersOption,
)  # fmt: skip
from motionecho.cli.running import banner, execute
from motionecho.cli.status import open_run
from motionecho.errors import UserError


def retry(
    run: RunArgument,
    manifest: Annotated[
        str | None,
        typer.Argument(metavar="MANIFEST", help="Where its rows are now. [default: as it was submitted]"),
    ] = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = None,
    offload: OffloadOption = None,
    eager: EagerOption = None,
    motions: MotionsOption = None,
    engine_file: EngineOption = None,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Exit with 0 although samples failed.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run just the samples of RUN that failed, with its settings."""
    from pipelines.execution import Execution, is_job_server
    from pipelines.machines.resources import read_execution
    from pipelines.retry import only_failed, settings_of

    store = open_run(run)
    place = manifest or (store.progress() or {}).get("manifest")
    if not place:
        raise UserError(f'"{store.url}" does not say what manifest it was made of: name it after RUN')
    if is_job_server(address):
        raise UserError(
            f"as a job: motionecho batch submit {place} --out {store.url} --retry-failed --address ..."
        )
    settings = settings_of(store, device)
    how = replace(settings.placement, offload=bool(offload), eager=bool(eager))
    settings = replace(settings, placement=how)
    work = only_failed(store, place, settings)
    banner(work.plan, place, store.url, settings.pair)
    pools = read_execution(engine_file) if engine_file else {}
    engine = Execution(**pools, address=address, workers=workers, motions=motions, retry_failed=True)
    raise typer.Exit(execute(work, place, settings, store.url, engine, allow_failures, json))
