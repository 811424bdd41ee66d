"""A study as it is written: what is in step, what a rater could find out, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_run import HOSTILE, draw

from motionecho.errors import UserError
from motionecho.report.visible import visible
from motionecho.runs.sealed import unsealed
from motionecho.study.build import build_study
from motionecho.video import probe, read_clip
from tests.cli.conftest import Cli, cli
from tests.study.flat_run import COLORS, FRAMES, GREY, row, rows, write_run

__all__ = ["cli"]
METHODS = ("student", "motionecho", "teacher")


def data_of(folder: Path) -> dict[str, Any]:
    """What the page is given, out of its script."""
    text = (folder / "data.js").read_text()
    assert text.startswith("study.take(")
    return dict(json.loads(json.loads(text.removeprefix("study.take(").removesuffix(");\n"))))


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, by its path there."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_reference_and_videos_are_one_file_and_the_key_says_whose_is_which(tmp_path: Path) -> None:
    store = write_run(tmp_path / "run", rows(3, 2, METHODS))
    built = build_study([store], str(tmp_path / "page"), pairs=5, repeats=9, check=True)
    assert (built.pairs, built.references, built.methods) == (5, 3, tuple(sorted(METHODS)))
    words, key = data_of(tmp_path / "page"), unsealed(json.loads(Path(built.key).read_text()))
    assert built.key == str(tmp_path / "page.key.json")
    assert words["study"] == key["study"] == built.study
    assert (len(words["pairs"]), words["repeats"], words["check"]) == (5, 5, True)
    assert [each["id"] for each in words["questions"]] == ["Q1", "Q2", "Q3", "Q4"]
    orders = set()
    for pair in words["pairs"]:
        clip, methods = tmp_path / "page" / pair["clip"], key["pairs"][pair["pair"]]["methods"]
        orders.add(tuple(methods))
        info = probe(clip)
        frames = read_clip(clip, info.frames, info.height, info.width).frames
        assert len(frames) == FRAMES
        for tile, color in enumerate([GREY, *(COLORS[method] for method in methods)]):
            top = tile // pair["columns"] * (pair["height"] + 2 * pair["edge"]) + pair["edge"]
            left = tile % pair["columns"] * (pair["width"] + 2 * pair["edge"]) + pair["edge"]
            shown = frames[:, top : top + pair["height"], left : left + pair["width"]]
            assert np.abs(shown.astype(int) - color).max() < 12, (tile, methods)
    assert len(orders) > 1  # no tile is always the same method's


def test_nothing_in_the_page_tells_methods_apart(tmp_path: Path) -> None:
    store = write_run(tmp_path / "a run" / "here", rows(2, 2, METHODS))
    built = build_study([store], str(tmp_path / "page"), pairs=4)
    key = json.loads(Path(built.key).read_text())
    ids = [
        video[name]
        for pair in key["pairs"].values()
        for video in pair["videos"]
        for name in ("id", "key", "sha256")
    ]
    files = [path for path in (tmp_path / "page").rglob("*") if path.is_file()]
    assert sum(path.suffix == ".mp4" for path in files) > 1
    for path in files:
        if path.name == "base.css":  # the report's, which has a colour for what it calls student and teacher
            continue
        text = path.read_bytes().decode("latin-1")
        for told in (*METHODS, "a run", "reference-0", *ids):
            assert told not in text, (path.name, told)


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    store = write_run(tmp_path / "run", rows(2, 2))
    for name in ("one", "two"):
        build_study([store], str(tmp_path / name), pairs=3, seed=4)
    names = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(names) > 8
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one.key.json").read_bytes() == (tmp_path / "two.key.json").read_bytes()


def test_two_runs_are_compared(tmp_path: Path, cli: Cli) -> None:
    runs = tmp_path / "one", tmp_path / "two"
    draw(str(runs[0]))
    shutil.copytree(*runs)
    refused = cli("study", "build", *runs, "--out", tmp_path / "page")
    assert refused.code == 2
    assert "every method has a video for 26 of 26 pairs" in refused.sentence()
    assert "--pairs 26 takes these" in refused.sentence()
    assert not (tmp_path / "page").exists()
    done = cli("study", "build", *runs, "--out", tmp_path / "page", "--pairs", "3", "--json")
    assert done.code == 0, done.err
    assert (done.json["methods"], done.json["references"]) == (["one", "two"], 3)
    assert done.json["page"] == str(tmp_path / "page" / "index.html")


def test_a_hostile_prompt_stays_text(tmp_path: Path) -> None:
    made = [row(0, HOSTILE, method) for method in METHODS]
    build_study([write_run(tmp_path / "run", made)], str(tmp_path / "page"), pairs=1)
    (pair,) = data_of(tmp_path / "page")["pairs"]
    assert pair["prompt"] == visible(HOSTILE)
    assert "</script" not in (tmp_path / "page" / "data.js").read_text()


def test_videos_of_other_sizes_and_lengths_share_a_frame(tmp_path: Path) -> None:
    made = [row(0, "a", "student", size=(64, 64), frames=8), row(0, "a", "motionecho")]
    built = build_study([write_run(tmp_path / "run", made)], str(tmp_path / "page"), pairs=1)
    assert built.unlike == 1
    (pair,) = data_of(tmp_path / "page")["pairs"]
    clip = tmp_path / "page" / pair["clip"]
    assert (pair["width"], pair["height"], probe(clip).frames) == (256, 256, 8)


def test_a_study_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    store, page = write_run(tmp_path / "run", rows(2, 2)), tmp_path / "page"
    first = build_study([store], str(page), pairs=4)
    with pytest.raises(UserError, match=r'index.html" is there already: name another folder, or add --force'):
        build_study([store], str(page), pairs=1)
    with pytest.raises(UserError, match="in the folder of the page, where raters could look"):
        build_study([store], str(page), pairs=1, force=True, key=str(page / "key.json"))
    second = build_study([store], str(page), pairs=1, force=True)
    assert first.study != second.study
    assert len([*(page / "clips").iterdir()]) == 1


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "theirs",
    [
        ["clips/mine.mp4"],
        ["page/study.css"],
        ["data.js"],
        ["index.html", "page/core.js"],
        ["run.json", "clips/0123456789abcdef.mp4"],
    ],
)
def test_what_is_not_of_a_study_is_never_touched(theirs: list[str], force: bool, tmp_path: Path) -> None:
    store, page = write_run(tmp_path / "run", rows(1, 1)), tmp_path / "page"
    for name in theirs:
        (page / name).parent.mkdir(parents=True, exist_ok=True)
        (page / name).write_text('study.take("{}");\n')
    with pytest.raises(UserError, match=f'page/{theirs[0]}" is not of a study: name a folder'):
        build_study([store], str(page), pairs=1, force=force)
    assert files_in(page) == dict.fromkeys(theirs, b'study.take("{}");\n')


def test_beside_a_study_nothing_else_is_touched(tmp_path: Path) -> None:
    store, page = write_run(tmp_path / "run", rows(2, 1)), tmp_path / "page"
    build_study([store], str(page), pairs=1)
    (page / "clips" / "0123456789abcdef.mp4").write_text("of a build that was killed, or anyone's")
    (page / ".nojekyll").touch()
    build_study([store], str(page), pairs=1, seed=1, force=True)
    (clip,) = data_of(page)["pairs"]
    assert {*files_in(page)} > {clip["clip"], "clips/0123456789abcdef.mp4", ".nojekyll"}
    assert len([*(page / "clips").iterdir()]) == 2
    (page / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r'/page/notes.txt" is not of a study'):
        build_study([store], str(page), pairs=1, force=True)
    with pytest.raises(UserError, match=r'/notes.txt" is not of a study'):
        build_study([store], str(page / "notes.txt"), pairs=1, key=str(tmp_path / "key"), force=True)


def test_a_study_stays_whole_where_its_successor_fails(tmp_path: Path) -> None:
    store, page = write_run(tmp_path / "run", rows(2, 1)), tmp_path / "page"
    build_study([store], str(page), pairs=1)
    before = files_in(tmp_path / "page"), (tmp_path / "page.key.json").read_bytes()
    (tmp_path / "reference-0.mp4").unlink()  # one of the two pairs cannot be shown
    with pytest.raises(UserError, match="cannot be shown"):
        build_study([store], str(page), pairs=2, force=True)
    assert (files_in(page), (tmp_path / "page.key.json").read_bytes()) == before


def test_what_cannot_be_shown_is_named_and_leaves_no_page(tmp_path: Path) -> None:
    store, page = write_run(tmp_path / "run", rows(1, 1)), tmp_path / "page"
    (tmp_path / "reference-0.mp4").rename(tmp_path / "away.mp4")
    with pytest.raises(UserError, match=r'the reference of .*, ".*reference-0.mp4", cannot be shown: '):
        build_study([store], str(page), pairs=1)
    (tmp_path / "away.mp4").rename(tmp_path / "reference-0.mp4")
    for path in (tmp_path / "run" / "videos").rglob("*.mp4"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(
        UserError, match=r"is not what its record says; `motionecho batch verify .* --requeue`"
    ):
        build_study([store], str(page), pairs=1)
    assert not page.exists()
    assert not Path(f"{page}.key.json").exists()
