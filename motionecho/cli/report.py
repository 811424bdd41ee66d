"""`motionecho batch report`: a run, or two beside each other, as a folder that a browser opens."""

from dataclasses import asdict
from typing import Annotated

import typer

from motionecho.cli.options import JsonOption, RunArgument
from motionecho.cli.printing import count, put, put_json, say
from motionecho.cli.status import open_run
from motionecho.runs.places import Place


def report(
    run: RunArgument,
    beside: Annotated[
        str | None,
        typer.Argument(
            parser=Place, metavar="[B]", help="Another run, to be shown beside it.", show_default=False
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            parser=Place,
            metavar="DIR",
            help="Folder or URL of the report. [default: RUN/report]",
        ),
    ] = None,
    previews: Annotated[
        bool,
        typer.Option("--previews", help="Make the previews that are missing, as in runs of older versions."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write a page of RUN to look at: videos beside their references, figures, failures. It needs no server.

    Runs write theirs when they end; at any time before, it shows what is done. Two runs need --out.
    """
    from pipelines.reporting.write import write_report

    stores = [open_run(run)] + ([open_run(beside)] if beside else [])
    written = write_report(stores, out, previews, say)
    say(*(f"note: {problem}" for problem in written.problems))
    without = written.without_preview
    say(f"{count(written.samples, 'sample')}" + (f", {without} of them without a preview" if without else ""))
    if without and not previews:
        say("to make previews of them: the same command with --previews")
    put_json(runs=[store.url for store in stores], **asdict(written)) if json else put(written.page)
