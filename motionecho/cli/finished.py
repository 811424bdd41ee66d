"""`motionecho batch replay|collect|gc`: what one does with a run that has ended."""

from dataclasses import asdict
from typing import Annotated

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.options import (
    AgainOption,
    DeviceOption,
    JsonOption,
    RunArgument,
)
from motionecho.cli.printing import count, put, put_json, say, table
from motionecho.cli.status import open_run
from motionecho.errors import UserError
from motionecho.runs.layout import YOUNG_S
from motionecho.runs.places import Place


def replay(
    run: RunArgument,
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="Its id or key.", show_default=False)],
    out: Annotated[str | None, typer.Option("--out", "-o", help="Keep the new video there.")] = None,
    device: DeviceOption = None,
    manifest: AgainOption = None,
    json: JsonOption = False,
) -> None:
    """Make one sample again on this machine and compare it with its record; exit code 3 where it differs."""
    from pipelines import replay

    result = replay.replay(open_run(run), sample, device, out, manifest)
    for note in result.notes:
        say(f"note: {note}")
    if json:
        put_json(run=run, **asdict(result))
    elif result.equal:
        put(f"{result.id}: equal, latents {result.now[:16]}")
    else:
        frames = result.frames
        how = (
            f"; frames differ by {frames['mean']:g} of 255 on average, {frames['max']:g} at most "
            f"(PSNR {frames['psnr_db']:g} dB)"
            if frames and frames["max"]
            else "; the frames of the two videos are equal"
            if frames
            else ""
        )
        put(f"{result.id}: different, latents {result.now[:16]} here, {str(result.recorded)[:16]} there{how}")
    raise typer.Exit(Exit.OK if result.equal else Exit.FAILED_SAMPLES)


def collect(
    run: RunArgument,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            parser=Place,
            metavar="DIR|FILE.parquet",
            help="A folder for videos, or one table.",
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Write over files of others there.")] = False,
    steps: Annotated[bool, typer.Option("--steps", help="A table of all steps, not of samples.")] = False,
    json: JsonOption = False,
) -> None:
    """Gather a run: its videos as `<id>.mp4` beside one results.parquet, or just the table.

    A video that is not what its record says is left out, and the exit code is 3.
    """
    from motionecho.runs import export as library

    store = open_run(run)
    if steps:
        if not out.endswith(".parquet"):
            raise UserError(f'--steps writes one table: "{out}" has to end in .parquet')
        rows, problems = library.collect_steps(store, out, force)
        say(f"{count(rows, 'step')} in one table", *(f"left out   {problem}" for problem in problems))
        put_json(run=store.url, table=out, rows=rows, left_out=problems) if json else put(out)
        raise typer.Exit(Exit.FAILED_SAMPLES if problems else Exit.OK)
    if out.endswith(".parquet"):
        rows = library.collect_table(store, out, force)
        say(f"{count(rows, 'row')} in one table")
        put_json(run=store.url, table=out, rows=rows) if json else put(out)
        return
    copied, there, left_out = 0, 0, []
    for number, video in enumerate(library.collect_folder(store, out, force), start=1):
        if video.problem:
            left_out.append(video)
        else:
            copied, there = copied + video.fresh, there + (not video.fresh)
        if number % 100 == 0:
            say(f"{number} videos, the last {video.name}")
    say(f"{count(copied, 'video')} copied, {there} already there; results.parquet is beside them")
    say(*(f"left out   {video.name}: {video.problem}" for video in left_out))
    if json:
        names = [{"file": video.name, "problem": video.problem} for video in left_out]
        put_json(run=store.url, folder=out, copied=copied, already_there=there, left_out=names)
    else:
        put(out)
    if left_out:
        say(f"to have what was left out made again: motionecho batch verify {run} --requeue")
        raise typer.Exit(Exit.FAILED_SAMPLES)


def gc(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them, rather than list them.")] = False,
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, help="Leave files alone that are younger, in seconds.")
    ] = YOUNG_S,
    json: JsonOption = False,
) -> None:
    """List what no record names: leftovers of attempts that died. Refused while a driver is at work."""
    from motionecho.runs import cleanup

    store = open_run(run)
    with cleanup.sweeping(store) as lease:
        found = cleanup.orphans(store, older_than)
        if yes:
            cleanup.remove(store, lease, (orphan.uri for orphan in found))
    size = sum(orphan.bytes for orphan in found)
    if json:
        put_json(run=store.url, removed=yes, bytes=size, orphans=[asdict(orphan) for orphan in found])
    elif found:
        put(table([asdict(orphan) for orphan in found]))
    what = f"{count(len(found), 'orphan')}, {size / 2**20:.1f} MiB"
    say(f"{what} {'removed' if yes else '; --yes removes them' if found else ''}".replace(" ;", ";").strip())
