"""Text of strangers: what moves a cursor or hides is written out, what is read stays."""

import json

import pytest

from motionecho.report.visible import visible, visible_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a red star", "a red star"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("one\r\ntwo\tthree\x00\x08", "one\\r\\ntwo\\tthree\\x00\\x08"),
        ("\x7f\x85\x9b31m", "\\x7f\\x85\\x9b31m"),
        ("\u202egnp.exe\u202c \u2066x\u2069 \u200f", "\\u202egnp.exe\\u202c \\u2066x\\u2069 \\u200f"),
        ("\u2028\u2029\ufeff\u200b\u2060\u00ad", "\\u2028\\u2029\\ufeff\\u200b\\u2060\\xad"),
        ("\ud83d half, \U000e0041 tag", "\\ud83d half, \\U000e0041 tag"),
        ("pass\u200dword 海\u200d辺 \u200d\u200c", "pass\\u200dword 海\\u200d辺 \\u200d\\u200c"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_what_is_not_drawn_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "海辺を走る馬　と 犬",
        "\N{ZERO WIDTH JOINER}".join("👩🚀"),
        "❤\ufe0f\u200d🔥 🏳\ufe0f\u200d🌈 👨\u200d👩\u200d👧\u200d👦 👋🏽",
        "می\u200cخواهم",
        "क्\u200dष",
        "Zürich — naïve “quotes” \u00a0 e\u0301",
        "new in Unicode 15: \U0001fae8",
    ],
)
def test_letters_and_emoji_stay(text: str) -> None:
    assert visible(text) == text
    assert visible_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


def test_some_may_be_kept() -> None:
    assert visible("a\tb\nc\rd", keep="\n\t") == "a\tb\nc\\rd"


def test_json_parses_to_the_same() -> None:
    text = "".join(map(chr, range(0x300))) + '\u200b\u2028\u202e\ufeff\ud800\U000e0041👩\u200d🚀\\"/'
    written = visible_json(json.dumps({text: text}, ensure_ascii=False))
    assert json.loads(written) == {text: text}
    assert visible(written) == written
    assert "👩\u200d🚀" in written
