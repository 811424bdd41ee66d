"""The tree of commands. Heavy packages are imported inside functions, so that --help is instant."""

from typing import Annotated

import typer

from motionecho import __version__
from motionecho.cli import (
    batch,
    bench,
    bench_methods,
    bench_pipeline,
    calibrate,
    config,
    finished,
    generate,
    jobs,
    manifest,
    models,
    plan,
    report,
    retry,
    score,
    status,
    verify,
)
from motionecho.cli.printing import put

app = typer.Typer(
    name="motionecho",
    help="Videos that follow the motion of a reference clip, from one clip to a cluster.",
    epilog="Start with: motionecho generate REF.mp4 'a red star on a blue background' -o out.mp4",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
batch.app.command(no_args_is_help=True)(plan.plan)
batch.app.command(no_args_is_help=True)(status.status)
batch.app.command(no_args_is_help=True)(status.failures)
batch.app.command(no_args_is_help=True)(jobs.logs)
batch.app.command(no_args_is_help=True)(jobs.cancel)
batch.app.command(no_args_is_help=True)(report.report)
batch.app.command(no_args_is_help=True)(finished.collect)
batch.app.command(no_args_is_help=True)(verify.verify)
batch.app.command(no_args_is_help=True)(retry.retry)
batch.app.command(no_args_is_help=True)(finished.replay)
batch.app.command(no_args_is_help=True)(finished.gc)
app.add_typer(batch.app, name="batch")
bench.app.command()(bench_pipeline.driver)
bench.app.command()(bench_pipeline.pipeline)
bench.app.command()(bench_methods.methods)
bench.app.command()(bench_methods.ablation)
app.command(no_args_is_help=True)(generate.generate)
app.command(no_args_is_help=True)(calibrate.calibrate)
app.command(no_args_is_help=True)(score.score)
app.command(no_args_is_help=True)(score.compare)
app.add_typer(manifest.app, name="manifest")
app.add_typer(models.app, name="models")
app.add_typer(config.app, name="config")
app.add_typer(bench.app, name="bench")


def _print_version(asked: bool) -> None:
    if asked:
        put(f"motionecho {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error; works anywhere.")
    ] = False,
) -> None:
    """Videos that follow the motion of a reference clip, from one clip to a cluster."""
