"""Rows that are read back from records, where places stand without the login or signature that opens them."""

from collections.abc import Sequence

from motionecho.errors import UserError
from motionecho.manifest.rows import PLACES, Sample, read_manifest
from motionecho.manifest.tables import RawRow
from motionecho.runs.urls import lacks


def completed(rows: Sequence[RawRow], manifest: str | None) -> list[RawRow]:
    """Return the rows with places that can be opened, taken by id from the `manifest` where a row lacks that.

    Raises UserError where a row lacks it and there is no manifest.
    """
    lacking = [row for row in rows if _lacking(row)]
    if not lacking:
        return list(rows)
    if manifest is None:
        raise UserError(
            f"{len(lacking)} of {len(rows)} rows name files by URLs with a login or a signature, which is "
            "not stored: name the manifest that has them with --manifest"
        )
    known = {row.id: row for row in read_manifest(manifest) if isinstance(row, Sample)}
    return [_with_places(row, known) for row in rows]


def _lacking(row: RawRow) -> list[str]:
    cells = row if isinstance(row, dict) else {}
    return [name for name in PLACES if isinstance(cells.get(name), str) and lacks(cells[name])]


def _with_places(row: RawRow, known: dict[str, Sample]) -> RawRow:
    if isinstance(row, str) or row.get("id") not in known:
        return row
    return row | {name: getattr(known[row["id"]], name) for name in _lacking(row)}
