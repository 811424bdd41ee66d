"""Which videos a study compares: alike in reference, prompt and seed, and drawn from all references."""

from collections import Counter
from pathlib import Path

import pytest

from motionecho.errors import UserError
from motionecho.study.drawing import draw, read_videos
from tests.study.flat_run import row, rows, write_run


def test_the_methods_of_one_run_are_what_its_videos_differ_in(tmp_path: Path) -> None:
    videos = read_videos([write_run(tmp_path / "run", rows(2, 2))])
    assert Counter(video.method for video in videos) == {"student": 4, "motionecho": 4}
    for pair in draw(videos, 4):
        assert [*pair.videos] == ["motionecho", "student"]
        assert {video.name for video in pair.videos.values()} == {pair.name}
        assert len({video.seed for video in pair.videos.values()}) == 1


def test_runs_are_methods_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    stores = [write_run(tmp_path / name / "run", [row(0, "a", "student")]) for name in ("one", "two")]
    assert [video.method for video in read_videos(stores)] == ["one/run", "two/run"]
    with pytest.raises(UserError, match="named twice"):
        read_videos([stores[0], stores[0]])


def test_rows_that_left_the_manifest_are_not_shown(tmp_path: Path) -> None:
    store = write_run(tmp_path / "run", rows(2, 1))
    keys = [record.key for record in store.records() if "reference-1" not in record.inputs["reference"]]
    store.take_lease("driver", {"m.csv": keys}).end({})
    videos = read_videos([store])
    assert {video.key for video in videos} == {*keys}
    assert len(videos) == 2
    store.take_lease("driver", {"m.csv": keys[:1]}).end({})
    with pytest.raises(UserError, match="are all of method"):
        read_videos([store])


def test_references_are_spread_and_the_seed_decides(tmp_path: Path) -> None:
    videos = read_videos([write_run(tmp_path / "run", rows(4, 3))])
    for pairs, most in ((4, 1), (6, 2), (12, 3)):
        found = Counter(pair.name[0] for pair in draw(videos, pairs))
        assert (len(found), max(found.values())) == (4, most)
        assert max(found.values()) - min(found.values()) <= 1
    names = [tuple(pair.name for pair in draw(videos, 6, seed)) for seed in (0, 0, 1, 2, 3)]
    assert names[0] == names[1]
    assert len({*names}) > 2


def test_a_pair_has_one_seed_which_any_seed_lifts(tmp_path: Path) -> None:
    made = [row(0, "a", "student", 1), row(0, "a", "student", 2), row(0, "a", "motionecho", 2)]
    made += [row(1, "b", "student", 1), row(1, "b", "motionecho", 9)]
    videos = read_videos([write_run(tmp_path / "run", made)])
    (pair,) = draw(videos, 1)
    assert {method: video.seed for method, video in pair.videos.items()} == {"motionecho": 2, "student": 2}
    with pytest.raises(UserError) as refused:
        draw(videos, 36)
    assert str(refused.value) == (
        "every method has a video for 1 of 2 pairs of reference and prompt (motionecho for 2, student for "
        "2), and 36 are asked for: --pairs 1 takes these; --any-seed finds 2, whose seeds differ from "
        "method to method"
    )
    assert len(draw(videos, 2, any_seed=True)) == 2


def test_columns_tell_methods_apart(tmp_path: Path) -> None:
    made = [row(0, "a", "student", strength=s, strategy=word) for s in (1, 2) for word in ("moft", "dmt")]
    store = write_run(tmp_path / "run", made)
    assert {v.method for v in read_videos([store], ["strength", "strategy"])} == {
        "1 / moft", "1 / dmt", "2 / moft", "2 / dmt"
    }  # fmt: skip
    with pytest.raises(UserError, match=r"same method .*name with --by the column in which they differ"):
        draw(read_videos([store]), 1)
    with pytest.raises(UserError, match=r'no video has a column "strenght" \(did you mean "strength"\?\)'):
        read_videos([store], ["strenght"])


@pytest.mark.parametrize(
    ("made", "by", "said"),
    [
        ([row(0, "a", "student")], [], "all of method student, strategy motionclone, pair toy: name"),
        ([row(0, "a", "student"), row(0, "a", "teacher", strategy="dmt")], [],
         "differ in method and strategy: name which tells methods apart, --by method, or all"),
        ([row(0, "a", "student")], ["prompt"], 'all videos are of one method, "a"'),
        ([row(0, str(n), "student") for n in range(10)], ["prompt"], "10 methods are more than a person"),
        ([], [], "has no finished video"),
    ],
)  # fmt: skip
def test_what_makes_no_comparison_is_refused(
    made: list[dict[str, object]], by: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        read_videos([write_run(tmp_path / "run", made)], by)
