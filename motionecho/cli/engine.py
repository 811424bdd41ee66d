"""`motionecho bench driver`: what the engine itself costs, without any model."""

import tempfile
from typing import Annotated

import typer

from motionecho.cli.options import AddressOption, JsonOption, WorkersOption
from motionecho.cli.talk import put, put_json, say


def driver(
    samples: Annotated[int, typer.Option("--samples", min=10, help="No-op samples to commit.")] = 3000,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Rows to plan and resume; 0: none.")] = 100_000,
    done: Annotated[int, typer.Option("--done", min=0, help="How many of them are done.")] = 99_000,
    store: Annotated[
        str | None, typer.Option("--store", help="A new run's URL to commit to. [default: a local folder]")
    ] = None,
    address: AddressOption = None,
    workers: WorkersOption = 2,
    json: JsonOption = False,
) -> None:
    """Samples a second with stages that do nothing, and how long a nearly finished run takes to resume."""
    from pipelines import bench
    from pipelines.engine import Engine

    with tempfile.TemporaryDirectory(prefix="motionecho-bench-") as folder:
        say(f"{samples} no-op samples through invert, generate, score and commit")
        engine = Engine(address=address, workers=workers)
        rate = round(bench.throughput(folder, samples, store, engine), 1)
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
