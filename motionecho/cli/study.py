"""`motionecho study`: the paper's user study as a page without a server, and what its answers come to."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.options import JsonOption
from motionecho.cli.printing import count, put, put_json, say, size, table
from motionecho.cli.status import open_run
from motionecho.runs.places import Place

if TYPE_CHECKING:
    from motionecho.study.tally import StudyTally

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


@app.command(no_args_is_help=True)
def tally(
    answers: Annotated[
        list[str],
        typer.Argument(
            parser=Place, metavar="ANSWERS...", help="What raters saved, a file each.", show_default=False
        ),
    ],
    key: Annotated[
        str, typer.Option("--key", parser=Place, metavar="FILE", help="The key of the study: DIR.key.json.")
    ],
    screen: Annotated[
        bool, typer.Option("--screen", help="Leave out raters that failed the check of attention.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Sum up answers: the share of each method by question with its 95 % interval, and how raters agree.

    A file that cannot be tallied is left out, and the exit code is 3.
    """
    from motionecho.study import answers as files
    from motionecho.study.tally import tally as sum_up

    solution = files.read_key(key)
    read = files.read_answers(answers, solution)
    result = sum_up(solution, read, screen)
    say(*(f"left out   {each}" for each in read.left_out), *(f"replaced   {each}" for each in read.replaced))
    if json:
        put_json(**asdict(result), left_out=read.left_out, replaced=read.replaced)
    else:
        put(table(_share_rows(result)), "", table(_agreement_rows(result)), "", table(_place_rows(result)))
    say(*_about(result, screen))
    if read.left_out:
        raise typer.Exit(Exit.FAILED_SAMPLES)


def _share_rows(result: "StudyTally") -> list[dict[str, Any]]:
    return [
        {"question": name, "about": its.about, "method": method, "share": share.mean, "low": share.low,
         "high": share.high}
        for name, its in result.questions.items()
        for method, share in its.shares.items()
    ]  # fmt: skip


def _agreement_rows(result: "StudyTally") -> list[dict[str, Any]]:
    return [
        {"question": name, "answers": its.answers, "agreement": its.agreement}
        for name, its in result.questions.items()
    ]


def _place_rows(result: "StudyTally") -> list[dict[str, Any]]:
    return [
        {"place": chr(ord("A") + number), "share": share.mean, "low": share.low, "high": share.high}
        for number, share in enumerate(result.places)
    ]


def _about(result: "StudyTally", screen: bool) -> list[str]:
    """Say in sentences what stands beside the tables."""
    chance = 1 / len(result.places)
    raters = f"{count(result.answers, 'answer')} by {count(result.raters, 'rater')}"
    said = [f"{raters} on {count(result.pairs, 'pair')}; by chance a share is {chance:.3g}"]
    biased = [
        chr(ord("A") + number)
        for number, share in enumerate(result.places)
        if share.low is not None and share.high is not None and not share.low <= chance <= share.high
    ]
    if biased:
        said.append(f"note: place {', '.join(biased)} on the page was not chosen as often as chance has it")
    if result.checked:
        way = "they are left out" if screen else "--screen leaves them out"
        who = f" ({', '.join(result.failed)}): {way}" if result.failed else ""
        said.append(f"{len(result.failed)} of {count(result.checked, 'rater')} failed the check{who}")
    if result.repeated[1]:
        said.append(
            f"{result.repeated[0]} of {result.repeated[1]} answers to pairs that came again are the same"
        )
    if result.unfinished:
        left = ", ".join(f"{rater} ({number} sets left)" for rater, number in result.unfinished.items())
        said.append(f"not finished: {left}")
    return said
