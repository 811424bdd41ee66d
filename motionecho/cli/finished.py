"""`motionecho batch replay|collect|gc`: what one does with a run that has ended."""

import shlex
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
        typer.Option("--out", "-o", parser=Place, metavar="FILE.parquet", help="The table to write."),
    ],
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    steps: Annotated[bool, typer.Option("--steps", help="A table of all steps, not of samples.")] = False,
    json: JsonOption = False,
) -> None:
    """Gather a run's records in one table; its videos are handed on by `motionecho export`."""
    if not out.endswith(".parquet"):
        videos = shlex.join(["motionecho", "export", run, "--out", out])
        raise UserError(f'collect writes one table: "{out}" has to end in .parquet; for videos: {videos}')

    from motionecho.runs import export as library

    store = open_run(run)
    if steps:
        rows, problems = library.collect_steps(store, out, force)
        say(f"{count(rows, 'step')} in one table", *(f"left out   {problem}" for problem in problems))
        put_json(run=store.url, table=out, rows=rows, left_out=problems) if json else put(out)
        raise typer.Exit(Exit.FAILED_SAMPLES if problems else Exit.OK)
    rows = library.collect_table(store, out, force)
    say(f"{count(rows, 'row')} in one table")
    put_json(run=store.url, table=out, rows=rows) if json else put(out)


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
