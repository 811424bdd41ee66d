"""The card: a header that loaders and the hub read, true counts, licences, and no stranger's Markdown."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard

from motionecho.dataset.card import is_non_commercial, loading
from motionecho.dataset.export import Wanted, export
from motionecho.models.registry import PAIRS
from motionecho.runs.store import RunStore
from tests.dataset.conftest import Fill


def card_of(stores: list[RunStore], out: Path, command: str = "motionecho export ...", **more: Any) -> str:
    export(stores, str(out), Wanted(**more), command)
    return (out / "README.md").read_text()


def table_under(text: str, heading: str) -> list[list[str]]:
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_it_says_how_many_of_what_and_how_good(run: RunStore, tmp_path: Path) -> None:
    text = card_of([run], tmp_path / "out", "motionecho export run --out out --where 'follows >= .3'",
                   where="follows >= .3", shares={"train": 0.7, "val": 0.3})  # fmt: skip
    splits = {row[0]: row[1:3] for row in table_under(text, "Splits")}
    counts = {name: [len([*(tmp_path / "out" / name).glob("*.mp4")])] for name in splits}
    assert {name: [int(videos)] for name, (videos, _) in splits.items()} == counts
    assert sum(int(references) for _, references in splits.values()) == 4
    figures = {row[0]: row[1:] for row in table_under(text, "Figures")}
    assert (figures["follows"][0], figures["follows"][2]) == ("0.650", "8")
    low, high = (float(bound) for bound in figures["follows"][1].strip("[]").split(", "))
    assert low < 0.65 < high
    assert figures["toy_text"][0] == "0.675"
    assert "- 3 of 11 that are done by `--where`" in text
    assert "0 near-duplicates: of one reference and one prompt" in text
    assert "motionecho export run --out out --where 'follows >= .3'" in text
    assert "  pair: toy-dit" in text
    lineage = {(row[0], row[2]): int(row[3]) for row in table_under(text, "Lineage")}
    assert {clip for clip, _ in lineage} == {"a.mp4", "b.mp4", "c.mp4", "d.mp4"}
    assert sum(lineage.values()) == 8


@pytest.mark.parametrize("form", ["folder", "webdataset", "hf"])
def test_its_header_is_the_hub_s(run: RunStore, tmp_path: Path, form: str) -> None:
    """As its own library reads it; every file that it names for a split is there."""
    text = card_of([run], tmp_path / "out", form=form, shares={"train": 0.7, "val": 0.3})
    data = DatasetCard(text).data.to_dict()
    assert (data["license"], data["size_categories"]) == ("other", ["n<1K"])
    assert data["task_categories"] == ["text-to-video"]
    for each in data["configs"][0]["data_files"]:
        assert [*(tmp_path / "out").glob(each["path"])], each


def test_parts_that_are_not_for_sale_are_marked(fill: Fill, tmp_path: Path) -> None:
    pairs = ["wan2.1-1.3b-causvid", "cogvideox-5b@33x480x720", "wan2.2-5b", "of others"]
    store = fill(str(tmp_path / "run"), [{"id": str(n), "pair": pair} for n, pair in enumerate(pairs)])
    text = card_of([store], tmp_path / "out", near=None)
    rows = {row[0].replace("\\", ""): row[1:] for row in table_under(text, "Models and licences")}
    marked = {pair for pair, its in rows.items() if its[2].startswith("**NON-COMMERCIAL PARTS:**")}
    assert marked == {"wan2.1-1.3b-causvid", "cogvideox-5b@33x480x720"}
    assert rows["wan2.2-5b"][2] == PAIRS["wan2.2-5b"].licence
    assert "tianweiy/CausVid" in rows["wan2.1-1.3b-causvid"][1]
    assert rows["of others"][2] == "not known to this version"
    assert "**Videos of cogvideox-5b@33x480x720, wan2.1-1.3b-causvid are not for commercial use.**" in text


def test_what_pairs_declare_is_understood() -> None:
    """Each pair whose licence says so, and no other: another wording has to be added here."""
    limited = {name for name, spec in PAIRS.items() if is_non_commercial(spec.licence)}
    assert limited == {"wan2.1-1.3b-causvid", "cogvideox-5b"}


def test_only_what_is_exported_is_said_to_be_noise(fill: Fill, tmp_path: Path) -> None:
    rows = [{"id": "a"}, {"id": "b", "weights": {"student": "random"}}]
    store = fill(str(tmp_path / "run"), rows)
    said = "Some were made with random weights"
    assert said in card_of([store], tmp_path / "all")
    assert said not in card_of([store], tmp_path / "some", where="id = 'a'")


def test_no_stranger_writes_the_card(fill: Fill, tmp_path: Path) -> None:
    """Names are shown as they are: no markup, no row of a table of their own, no end of a fence."""
    hostile = '<img src=x onerror="a()"> | x | **b** ```\n# heading\u202e\x1b[2K'
    inputs, limited = {"reference": f"/clips/{hostile}"}, f"wan2.1-1.3b-causvid@{hostile}"
    rows = [{"id": id, "inputs": inputs, "pair": limited} for id in (hostile, "b")]
    store = fill(str(tmp_path / "run"), rows)
    video = next(record.video for record in store.records() if record.id == hostile)
    assert video is not None
    store.folder.remove_all([video.uri])
    text = card_of([store], tmp_path / "out", command=f"motionecho export ``` {hostile}", near=None)
    outside = [part for number, part in enumerate(text.split("\n---\n")[1].split("\n```")) if number % 2 == 0]
    assert len(outside) == 4, "three fences, all closed"
    for part in outside:
        assert re.findall(r"(?<!\\)[<*]", part.replace("**", "")) == [], "a backslash stands before each"
        assert "\n# heading" not in part
    (lineage,) = (row for row in table_under(text, "Lineage") if "img" in row[0])
    assert len(lineage) == 4, "its bars are no cells"
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert yaml.safe_load(text.split("---\n")[1])["pretty_name"] == "out"


@pytest.mark.parametrize(
    ("form", "place", "line"),
    [
        ("folder", "/data/out", "load_dataset('videofolder', data_dir='/data/out')"),
        ("hf", "hf://datasets/someone/name", "load_dataset('someone/name')"),
        ("webdataset", "/data/o", "webdataset.WebDataset('/data/o/train-000000.tar', shardshuffle=False)"),
    ],
)
def test_the_lines_that_load_it(form: str, place: str, line: str) -> None:
    assert loading(form, place).splitlines()[-1] == line
