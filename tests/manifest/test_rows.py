"""Manifests: every format reads the same, ids are content, and each mistake is named where it is."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from motionecho.errors import UserError
from motionecho.manifest import BadRow, Sample, TakenId, read_manifest
from motionecho.manifest.tables import write_table
from motionecho.runs.records import Record
from motionecho.runs.tables import as_row, to_parquet
from motionecho.video import Window

Rows = list[dict[str, Any]]


def write(path: Path, rows: Rows) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def good(path: str) -> list[Sample]:
    rows = read_manifest(path)
    assert [row for row in rows if isinstance(row, BadRow)] == []
    return [row for row in rows if isinstance(row, Sample)]


def one(tmp_path: Path, **row: Any) -> Sample | BadRow:
    base = {"reference": "a.mp4", "prompt": "a cat"}
    (only,) = read_manifest(write(tmp_path / "m.jsonl", [base | row]))
    return only


def test_all_formats_say_the_same(tmp_path: Path) -> None:
    rows: Rows = [
        {"reference": "clips/a.mp4", "prompt": "a cat", "seed": 5, "steps": 4, "start": 1.5,
         "licence": "CC0"},
        {"reference": "s3://bucket/b.mp4", "prompt": "a dog", "seed": None, "steps": None, "start": None,
         "licence": None},
    ]  # fmt: skip
    read = [good(write(tmp_path / f"m{suffix}", rows)) for suffix in (".parquet", ".csv", ".jsonl")]
    assert read[0] == read[1] == read[2]
    first, second = read[0]
    assert first.reference == str(tmp_path / "clips/a.mp4")
    assert (first.seed, first.window, first.overrides) == (5, Window(start=1.5), {"steps": 4})
    assert first.extra == {"licence": "CC0"}
    assert second.reference == "s3://bucket/b.mp4"
    assert (second.window, second.overrides, second.extra) == (Window(), {}, {})


def test_ids_and_seeds_come_from_content_not_from_position(tmp_path: Path) -> None:
    rows: Rows = [{"reference": f"{n}.mp4", "prompt": "a cat"} for n in range(6)]
    (tmp_path / "elsewhere").mkdir()
    forward = good(write(tmp_path / "m.csv", rows))
    backward = good(write(tmp_path / "elsewhere" / "other.jsonl", rows[::-1]))
    named = {Path(sample.reference).name: (sample.id, sample.seed) for sample in forward}
    assert {Path(sample.reference).name: (sample.id, sample.seed) for sample in backward} == named
    assert len({seed for _, seed in named.values()}) == 6


@pytest.mark.parametrize(
    "row",
    [
        {"video_path": "a.mp4", "new_prompt": "a cat", "seed": 42},
        {"video": "a.mp4", "caption": "a cat", "random_seed": 42},
        {"ref_video": "a.mp4", "text": "a cat", "noise_seed": "42"},
    ],
)
def test_aliases_of_other_tools(tmp_path: Path, row: dict[str, Any]) -> None:
    (sample,) = good(write(tmp_path / "m.jsonl", [row]))
    assert (Path(sample.reference).name, sample.prompt, sample.seed, sample.extra) == (
        "a.mp4", "a cat", 42, {}
    )  # fmt: skip


def test_a_video_beside_a_reference_is_one_that_exists(tmp_path: Path) -> None:
    row = {"reference": "a.mp4", "prompt": "a cat", "video": "made.mp4"}
    (sample,) = good(write(tmp_path / "m.jsonl", [row]))
    assert (Path(sample.reference).name, Path(sample.video or "").name) == ("a.mp4", "made.mp4")
    assert sample.extra == {}
    (other,) = good(write(tmp_path / "m.jsonl", [{"video": "a.mp4", "prompt": "a cat"}]))
    assert (Path(other.reference).name, other.video) == ("a.mp4", None)


def test_a_list_is_a_sweep(tmp_path: Path) -> None:
    row = {"id": "horse", "reference": "a.mp4", "prompt": "a cat", "tags": ["x", "y"]}
    swept = good(write(tmp_path / "m.parquet", [row | {"seed": [1, 2], "steps": [4, 8]}]))
    assert [(s.id, s.seed, s.overrides["steps"]) for s in swept] == [
        ("horse_seed=1_steps=4", 1, 4), ("horse_seed=1_steps=8", 1, 8),
        ("horse_seed=2_steps=4", 2, 4), ("horse_seed=2_steps=8", 2, 8),
    ]  # fmt: skip
    assert all(s.extra == {"tags": ["x", "y"]} and s.row == 1 for s in swept), "a free column is no sweep"
    (tmp_path / "m.csv").write_text('id,reference,prompt,seed,steps\nhorse,a.mp4,a cat,"[1, 2]","[4, 8]"\n')
    assert [s.id for s in good(str(tmp_path / "m.csv"))] == [s.id for s in swept]


def test_a_growing_sweep_leaves_the_names_there_are_alone(tmp_path: Path) -> None:
    row = {"reference": "a.mp4", "prompt": ["a cat", "a dog: small/brown"]}
    two = good(write(tmp_path / "m.jsonl", [row]))
    three = good(write(tmp_path / "m.jsonl", [row | {"prompt": [*row["prompt"], "a cow"]}]))
    assert [(s.id, s.seed) for s in two] == [(s.id, s.seed) for s in three[:2]]
    assert len({s.id for s in three}) == 3
    assert all(re.fullmatch(r"[\w.=-]+", s.id) for s in three)
    assert len({s.seed for s in three}) == 1, "prompts are compared on equal noise"


def test_lists_that_cannot_be(tmp_path: Path) -> None:
    same = {"reference": "a.mp4", "prompt": "a cat"}
    rows = [same | {"seed": list(range(101)), "steps": list(range(1, 101))}, same | {"seed": [5, "x", 5]}]
    huge, five, word, again = read_manifest(write(tmp_path / "m.jsonl", rows))
    assert isinstance(huge, BadRow)
    assert "ask for 10100 videos" in huge.reason
    assert isinstance(five, Sample)
    assert isinstance(word, BadRow)
    assert (word.column, "seed='x'" in word.reason) == ("seed", True)
    assert isinstance(again, BadRow)
    assert "repeats" in again.reason
    (listed,) = good(write(tmp_path / "n.jsonl", [same | {"layers": ["one", "two"]}]))
    assert listed.overrides == {"layers": ["one", "two"]}, "a setting that is a list is no sweep"
    layers = good(write(tmp_path / "n.jsonl", [same | {"layers": [["one"], ["two"]]}]))
    assert [s.overrides["layers"] for s in layers] == [["one"], ["two"]]


def test_references_beside_a_remote_manifest() -> None:
    fsspec.filesystem("memory").pipe("/jobs/m.jsonl", b'{"reference": "a.mp4", "prompt": "a cat"}')
    (sample,) = good("memory://jobs/m.jsonl")
    assert sample.reference == "memory://jobs/a.mp4"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"reference": None}, "reference is empty"),
        ({"prompt": 7}, "prompt=7 is not a text"),
        ({"prompt": "x" * 5000}, "5000 characters"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"seed": "one"}, "seed='one'"),
        ({"seed": True}, "seed=True"),
        ({"seed": 2**64}, "seed="),
        ({"fps": 0}, "fps=0 is out of range"),
        ({"start": -1}, "start=-1"),
        ({"duration": "long"}, "duration='long' is not a number"),
        ({"steps": 0}, "steps=0 is out of range"),
        ({"steps": "many"}, 'steps="many"'),
        ({"activation": "sometimes"}, "activation"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_values_are_named(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    bad = one(tmp_path, **row)
    assert isinstance(bad, BadRow)
    assert reason in bad.reason
    assert bad.row == 1


def test_a_bad_row_leaves_the_others_alone(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(
        '{"reference": "a.mp4", "prompt": "a cat"}\nnot json\n[1]\n{"reference": "b.mp4", "prompt": "x"}\n'
    )
    rows = read_manifest(str(tmp_path / "m.jsonl"))
    assert [type(row) for row in rows] == [Sample, BadRow, BadRow, Sample]
    assert [row.row for row in rows] == [1, 2, 3, 4]
    (tmp_path / "m.csv").write_text("reference,prompt\na.mp4,a cat\nb.mp4\nc.mp4,a dog,extra\n")
    reasons = [row.reason for row in read_manifest(str(tmp_path / "m.csv")) if isinstance(row, BadRow)]
    assert reasons == ["it has fewer cells than the header", "it has more cells than the header"]


def test_duplicates_name_the_row_they_repeat(tmp_path: Path) -> None:
    cat: dict[str, Any] = {"reference": "a.mp4", "prompt": "a cat"}
    rows = read_manifest(write(tmp_path / "m.jsonl", [cat, cat | {"seed": 1}, cat, cat | {"licence": "CC0"}]))
    assert [type(row) for row in rows] == [Sample, Sample, BadRow, BadRow]
    assert all("repeats row 1" in row.reason for row in rows if isinstance(row, BadRow))
    assert len({row.id for row in rows}) == 4
    given = read_manifest(
        write(tmp_path / "n.jsonl", [cat | {"id": "x"}, cat | {"id": "x", "prompt": "a dog"}])
    )
    assert isinstance(given[1], TakenId)
    assert given[1].reason == 'its id "x" is that of row 1: give it one of its own, or none'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.txt", "x", "has to end in"),
        ("m.csv", "", "no rows"),
        ("m.csv", "reference,prompt\n", "no rows"),
        ("m.csv", "film,prompt\na,b\n", 'lacks "reference"; its columns are: film, prompt'),
        (
            "m.csv",
            "video_path,ref_video,prompt\na,b,c\n",
            '"video_path" and "ref_video", which all mean "reference"',
        ),
        ("m.csv", "reference,prompt,prompt\na,b,c\n", "appears twice"),
        ("m.csv", "reference,prompt,teacher_wieght\na,b,1\n", 'meant to be "teacher_weight"'),
        ("m.csv", "reference,video_path,prompt\na,b,c\n", "keep one of them"),
        ("m.parquet", "not parquet", "cannot read manifest"),
        ("m.csv", "reference,prompt\n\xff\xfe\n", "can be read; row 1: it has fewer cells"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message):
        read_manifest(str(tmp_path / name))


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_manifest(str(tmp_path / "m.csv"))


def test_results_are_a_manifest_of_the_same_samples(tmp_path: Path) -> None:
    row = {"reference": "a.mp4", "prompt": "a cat", "steps": 4, "fps": 8.0, "licence": "CC0"}
    (sample,) = good(write(tmp_path / "m.jsonl", [row]))
    results = tmp_path / "results" / "part-1.parquet"
    results.parent.mkdir()
    record = Record(key="k", id=sample.id, status="ok", inputs=sample.inputs(), attempts=1)
    results.write_bytes(to_parquet([as_row(record, str(tmp_path))]))
    assert good(str(results)) == [sample]


def test_the_public_benchmarks_are_manifests_of_distinct_samples() -> None:
    folder = Path(__file__).parents[2] / "manifests"
    for name, pairs, references in (("animatebench", 18, 12), ("turbobench_part", 21, 17)):
        rows = read_manifest(str(folder / f"{name}.csv"))
        assert all(isinstance(row, Sample) for row in rows)
        assert (len(rows), len({row.reference for row in rows})) == (pairs, references)
        assert all(row.reference.startswith("https://raw.githubusercontent.com/") for row in rows)


def test_a_setting_of_a_row_is_read_by_itself(tmp_path: Path) -> None:
    """What it means beside the others is asked once all of them are known: 0 is some pairs' own default."""
    row = one(tmp_path, inversion_steps=0)
    assert isinstance(row, Sample)
    assert row.overrides == {"inversion_steps": 0}
    wrong = one(tmp_path, inversion_steps=-1)
    assert isinstance(wrong, BadRow)
    assert "inversion_steps=-1" in wrong.reason


def test_a_manifest_keeps_lists_and_what_parquet_has_no_type_for(tmp_path: Path) -> None:
    """A list in a cell is a sweep; rows of different columns are one table."""
    rows = [{"a": 1, "b": {"c": {}}, "d": [{}], "e": [1, 2]}, {"a": "one", "f": {"g": None}}, {}]
    write_table(str(tmp_path / "m.parquet"), rows)
    table = pq.read_table(tmp_path / "m.parquet")
    assert table.column_names == ["a", "b", "d", "e", "f"]
    assert table.column("a").to_pylist() == ["1", "one", None]
    assert [table.column(name).to_pylist()[0] for name in "bde"] == ['{"c": {}}', "[{}]", [1, 2]]
    assert table.column("f").to_pylist() == [None, {"g": None}, None]
