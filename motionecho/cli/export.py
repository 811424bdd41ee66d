"""`motionecho export`: a data set out of runs, in a form that loaders read."""

import shlex
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.options import JsonOption
from motionecho.cli.printing import count, put, put_json, say
from motionecho.cli.status import open_run
from motionecho.errors import UserError, nearest
from motionecho.runs.places import Place

if TYPE_CHECKING:
    from motionecho.dataset.export import Exported

TELL_EVERY_S = 10.0


def export(
    runs: Annotated[
        list[str],
        typer.Argument(parser=Place, metavar="RUN...", help="Folders or URLs of runs.", show_default=False),
    ],
    out: Annotated[
        str,
        typer.Option("--out", "-o", parser=Place, metavar="PLACE", help="Folder or URL of the data set."),
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="FORM", help="folder, webdataset or hf: docs/export.md.")
    ] = "folder",
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="Only rows of which it is true: 'follows >= .7'."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME=SHARE,...", help="By reference: train=.9,val=.1."),
    ] = None,
    near: Annotated[
        float | None,
        typer.Option(
            "--near", metavar="F", min=0, max=255, help="How far near-duplicates are apart. [default: 6]"
        ),
    ] = None,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Leave no near-duplicate out.")
    ] = False,
    caption: Annotated[
        str | None,
        typer.Option("--caption", metavar="COLUMN", help="What captions are. [default: caption, or prompt]"),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="COLUMN", help="Only these columns; repeatable. [default: all but record]"
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option("--shard-size", metavar="N", min=1, help="Most videos of a shard. [default: 256]"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Export the finished samples of RUN... as one data set, every video held against its record.

    The same command again goes on where it was stopped. Exit code 3 where a video is damaged or missing.
    """
    from motionecho.dataset.export import FORMS, Wanted
    from motionecho.dataset.export import export as export_to
    from motionecho.dataset.near import NEAR
    from motionecho.dataset.shards import SAMPLES
    from motionecho.dataset.splits import ALL, read_shares

    if to not in FORMS:
        raise UserError(f'--to "{to}" is no form{nearest(to, FORMS)}; use {", ".join(FORMS)}')
    if near is not None and keep_duplicates:
        raise UserError("--near says how far duplicates are apart, --keep-duplicates keeps them: use one")
    if shard_size and to == "folder":
        raise UserError("a folder has no shards: leave out --shard-size, or use --to webdataset or hf")
    stores = [open_run(run) for run in dict.fromkeys(runs)]
    wanted = Wanted(
        form=to,
        where=where,
        shares=read_shares(split) if split is not None else ALL,
        near=None if keep_duplicates else NEAR if near is None else near,
        caption=caption,
        columns=tuple(column) if column else None,
        shard_size=shard_size or SAMPLES,
    )
    given = {"--to": to, "--where": where, "--split": split, "--near": near, "--caption": caption,
             "--shard-size": shard_size}  # fmt: skip
    words = ["motionecho", "export", *(store.url for store in stores), "--out", out]
    words += [word for name, value in given.items() if value is not None for word in (name, f"{value}")]
    words += [word for each in column or () for word in ("--column", each)]
    words += ["--keep-duplicates"] if keep_duplicates else []
    spoke = time.monotonic()

    def tell(what: str, number: int, of: int) -> None:
        nonlocal spoke
        if time.monotonic() - spoke >= TELL_EVERY_S:
            spoke = time.monotonic()
            say(f"{what}  {number} of {count(of, 'video')}")

    result = export_to(stores, out, wanted, shlex.join(words), tell)
    code = Exit.FAILED_SAMPLES if result.left_out else Exit.OK
    _conclude(result, where, keep_duplicates)
    if result.left_out:
        again = "; ".join(f"motionecho batch verify {shlex.quote(store.url)} --requeue" for store in stores)
        say(f"to have what was left out made again: {again}")
    if json:
        names = [{"id": id, "problem": problem} for id, problem in result.left_out]
        runs_of = [store.url for store in stores]
        put_json(
            place=out, exit_code=int(code), form=to, runs=runs_of, **asdict(result) | {"left_out": names}
        )
    else:
        put(out)
    raise typer.Exit(code)


def _conclude(result: "Exported", where: str | None, kept: bool) -> None:
    chosen = f", {result.chosen} chosen" if where is not None else ""
    near = "" if kept else f", {count(result.near_duplicates, 'near-duplicate')} left out"
    say(f"samples    {result.done} done{chosen}{near}")
    for name, its in result.splits.items():
        say(f"{name:<10} {count(its['videos'], 'video')} of {count(its['references'], 'reference')}")
    say(f"copied     {result.copied}, already there {result.already_there}")
    say(*(f"left out   {id}: {problem}" for id, problem in result.left_out))
