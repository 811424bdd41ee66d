"""`motionecho bench driver|pipeline`: what the pipeline costs without any model, and with one."""

import os
import tempfile
from typing import Annotated

import typer

from motionecho.cli.flatten import flattened
from motionecho.cli.options import (
    AddressOption,
    JsonOption,
    MetricOption,
    PairOption,
    PlacementOptions,
    SetOption,
    SettingsOptions,
    WorkersOption,
)
from motionecho.cli.printing import put, put_json, say, stderr
from motionecho.cli.progress import Display

StoreOption = Annotated[
    str | None, typer.Option("--store", help="A new run's URL to commit to. [default: a local folder]")
]


def driver(
    samples: Annotated[int, typer.Option("--samples", min=10, help="No-op samples to commit.")] = 3000,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Rows to plan and resume; 0: none.")] = 100_000,
    done: Annotated[int, typer.Option("--done", min=0, help="How many of them are done.")] = 99_000,
    store: StoreOption = None,
    address: AddressOption = None,
    workers: WorkersOption = 2,
    json: JsonOption = False,
) -> None:
    """Count samples a second of stages that do nothing, and time a nearly finished run's resuming."""
    from pipelines import bench
    from pipelines.execution import Execution

    with tempfile.TemporaryDirectory(prefix="motionecho-bench-") as folder:
        say(f"{samples} no-op samples through invert, generate, publish, score and commit")
        execution = Execution(address=address, workers=workers)
        rate = round(bench.throughput(folder, samples, store, execution), 1)
        resumed = {}
        if rows:
            say(f"a manifest of {rows} rows of which {done} are done")
            resumed = bench.resuming(folder, rows, done)
    if json:
        put_json(samples=samples, samples_per_s=rate, resume=resumed)
        return
    put(f"{rate:g} samples/s")
    if resumed:
        put(
            f"{rows} rows, {done} done: plan {resumed['plan_s']:g} s, resume {resumed['resume_s']:g} s more, "
            f"peak memory {resumed['peak_gib']:g} GiB"
        )


@flattened
def pipeline(
    placement: PlacementOptions,
    pair: PairOption = None,
    samples: Annotated[int, typer.Option("--samples", min=2, help="Videos to make.")] = 48,
    references: Annotated[int, typer.Option("--references", min=1, help="Clips to invert.")] = 4,
    changes: SetOption = None,
    metric: MetricOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Count samples a second of a pair's whole batch, the workers' busy share, and where the time goes."""
    from motionecho.cli.settings import resolve

    resolved = resolve(SettingsOptions(pair=pair, changes=changes), placement, metrics=metric)

    from motionecho.runs.store import RunStore
    from pipelines import generate
    from pipelines.execution import Execution
    from pipelines.pace import pace, write_manifest

    execution = Execution(address=address, workers=workers)
    with tempfile.TemporaryDirectory(prefix="motionecho-bench-") as folder:
        manifest = write_manifest(folder, samples, references)
        url = store or os.path.join(folder, "run")
        with Display(stderr(), manifest, url) as display:
            generate.run(manifest, resolved.settings, url, execution, display.update)
        found = {"pair": resolved.spec.name} | pace(RunStore(url).records())
    if json:
        put_json(**found)
        return
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{part} {figure:g}" for part, figure in value.items())
        put(f"{name:<13} {value}")
