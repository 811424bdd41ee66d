"""Tables, durations and counts as people read them."""

import json
import os
import subprocess
import sys

import pytest

from motionecho.cli.printing import count, duration, put_json, table

CAUSE = "the store kept failing for 180 s: [Errno 28] No space left on device"


def test_table_aligns_numbers_right_and_cuts_nothing() -> None:
    rows = [{"id": "a", "loss": 1.5, "note": CAUSE * 4}, {"id": "bcd", "loss": 210.25, "note": None}]
    assert table(rows).splitlines() == ["id    loss  note", f"a      1.5  {CAUSE * 4}", "bcd  210.2  -"]


def test_on_a_terminal_that_is_too_narrow_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    rows = [{"id": "海", "window_mean": 1234.5, "note": CAUSE}, {"id": "b", "window_mean": None, "note": "x"}]
    lines = table(rows).splitlines()
    assert lines[:3] == ["    window", "id    mean", "海    1234"]
    assert " ".join(line.strip() for line in lines[3:-2]) == CAUSE
    assert lines[-2:] == ["b        -", "    x"]
    assert max(map(len, lines)) <= 40 < len(CAUSE)


def test_table_keeps_a_row_on_a_line() -> None:
    assert table([{"a": "two\nlines"}]).splitlines() == ["a", r"two\nlines"]
    assert table([{"a": "[red]x[/]"}]).splitlines() == ["a", "[red]x[/]"]
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


def test_a_terminal_without_the_letters_gets_them_written_out(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    code = (
        "from motionecho.cli.main import make_visible\n"
        "from motionecho.cli.printing import put, put_json\n"
        "make_visible(); put('é 海 👩'); put_json(text='é 海 👩')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    plain, written = capfdbinary.readouterr().out.decode("ascii").splitlines()
    assert plain == r"\xe9 \u6d77 \U0001f469"
    assert json.loads(written)["text"] == "é 海 👩"


def test_json_never_holds_what_json_cannot() -> None:
    with pytest.raises(ValueError, match="JSON"):
        put_json(loss=float("nan"))
