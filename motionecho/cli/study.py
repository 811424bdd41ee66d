"""`motionecho study`: the paper's user study as a page without a server, and what its answers come to."""

from dataclasses import asdict
from typing import Annotated

import typer

from motionecho.cli.options import JsonOption
from motionecho.cli.printing import count, put, put_json, say, size
from motionecho.cli.status import open_run
from motionecho.runs.places import Place

app = typer.Typer(help="Methods side by side for people to choose from: docs/study.md.", no_args_is_help=True)


@app.command(no_args_is_help=True)
def build(
    runs: Annotated[
        list[str],
        typer.Argument(
            parser=Place,
            metavar="RUN...",
            help="Runs, each a method; or one whose videos are of several methods.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", parser=Place, metavar="DIR", help="Folder or URL of the page.")
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="What tells methods apart, repeatable. [default: the run; of one run, its method, strategy "
            "or pair]",
        ),
    ] = None,
    pairs: Annotated[
        int, typer.Option("--pairs", metavar="N", min=1, help="Pairs of reference and prompt to draw.")
    ] = 36,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the draw.")] = 0,
    any_seed: Annotated[
        bool, typer.Option("--any-seed", help="Compare videos whatever their seeds are.")
    ] = False,
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats", metavar="N", min=0, help="Pairs that a rater sees again, to compare answers."
        ),
    ] = 0,
    check: Annotated[bool, typer.Option("--check", help="Ask once for a given answer, as a check.")] = False,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            parser=Place,
            metavar="FILE",
            help="What says which video is whose; not for raters. [default: DIR.key.json]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a study that is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a page that shows videos of several methods beside their reference, and asks which is best.

    Raters open it from a disk or any static place, answer, and send the file that it saves.
    """
    from motionecho.study.build import build_study

    stores = [open_run(run) for run in runs]
    built = build_study(stores, out, by or (), pairs, seed, any_seed, repeats, check, key, force, say)
    references = f"{count(built.pairs, 'pair')} of {count(built.references, 'reference')}"
    say(f"{len(built.methods)} methods ({', '.join(built.methods)}), {references}, {size(built.bytes)}")
    if built.unlike:
        say(f"note: in {count(built.unlike, 'pair')} videos last differently: they begin and end together")
    say(f"the key, which raters must not see: {built.key}")
    put_json(**asdict(built)) if json else put(built.page)
