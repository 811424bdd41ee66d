"""Cells that name places: read as written, refused by their row alone, stored without what opens them."""

import json
from pathlib import Path
from typing import Any

import pytest

from motionecho.errors import UserError
from motionecho.manifest import BadRow, Sample, TakenId, read_manifest
from motionecho.manifest.build import from_folder, from_table, portable
from motionecho.manifest.lacking import completed
from motionecho.runs.places import opened
from motionecho.runs.records import Record
from motionecho.runs.tables import as_row, to_parquet

SIGNED = "https://me:word@host/a.mp4?id=1&Expires={0}&Signature=f00{0}"
BARE = "https://***@host/a.mp4?id=1&***"


def written(tmp_path: Path, *rows: dict[str, Any]) -> str:
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": "a cat"} | row) for row in rows))
    return str(path)


def read(tmp_path: Path, *rows: dict[str, Any]) -> list[Sample | BadRow]:
    return read_manifest(written(tmp_path, *rows))


def good(tmp_path: Path, *rows: dict[str, Any]) -> list[Sample]:
    found = read(tmp_path, *rows)
    assert not [row.reason for row in found if isinstance(row, BadRow)]
    return [row for row in found if isinstance(row, Sample)]


def test_a_relative_cell_is_a_path_beside_the_table(tmp_path: Path) -> None:
    for name in ("a::b.mp4", "zip::a.mp4", "a#b?c%20*.mp4", "~a.mp4", "x:/a.mp4"):
        (sample,) = good(tmp_path, {"reference": name})
        assert sample.reference == str(tmp_path / name)
    (sample,) = good(tmp_path, {"reference": "file:///my%20clips/a.mp4"})
    assert sample.reference == "file:///my%20clips/a.mp4"


def test_blanks_are_left_out_unless_a_file_has_them(tmp_path: Path) -> None:
    (tmp_path / " a.mp4 ").touch()
    rows = [{"reference": " a.mp4 "}, {"reference": " b.mp4 "}, {"reference": " s3://bucket/c.mp4 "}]
    a, b, c = good(tmp_path, *rows)
    assert (a.reference, b.reference) == (str(tmp_path / " a.mp4 "), str(tmp_path / "b.mp4"))
    assert c.reference == "s3://bucket/c.mp4"


@pytest.mark.parametrize(
    "place", ["reference://x::http://127.0.0.1/a", "zip://a.zip", "webhdfs://h/a", "https://***@host/a.mp4"]
)
@pytest.mark.parametrize("column", ["reference", "video"])
def test_what_is_not_opened_is_that_row_s_mistake(tmp_path: Path, place: str, column: str) -> None:
    row = {"reference": "b.mp4", column: place}
    bad, other, swept, rest = read(tmp_path, row, {"reference": "c.mp4"}, row | {column: [place, "d.mp4"]})
    assert isinstance(bad, BadRow)
    assert (bad.column, isinstance(other, Sample)) == (column, True)
    assert place.partition("?")[0] in bad.reason
    assert (isinstance(swept, BadRow), isinstance(rest, Sample)) == (True, True)


def test_what_is_signed_again_is_the_same_row(tmp_path: Path) -> None:
    first, second = (good(tmp_path, {"reference": SIGNED.format(n)})[0] for n in (1, 2))
    assert (first.id, first.seed, first.reference) == (second.id, second.seed, BARE)
    assert opened(first.reference) == SIGNED.format(1)
    swept = [good(tmp_path, {"reference": ["b.mp4", SIGNED.format(n)]})[1] for n in (1, 2)]
    assert swept[0].id == swept[1].id


def test_rows_whose_urls_are_stored_alike_are_told(tmp_path: Path) -> None:
    one, two = {"reference": SIGNED.format(1)}, {"reference": SIGNED.format(2)}
    _, same = read(tmp_path, one, two)
    assert isinstance(same, BadRow)
    assert not isinstance(same, TakenId)
    assert "repeats row 1" in same.reason
    assert "as far as a URL is stored: give it an id" in same.reason
    named = good(tmp_path, one | {"id": "one"}, two | {"id": "two"})
    assert [opened(row.reference) for row in named] == [SIGNED.format(1), SIGNED.format(2)]


def test_no_word_of_a_row_holds_what_opens_a_file(tmp_path: Path) -> None:
    carried = {"page": SIGNED.format(1), "more": [{SIGNED.format(2): [SIGNED.format(3)]}], "note": "a@b.c, 5"}
    rows = [
        {"reference": SIGNED.format(1), "video": SIGNED.format(2), **carried},
        {"reference": SIGNED.format(1), "id": SIGNED.format(1)},
        {"reference": SIGNED.format(1), "seed": SIGNED.format(1)},
        {"reference": SIGNED.format(1), "steps": SIGNED.format(1)},
        {"reference": {"url": SIGNED.format(1)}},
        {"reference": " \ufeff" + SIGNED.format(1), "fps": [SIGNED.format(1), SIGNED.format(2)]},
        {"reference": f"zip://a::{SIGNED.format(1)}"},
        {"reference": f"sim::{SIGNED.format(1)}", **carried},
    ]
    found = read(tmp_path, *rows)
    assert len([row for row in found if isinstance(row, BadRow)]) == 7
    for row in found:
        said = str(row.inputs() if isinstance(row, Sample) else row) + row.id
        assert "word" not in said
        assert "f00" not in said
    sample = found[0]
    assert isinstance(sample, Sample)
    assert sample.extra == {"page": BARE, "more": [{BARE: [BARE]}], "note": "a@b.c, 5"}


def test_records_are_completed_by_the_manifest_that_they_were_made_of(tmp_path: Path) -> None:
    table = written(tmp_path, {"id": "a", "reference": SIGNED.format(1)}, {"id": "b", "reference": "b.mp4"})
    samples = [row for row in read_manifest(table) if isinstance(row, Sample)]
    records = [Record(key=row.id, id=row.id, status="ok", inputs=row.inputs()) for row in samples]
    results = tmp_path / "results.parquet"
    results.write_bytes(to_parquet([as_row(record, "") for record in records]))
    lacking, whole = read_manifest(str(results))
    assert isinstance(lacking, BadRow)
    assert "which is not stored: name it again in full" in lacking.reason
    assert whole == samples[1]

    rows = [record.inputs for record in records]
    with pytest.raises(UserError, match=r"^1 of 2 rows name files .* not stored: name .* with --manifest$"):
        completed(rows, None)
    assert completed(rows[1:], None) == rows[1:]
    first, second = completed(rows, table)
    assert isinstance(first, dict)
    assert (opened(first["reference"]), second) == (SIGNED.format(1), rows[1])


def test_building_keeps_names_that_hold_signs(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    names = sorted(["a::b.mp4", "a#b?c%20*.mp4", " a.mp4", "a b.mp4"])
    for name in names:
        (tmp_path / "clips" / name).touch()
    (tmp_path / "p.txt").write_text("a cat\n")
    rows = from_folder(str(tmp_path / "clips"), str(tmp_path / "p.txt"))
    found = good(tmp_path, *({"reference": portable(row["reference"], str(tmp_path))} for row in rows))
    assert [row.reference for row in found] == [str(tmp_path / "clips" / name) for name in names]
    assert portable("https://host/d/a%20b.mp4", "https://host/d") == "a b.mp4"
    assert portable("https://host/d/a.mp4?id=1", "https://host/d") == "https://host/d/a.mp4?id=1"
    with pytest.raises(UserError, match=r'm\.jsonl" row 2: "zip://a" has the protocol'):
        from_table(written(tmp_path, {"reference": "a.mp4"}, {"reference": "zip://a"}))
