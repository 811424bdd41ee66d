"""Tables, durations and counts as people read them."""

import pytest

from motionecho.cli.printing import count, duration, put_json, table


def test_table_aligns_numbers_right_and_cuts_long_cells() -> None:
    rows = [{"id": "a", "loss": 1.5, "note": "x" * 30}, {"id": "bcd", "loss": 210.25, "note": None}]
    assert table(rows, limit=10).splitlines() == [
        "id    loss  note",
        "a      1.5  xxxxxxx...",
        "bcd  210.2  -",
    ]


def test_table_keeps_a_row_on_a_line() -> None:
    assert table([{"a": "two\nlines"}]).splitlines() == ["a", "two lines"]
    assert table([]) == ""


def test_truth_is_words() -> None:
    assert table([{"active": True}, {"active": False}]).split() == ["active", "yes", "no"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_count() -> None:
    assert (count(1, "row"), count(2, "row"), count(0, "row")) == ("1 row", "2 rows", "0 rows")


def test_json_never_holds_what_json_cannot() -> None:
    with pytest.raises(ValueError, match="JSON"):
        put_json(loss=float("nan"))
