"""The tree of commands. Heavy packages are imported inside functions, so that --help is instant."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from motionecho import __version__
from motionecho.cli import (
    batch,
    bench,
    bench_methods,
    bench_pipeline,
    calibrate,
    config,
    doctor,
    export,
    finished,
    forget,
    generate,
    inspect,
    jobs,
    manifest,
    metrics,
    models,
    plan,
    report,
    retry,
    score,
    sign,
    status,
    study,
    verify,
)
from motionecho.cli.printing import put

PANELS = ONE, MANY, FIGURES, AROUND = (
    "One video", "Many videos", "How good they are", "What they are made with",
)  # fmt: skip


class Commands(TyperGroup):
    """A group of commands, panel by panel, that says of a wrong one where it is, or which there are."""

    def list_commands(self, ctx: Any) -> list[str]:
        panels = {name: getattr(its, "rich_help_panel", None) for name, its in self.commands.items()}
        return sorted(panels, key=lambda name: PANELS.index(panels[name]) if panels[name] in PANELS else 0)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except typer.Exit:
            raise
        except Exception as problem:  # the parser's own; where a word is near, it names that already
            said = str(getattr(problem, "message", ""))
            if said and "Did you mean" not in said:
                groups = ((name, getattr(group, "commands", {})) for name, group in self.commands.items())
                inside = [f"{ctx.command_path} {name} {args[0]}" for name, has in groups if args[0] in has]
                more = f"Did you mean '{inside[0]}'?" if inside else f"There are {', '.join(self.commands)}."
                problem.message = f"{said} {more}"  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    name="motionecho",
    cls=Commands,
    help="Videos that follow the motion of a reference clip, from one clip to a cluster.",
    epilog="Start with: motionecho generate REF.mp4 'a red star on a blue background' -o out.mp4",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
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
bench.app.command()(bench_pipeline.driver)
bench.app.command()(bench_pipeline.pipeline)
bench.app.command()(bench_methods.methods)
bench.app.command()(bench_methods.ablation)
app.command(no_args_is_help=True, rich_help_panel=ONE)(generate.generate)
app.command(no_args_is_help=True, rich_help_panel=ONE)(inspect.inspect)
app.command(no_args_is_help=True, rich_help_panel=ONE)(sign.sign)
app.add_typer(manifest.app, name="manifest", cls=Commands, rich_help_panel=MANY)
app.add_typer(batch.app, name="batch", cls=Commands, rich_help_panel=MANY)
app.command(no_args_is_help=True, rich_help_panel=MANY)(forget.forget)
app.command(no_args_is_help=True, rich_help_panel=MANY)(export.export)
app.command(no_args_is_help=True, rich_help_panel=FIGURES)(score.score)
app.command(no_args_is_help=True, rich_help_panel=FIGURES)(score.compare)
app.add_typer(study.app, name="study", cls=Commands, rich_help_panel=FIGURES)
app.add_typer(metrics.app, name="metrics", cls=Commands, rich_help_panel=FIGURES)
app.add_typer(models.app, name="models", cls=Commands, rich_help_panel=AROUND)
app.add_typer(config.app, name="config", cls=Commands, rich_help_panel=AROUND)
app.command(no_args_is_help=True, rich_help_panel=AROUND)(calibrate.calibrate)
app.command(rich_help_panel=AROUND)(doctor.doctor)
app.add_typer(bench.app, name="bench", cls=Commands, rich_help_panel=AROUND)


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
