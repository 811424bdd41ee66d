"""What answers come to, by hand and by published examples; files that are no answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from motionecho.errors import UserError
from motionecho.metrics.stats import estimate
from motionecho.runs.sealed import sealed
from motionecho.study.answers import read_answers, read_key
from motionecho.study.tally import StudyTally, Vote, alpha, shares, tally
from tests.cli.conftest import Cli, cli

__all__ = ["cli"]
PAIRS = {"p1": ["new", "old"], "p2": ["old", "new"], "p3": ["new", "old"]}
QUESTIONS = ["Q1", "Q2", "Q3", "Q4"]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    pairs = {id: {"reference": "r.mp4", "prompt": id, "methods": methods} for id, methods in PAIRS.items()}
    words = {
        "schema_version": 1,
        "study": "s",
        "methods": ["new", "old"],
        "questions": QUESTIONS,
        "pairs": pairs,
    }
    path = tmp_path / "key.json"
    path.write_text(json.dumps(sealed(words)))
    return path


def trial(pair: str, tile: int, order: tuple[int, ...] = (1, 2), **more: Any) -> dict[str, Any]:
    answers = dict.fromkeys(QUESTIONS, tile)
    return {"kind": "pair", "pair": pair, "order": list(order), "answers": answers, "seconds": 5} | more


def file(path: Path, whose: str, *trials: dict[str, Any], **more: Any) -> str:
    words = {"schema_version": 1, "study": "s", "rater": whose, "saved_at": "2026-01-01T00:00:00.000Z"}
    path.write_text(json.dumps(words | {"of": max(1, len(trials)), "trials": trials} | more))
    return str(path)


def summed(key: Path, *files: str, screen: bool = False) -> StudyTally:
    solution = read_key(str(key))
    return tally(solution, read_answers(files, solution), screen)


def test_a_tile_is_counted_for_its_method(key: Path, tmp_path: Path) -> None:
    one = file(tmp_path / "1", "one", trial("p1", 1), trial("p2", 2), trial("p3", 1))  # all are "new"
    two = file(tmp_path / "2", "two", trial("p1", 2), trial("p2", 2, answers={"Q3": 2}))  # "old", then "new"
    found = summed(key, one, two)
    assert {name: its.answers for name, its in found.questions.items()} == {
        "Q1": 4,
        "Q2": 4,
        "Q3": 5,
        "Q4": 4,
    }
    assert {method: share.mean for method, share in found.questions["Q1"].shares.items()} == {
        "new": 0.75,
        "old": 0.25,
    }
    assert found.questions["Q3"].shares["new"].mean == 0.8
    assert (found.raters, found.pairs, found.answers) == (2, 3, 17)
    assert found.unfinished == {"two": 1}


def test_the_place_on_the_page_is_counted_as_it_was_shown(key: Path, tmp_path: Path) -> None:
    always_first = [trial("p1", 2, (2, 1)), trial("p2", 1, (1, 2)), trial("p3", 2, (2, 1))]
    found = summed(key, file(tmp_path / "1", "one", *always_first))
    assert [share.mean for share in found.places] == [1, 0]


def test_checks_and_repeats_are_counted_by_themselves(key: Path, tmp_path: Path) -> None:
    check = trial("p1", 2, kind="check", asked=2)
    again = trial("p1", 1, (2, 1), kind="repeat", answers={"Q1": 1, "Q2": 2, "Q3": 1, "Q4": 1})
    good = file(tmp_path / "1", "good", trial("p1", 1), check, again)
    bad = file(tmp_path / "2", "bad", trial("p1", 2), trial("p2", 1), trial("p1", 1, kind="check", asked=2))
    found = summed(key, good, bad)
    assert (found.checked, found.failed, found.repeated) == (2, ("bad",), (3, 4))
    assert found.questions["Q1"].shares["new"].mean == pytest.approx(1 / 3)
    screened = summed(key, good, bad, screen=True)
    assert (screened.raters, screened.questions["Q1"].shares["new"].mean) == (1, 1)
    with pytest.raises(UserError, match="no rater that counts"):
        summed(key, bad, screen=True)


def test_who_answered_nothing_counts_in_nothing(key: Path, tmp_path: Path, cli: Cli) -> None:
    nothing = trial("p1", 1, answers={}), trial("p1", 1, answers={}, kind="check", asked=2)
    empty, one = file(tmp_path / "1", "empty", *nothing), file(tmp_path / "2", "one", trial("p1", 1))
    found = summed(key, empty, one)
    assert (found.raters, found.answers, found.checked, found.seconds) == (1, 4, 0, 5)
    assert found.unfinished == {"empty": 2}
    done = cli("study", "tally", empty, "--key", key)
    assert (done.code, done.out) == (2, "")
    assert "no rater that counts has answered anything" in done.sentence()


def test_alpha_is_that_of_the_published_example() -> None:
    """Krippendorff (2011), section C: four observers, twelve units, answers missing: 0.743."""
    told = """
        1 2 3 3 2 1 4 1 2 . . .
        1 2 3 3 2 2 4 1 2 5 . 3
        . 3 3 3 2 3 4 2 2 5 1 .
        1 2 3 3 2 4 4 1 2 5 1 ."""
    lines = [line.split() for line in told.strip().splitlines()]
    votes = [
        Vote(str(rater), str(unit), choice)
        for rater, line in enumerate(lines)
        for unit, choice in enumerate(line)
        if choice != "."
    ]
    assert alpha(votes) == pytest.approx(0.743, abs=0.0005)


def test_alpha_at_its_ends() -> None:
    def of(*choices: str) -> float | None:
        return alpha(
            Vote(str(n), str(unit), c) for unit, told in enumerate(choices) for n, c in enumerate(told)
        )

    assert of("aa", "bb", "cc") == 1
    assert of("ab", "ab", "ba") == pytest.approx(1 - 5 * 6 / 18)
    assert of("aa", "aa") is None  # nobody could have disagreed
    assert of("a", "b") is None  # nobody was asked twice


def test_raters_who_copy_each_other_make_no_interval_narrower() -> None:
    told = "aababbabaabaaa"
    one = [Vote("0", str(pair), choice) for pair, choice in enumerate(told)]
    many = [Vote(str(rater), vote.pair, vote.choice) for rater in range(20) for vote in one]
    alone, copied = (shares(votes, ["a", "b"])["a"] for votes in (one, many))
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))
    of_pairs = estimate([choice == "a" for choice in told])
    assert (alone.low, alone.high) == pytest.approx((of_pairs.low, of_pairs.high), abs=0.08)
    assert alone.n * 20 == copied.n


def test_unanimous_answers_have_wilsons_interval() -> None:
    votes = [Vote(str(rater), str(pair), "a") for rater in range(5) for pair in range(12)]
    found = shares(votes, ["a", "b"])
    far = 1.96**2 / (5 + 1.96**2)
    assert (found["a"].low, found["a"].high) == pytest.approx((1 - far, 1))
    assert (found["b"].low, found["b"].high) == pytest.approx((0, far))
    single = shares(votes[:1], ["a", "b"])["a"]
    assert (single.mean, single.low, single.high) == (1, None, None)


def test_of_several_files_of_a_rater_the_one_saved_last_counts(key: Path, tmp_path: Path) -> None:
    late = file(tmp_path / "late", "one", trial("p1", 1), saved_at="2026-01-02T00:00:00.000Z")
    early = file(tmp_path / "early", "one", trial("p1", 2), trial("p2", 1))
    for order in ((late, early), (early, late)):
        read = read_answers(order, read_key(str(key)))
        assert read.replaced == (f'"{early}": "{late}" is a later one of rater one, and counts',)
        assert [its.pair for its in read.raters["one"].trials] == ["p1"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"study": "other"}, 'it answers study "other", and the key is of "s"'),
        ({"schema_version": 2}, "it has schema_version 2"),
        ({"rater": "Some One"}, "its rater: string should match"),
        ({"saved_at": "yesterday"}, "its saved_at: string should match"),
        ({"trials": [trial("p9", 1)]}, 'its trial 1 is of pair "p9", which the study does not have'),
        ({"trials": [trial("p1", 1), trial("p1", 2)]}, 'its trial 2 is the second of pair "p1"'),
        ({"trials": [trial("p1", 3)]}, "its trial 1 answers Q1 with video 3; there are 1 to 2"),
        ({"trials": [trial("p1", 1, answers={"Q9": 1})]}, 'its trial 1 answers "Q9"; the questions are Q1'),
        ({"trials": [trial("p1", 1, (1, 1))]}, r"its trial 1 has the order \[1, 1\]"),
        ({"trials": [trial("p1", 1, answers={"Q1": "1"})]}, "its trials.0.answers.Q1: input should be"),
        ({"trials": [trial("p1", 1, kind="check")]}, "its trial 1 is a check that asks for video None"),
        ({"trials": 5}, "its trials: input should be a valid list"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_left_out_with_its_reason(
    more: dict[str, Any], said: str, key: Path, tmp_path: Path
) -> None:
    good, bad = file(tmp_path / "good", "one", trial("p1", 1)), file(tmp_path / "bad", "two", **more)
    with pytest.raises(UserError, match=f'no file of answers can be tallied: "{bad}": {said}'):
        read_answers([bad], read_key(str(key)))
    read = read_answers([bad, good], read_key(str(key)))
    assert [*read.raters] == ["one"]
    assert len(read.left_out) == 1


def test_what_is_no_key_or_no_json_is_told(key: Path, tmp_path: Path) -> None:
    answers = file(tmp_path / "1", "one", trial("p1", 1))
    with pytest.raises(UserError, match=f'"{answers}" cannot be read as the key of a study: its methods'):
        read_key(answers)
    edited = tmp_path / "edited.json"
    edited.write_text(key.read_text().replace('"new", "old"', '"old", "new"', 1))
    with pytest.raises(UserError, match="says other things than were written"):
        read_key(str(edited))
    (tmp_path / "half").write_text('{"schema_version": 1, "stu')
    with pytest.raises(UserError, match="it is no JSON"):
        read_answers([str(tmp_path / "half"), str(tmp_path / "none")], read_key(str(key)))
