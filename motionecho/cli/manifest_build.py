"""`motionecho manifest build`: a manifest out of a folder of videos and prompts, or out of another table."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motionecho.cli.options import JsonOption
from motionecho.cli.printing import count, put, put_json, say
from motionecho.errors import UserError
from motionecho.runs.places import Place

if TYPE_CHECKING:
    from motionecho.manifest import Sample


def build(
    source: Annotated[
        str,
        typer.Argument(
            parser=Place,
            metavar="SOURCE",
            help="Folder of videos, one video, or a table; path or URL.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            parser=Place,
            metavar="FILE",
            help="The manifest: .parquet, .csv or .jsonl.",
            show_default=False,
        ),
    ],
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            parser=Place,
            metavar="FILE",
            help="Text with a prompt a line, or a table; for a folder.",
        ),
    ] = None,
    join: Annotated[
        str | None, typer.Option("--join", help="Column of the prompts' table that names the video.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Every row N times, with seeds 0 to N-1.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a manifest that exists.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a manifest. Lists in a column are swept; every row gets its id and seed written down."""
    from motionecho.manifest.build import portable
    from motionecho.manifest.tables import write_table

    folder = os.path.dirname(out)
    rows = _rows(source, prompts, join)
    for number, row in enumerate(rows, start=1):
        if isinstance(row.get("reference"), str):
            row["reference"] = portable(row["reference"], folder)
        if seeds is not None:
            if row.get("seed") not in (None, ""):
                raise UserError(f'"{source}" row {number} has seed={row["seed"]}; leave that or --seeds out')
            row["seed"] = list(range(seeds))
    samples = checked(rows, source, out)
    inputs = [sample.inputs() for sample in samples]
    write_table(out, [row | {"reference": portable(row["reference"], folder)} for row in inputs], force)
    counts: dict[str, Any] = {
        "rows": len(samples),
        "references": len({sample.reference for sample in samples}),
        "prompts": len({sample.prompt for sample in samples}),
        "seeds": len({sample.seed for sample in samples}),
    }
    say(", ".join(count(number, name[:-1]) for name, number in counts.items()))
    put_json(manifest=out, **counts) if json else put(out)


def checked(rows: list[dict[str, Any]], source: str, out: str) -> "list[Sample]":
    """Return the rows as a manifest at `out`; UserError, with the first mistake, unless all are fine."""
    from motionecho.manifest import BadRow, check_rows

    parsed = check_rows(rows, out)
    bad = [row for row in parsed if isinstance(row, BadRow)]
    if bad:
        more = f" ({len(bad) - 1} more rows have mistakes)" if len(bad) > 1 else ""
        raise UserError(f'"{source}" row {bad[0].row}: {bad[0].reason}{more}; nothing was written')
    samples = [row for row in parsed if not isinstance(row, BadRow)]
    for sample in samples:
        for place in (Place(sample.reference), Place(sample.video or "")):
            if place.is_secret:
                raise UserError(
                    f'"{source}" row {sample.row}: "{place}" has a login or a signature, which is not '
                    "written into a manifest: use the table as it is; nothing was written"
                )
    return samples


def _rows(source: str, prompts: str | None, join: str | None) -> list[dict[str, Any]]:
    from motionecho.manifest.build import from_folder, from_table
    from motionecho.manifest.tables import TABLES

    if os.path.splitext(Place(source).name)[1].lower() in TABLES:
        if prompts or join:
            raise UserError(
                f'"{source}" is a table with prompts of its own; --prompts and --join are for folders'
            )
        return from_table(source)
    if prompts is None:
        raise UserError(f'"{source}" is no table, so it needs --prompts FILE')
    return from_folder(source, prompts, join)
