"""`motionecho manifest validate`, and the demo that ships."""

import csv
import json
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import pyarrow.parquet as pq
import pytest

from motionecho.cli.exits import Exit
from motionecho.video import read_clip, write_video
from tests.cli.conftest import ROOT, Cli

DEMO = ROOT / "manifests" / "demo.parquet"


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_demo_is_fine_and_covers_what_it_should(cli: Cli) -> None:
    done = cli("manifest", "validate", DEMO)
    assert (done.code, done.out) == (Exit.OK, "")
    assert "10 rows, all fine" in done.err
    rows = pq.read_table(DEMO).to_pylist()
    assert len(rows) >= 8
    assert {row["moves"] for row in rows} == {"object", "camera"}
    assert len({row["reference"] for row in rows}) < len({(row["reference"], row["prompt"]) for row in rows})
    assert len({row["seed"] for row in rows}) > 1


def test_the_readable_twin_has_the_same_content() -> None:
    with (ROOT / "manifests" / "demo.csv").open(newline="", encoding="utf-8") as stream:
        twin = [row | {"seed": int(row["seed"])} for row in csv.DictReader(stream)]
    assert twin == pq.read_table(DEMO).to_pylist()


def test_the_script_makes_what_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make_demo.py", str(tmp_path)])
    run_path(str(ROOT / "manifests" / "make_demo.py"), run_name="__main__")
    assert pq.read_table(tmp_path / "demo.parquet").equals(pq.read_table(DEMO))
    for made in sorted((tmp_path / "clips").iterdir()):
        ours = read_clip(made, 16, 64, 64).frames.astype(int)
        theirs = read_clip(ROOT / "manifests" / "clips" / made.name, 16, 64, 64).frames.astype(int)
        assert abs(ours - theirs).mean() < 3, made.name  # another encoder release may round elsewhere


def test_every_kind_of_problem_is_named_with_its_row(cli: Cli, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    path = write(
        tmp_path / "m.jsonl",
        {"id": "fine", "reference": str(clip), "prompt": "a red star"},
        {"id": "gone", "reference": "gone.mp4", "prompt": "a red star"},
        {"id": "text", "reference": "text.mp4", "prompt": "a red star"},
        {"id": "late", "reference": str(clip), "prompt": "a red star", "start": 99},
        {"id": "bare", "reference": str(clip), "prompt": ""},
        {"id": "wild", "reference": str(clip), "prompt": "a red star", "noise_blend": 7},
        {"id": "fine", "reference": str(clip), "prompt": "a blue star"},
        {"id": "twin", "reference": str(clip), "prompt": "a white star", "seed": 3},
        {"id": "copy", "reference": str(clip), "prompt": "a white star", "seed": 3},
    )
    done = cli("manifest", "validate", path, "--json")
    assert done.code == Exit.USAGE
    found = {problem["row"]: problem["problem"] for problem in done.json["problems"]}
    assert sorted(found) == [2, 3, 4, 5, 6, 7, 9]
    for row, said in {
        2: "gone.mp4",
        3: "text.mp4",
        4: "start",
        5: "prompt",
        6: "noise_blend",
        7: "row 1",
        9: "row 8",
    }.items():
        assert said in found[row]
    table = cli("manifest", "validate", path)
    assert table.code == Exit.USAGE
    assert len(table.out.splitlines()) == 1 + len(found)
    assert "9 rows, 7 with problems" in table.err


def test_a_missing_column_is_one_sentence(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "manifest", "validate", write(tmp_path / "m.jsonl", {"reference": "a.mp4", "words": "a red star"})
    )
    assert done.code == Exit.USAGE
    assert '"prompt"' in done.sentence()


def test_words_and_clips_that_will_serve_the_pair_badly(cli: Cli, clip: Path, tmp_path: Path) -> None:
    frames = read_clip(clip, 16, 64, 64).frames
    write_video(tmp_path / "small.mp4", frames[:, ::2, ::2], 8, None)
    write_video(tmp_path / "short.mp4", frames[:10], 8, None)
    path = write(
        tmp_path / "m.jsonl",
        {"id": "small", "reference": "small.mp4", "prompt": "a red star"},
        {"id": "short", "reference": "short.mp4", "prompt": "a red star"},
        {"id": "fine", "reference": str(clip), "prompt": "a red star", "negative_prompt": "a blue star"},
    )
    done = cli("manifest", "validate", path, "--json")
    assert done.code == Exit.OK, "warnings are no errors"
    assert done.json["problems"] == []
    small, short = done.json["warnings"]
    assert (small["id"], "32x32 pixels are enlarged 2.0 times" in small["problem"]) == ("small", True)
    assert (short["id"], "only 10 different frames for 16" in short["problem"]) == ("short", True)
    words = write(tmp_path / "w.jsonl", {"id": "cat", "reference": str(clip), "prompt": "a red cat"})
    done = cli("manifest", "validate", words, "--json")
    assert done.code == Exit.USAGE
    (problem,) = done.json["problems"]
    assert (problem["row"], problem["id"], problem["column"], problem["value"]) == (
        1,
        "cat",
        "prompt",
        "a red cat",
    )
    assert 'does not know the word "cat"' in problem["problem"]
    assert cli("manifest", "validate", words, "--pair", "turbo-v2").code == Exit.OK


def test_the_caption_of_a_reference_is_read_where_a_strategy_trains(
    cli: Cli, clip: Path, tmp_path: Path
) -> None:
    row = {"reference": str(clip), "prompt": "a red star", "reference_prompt": "a red cat"}
    words = write(tmp_path / "w.jsonl", row | {"strategy": "vmc"}, row | {"strategy": "moft"})
    done = cli("manifest", "validate", words, "--json")
    assert done.code == Exit.USAGE
    (problem,) = done.json["problems"]
    assert problem["row"] == 1
    assert problem["problem"].startswith('reference_prompt: the embedded pair does not know the word "cat"')


def test_many_problems_of_a_kind_are_told_by_the_first_ten(cli: Cli, clip: Path, tmp_path: Path) -> None:
    rows = [{"id": f"s{n}", "reference": str(clip), "prompt": f"a red thing{n}"} for n in range(30)]
    rows += [{"id": f"t{n}", "reference": f"gone{n}.mp4", "prompt": "a red star"} for n in range(3)]
    path = write(tmp_path / "m.jsonl", *rows)
    done = cli("manifest", "validate", path)
    assert done.code == Exit.USAGE
    assert len(done.out.splitlines()) == 1 + 10 + 3
    assert "20 more of this kind (error in prompt): the embedded pair does not know the word ..." in done.err
    assert done.err.endswith("33 rows, 33 with problems\n")
    assert len(cli("manifest", "validate", path, "--json").json["problems"]) == 33, "a program wants them all"


@pytest.mark.parametrize("pair", ["animatediff-lightning", "turbo-v2"])
def test_a_prompt_that_the_text_encoder_cuts_is_told_with_what_is_lost(
    cli: Cli, clip: Path, tmp_path: Path, pair: str
) -> None:
    words = " ".join(["bright"] * 75)
    path = write(
        tmp_path / "m.jsonl",
        {"id": "whole", "reference": str(clip), "prompt": words},
        {"id": "cut", "reference": str(clip), "prompt": f"{words} quiet harbour", "seed": 1},
        {"id": "too", "reference": str(clip), "prompt": f"{words} quiet harbour", "seed": 2},
    )
    done = cli("manifest", "validate", path, "--pair", pair, "--fit", "resize", "--json")
    assert (done.code, done.json["problems"]) == (Exit.OK, [])
    cut = [each for each in done.json["warnings"] if each["column"] == "prompt"]
    assert [each["id"] for each in cut] == ["cut", "too"]
    assert 'does not read its end, from "quiet harbour" on' in cut[0]["problem"]
