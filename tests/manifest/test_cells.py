"""What people's tables hold: every cell is read by one rule in every format, or its row says why not."""

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from motionecho.errors import UserError
from motionecho.manifest import BadRow, Sample, notes, read_manifest
from motionecho.manifest.cells import DEEPEST, Kept, whole

ROW = {"reference": "a.mp4", "prompt": "a cat"}


def read(path: Path, text: str | bytes) -> list[Sample | BadRow]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return read_manifest(str(path))


def read_rows(folder: Path, *rows: dict[str, Any]) -> list[Sample | BadRow]:
    return read(folder / "m.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def reason(row: Sample | BadRow) -> str:
    assert isinstance(row, BadRow)
    return row.reason


@pytest.mark.parametrize(
    ("value", "kept", "lost"),
    [
        (float("inf"), None, 1),
        (float("nan"), None, 0),
        ([1.0, float("-inf")], [1.0, None], 1),
        ({"a": {"b": float("inf")}}, {"a": {"b": None}}, 1),
        ({}, "{}", 0),
        ([{"a": {}}], [{"a": "{}"}], 0),
        ("half \ud83d", "half �", 1),
        ("\ud83d\ude00", "\U0001f600", 1),
        ({"half \ud83d": 1}, {"half �": 1}, 1),
        (b"text", "text", 0),
        (b"\xff\xfe", None, 1),
        (datetime.date(2026, 1, 2), "2026-01-02", 0),
        (True, True, 0),
    ],
)
def test_what_nothing_can_hold_is_kept_as_null_and_counted(value: Any, kept: Any, lost: int) -> None:
    keep = Kept()
    assert (keep(value), keep.lost) == (kept, lost)


def test_what_is_nested_deeper_than_anyone_reads_is_not_kept() -> None:
    value: Any = "bottom"
    for _ in range(DEEPEST + 5):
        value = [value]
    keep = Kept()
    text = json.dumps(keep(value))
    assert (text.count("["), keep.lost) == (DEEPEST + 1, 1)


def test_carried_values_never_make_a_row_bad(tmp_path: Path) -> None:
    rows = read_rows(
        tmp_path, ROW | {"psnr": float("inf"), "note": "cut \ud83d", "more": {}}, ROW | {"seed": 1}
    )
    assert [type(row) for row in rows] == [Sample, Sample]
    assert isinstance(rows[0], Sample)
    assert rows[0].extra == {"note": "cut �", "more": "{}"}
    assert rows[0].lost == 2
    assert notes(rows) == [
        "2 values in columns that are carried along are kept as null: nothing can hold them"
    ]


def test_json_nested_without_end_is_that_rows_matter(tmp_path: Path) -> None:
    deep = '{"reference": "a.mp4", "prompt": "a cat", "x": ' + "[" * 200_000 + "]" * 200_000 + "}"
    rows = read(tmp_path / "m.jsonl", f"{json.dumps(ROW)}\n{deep}\n")
    assert isinstance(rows[0], Sample)
    assert "nested too deep" in reason(rows[1])


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("prompt", "half \ud83d", "holds half a character"),
        ("id", "half \ud83d", "holds half a character"),
        ("reference", "half \ud83d.mp4", "holds half a character"),
        ("prompt", "NaN", "how other programs write an empty cell"),
        ("prompt", 5, "is not a text"),
        ("duration", float("inf"), "out of range"),
        ("start", True, "is not a number"),
        ("fps", "1_000", "is not a number"),
        ("seed", 1.5, "is not a whole number"),
        ("seed", 2.0**53, "is a float, which is not exact above 2^53"),
        ("seed", "9007199254740993.0", "is a float, which is not exact above 2^53"),
        ("id", True, "is not a text"),
    ],
)
def test_what_a_row_is_made_of_can_make_it_bad(tmp_path: Path, column: str, value: Any, said: str) -> None:
    rows = read_rows(tmp_path, ROW, ROW | {"seed": 3} | {column: value})
    assert isinstance(rows[0], Sample)
    assert said in reason(rows[1])
    json.dumps(rows[1].inputs, allow_nan=False).encode()


@pytest.mark.parametrize("value", [2025, 2025.0, "2025", "2025.0", "2.025e3"])
def test_a_seed_is_the_same_however_it_is_written(tmp_path: Path, value: Any) -> None:
    (row,) = read_rows(tmp_path, ROW | {"seed": value})
    assert isinstance(row, Sample)
    assert row.seed == 2025
    (of_csv,) = read(tmp_path / "m.csv", f"reference,prompt,seed\na.mp4,a cat,{value}\n")
    assert isinstance(of_csv, Sample)
    assert (of_csv.seed, of_csv.id) == (2025, row.id)


def test_a_large_seed_is_exact_as_a_whole_number() -> None:
    assert (whole(2**53 + 1), whole(str(2**53 + 1)), whole(float(2**53))) == (2**53 + 1, 2**53 + 1, None)


def test_cells_that_other_programs_leave_empty(tmp_path: Path) -> None:
    table = "reference,prompt,negative_prompt,seed,start,duration\na.mp4,a cat,None,nan,NULL,NA\n"
    (row,), (bare,) = read(tmp_path / "m.csv", table), read_rows(tmp_path, ROW)
    assert row == bare


def test_semicolons_and_blank_last_rows(tmp_path: Path) -> None:
    (row,) = read(tmp_path / "m.csv", "reference;prompt\r\na.mp4;a cat, or two\r\n;\r\n;\r\n\r\n")
    assert isinstance(row, Sample)
    assert row.prompt == "a cat, or two"


def test_a_row_whose_bytes_are_not_utf8(tmp_path: Path) -> None:
    rows = read(tmp_path / "m.csv", b"reference,prompt,note\na.mp4,caf\xe9,x\nb.mp4,a cat,caf\xe9\n")
    assert "has bytes that are not UTF-8: save the table as UTF-8" in reason(rows[0])
    assert isinstance(rows[1], Sample)
    assert rows[1].extra == {"note": "caf�"}


def test_utf16_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for name in ("m.csv", "m.jsonl"):
        with pytest.raises(UserError, match="is UTF-16, and UTF-8 is read: save it as UTF-8"):
            read(tmp_path / name, "reference,prompt\na,b\n".encode("utf-16"))


def test_bytes_in_parquet_are_text_or_that_rows_matter(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    prompts = pa.array([b"a cat", b"caf\xe9"], pa.binary())
    pq.write_table(pa.table({"reference": ["a.mp4", "b.mp4"], "prompt": prompts}), path)
    rows = read_manifest(str(path))
    assert isinstance(rows[0], Sample)
    assert rows[0].prompt == "a cat"
    assert "is not a text" in reason(rows[1])


def test_two_columns_of_one_name_are_refused_in_every_format(tmp_path: Path) -> None:
    column = pa.array(["x"])
    twice = pa.Table.from_arrays([column] * 3, names=["reference", "prompt", "prompt"])
    pq.write_table(twice, tmp_path / "m.parquet")
    (tmp_path / "m.csv").write_text("reference,prompt,prompt\na,b,c\n")
    (tmp_path / "m.jsonl").write_text('{"reference": "a", "prompt": "b", "prompt": "c"}\n')
    for name in ("m.parquet", "m.csv", "m.jsonl"):
        with pytest.raises(UserError, match="'prompt' appears twice: keep one of them"):
            read_manifest(str(tmp_path / name))


def test_a_folder_of_parts_is_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "m.parquet"
    for day, prompt in (("day=1", "a cat"), ("day=2", "a dog")):
        (folder / day).mkdir(parents=True)
        pq.write_table(
            pa.table({"reference": ["/a.mp4"], "prompt": [prompt]}), folder / day / "part-0.parquet"
        )
    (folder / "_SUCCESS").touch()
    rows = read_manifest(str(folder))
    assert [(row.prompt, row.extra) for row in rows if isinstance(row, Sample)] == [
        ("a cat", {"day": "1"}), ("a dog", {"day": "2"})
    ]  # fmt: skip
    (folder / "more.csv").write_text("reference,prompt\na,b\n")
    with pytest.raises(UserError, match=r"holds parts of several kinds \(.csv, .parquet\)"):
        read_manifest(str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no part"):
        read_manifest(str(tmp_path / "empty"))


def test_columns_that_choose_a_part_of_the_clip_are_worth_a_word(tmp_path: Path) -> None:
    rows = read_rows(tmp_path, ROW | {"fps": 30, "duration": 2.5})
    assert notes(rows) == ["1 rows have a part of their clip read, by the columns duration, fps"]
