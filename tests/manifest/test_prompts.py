"""A deny list meets words however they are written, and nothing else; other filters are asked too."""

import hashlib
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from motionecho.errors import DeniedPrompt, UserError
from motionecho.manifest import prompts
from motionecho.manifest.prompts import PromptFilters, folded, prompt_filters


def listed(tmp_path: Path, text: str) -> PromptFilters:
    (tmp_path / "deny.txt").write_text(text, encoding="utf-8")
    return prompt_filters(str(tmp_path / "deny.txt"))


@pytest.mark.parametrize(
    ("rule", "prompt", "denied"),
    [
        ("gun", "a gun on a table", True),
        ("gun", "A GUN!", True),
        ("gun", "a \uff47\uff55\uff4e", True),  # full width
        ("gun", "a gu\u200bn", True),  # with a blank that is not seen
        ("gun", "a begun day of gunpowder", False),
        ("gun", "a_gun_drawn", True),
        ("Café", "in a CAFE", True),
        ("cafe", "in a cafe\u0301", True),
        ("Straße", "the STRASSE", True),
        ("two  words", "of two\n words", True),
        ("two words", "two other words", False),
        ("c++", "in c++11", True),
        ("/gun|rifle(s)?/", "two RIFLES", True),
        ("/^a gun$/", "a gun here", False),
        ("/\\bcafé\\b/", "a cafe", True),
        ("оружие", "Оружие на столе", True),
        ("武器", "桌上的武器和花", True),  # no blanks between words there
        ("gun", "桌上的gun和花", True),
        ("か", "が", False),  # not an accent
    ],
)
def test_words_are_met_whole_however_they_are_written(
    tmp_path: Path, rule: str, prompt: str, denied: bool
) -> None:
    filters = listed(tmp_path, f"# what is not shown\n\n{rule}\n")
    assert bool(filters.why(prompt)) is denied
    if denied:
        assert filters.why(prompt) == 'its prompt is denied by line 3 of the deny list "deny.txt"'
        with pytest.raises(DeniedPrompt, match=r"line 3 .* write it otherwise"):
            filters.check(prompt)


def test_a_list_is_known_by_its_digest(tmp_path: Path) -> None:
    filters = listed(tmp_path, "gun\n")
    assert filters.facts == {"deny": hashlib.sha256(b"gun\n").hexdigest()}
    assert prompt_filters().facts == {}
    assert prompt_filters().why("a gun") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/(/\n", r'line 1 of deny list ".*deny.txt" is no regular expression: /\(/'),
        ("# x\n", "names nothing"),
    ],
)
def test_a_list_that_makes_no_sense(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        listed(tmp_path, text)


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read deny list .*does not exist"):
        prompt_filters(str(tmp_path / "missing.txt"))
    (tmp_path / "deny.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match="is not UTF-8"):
        prompt_filters(str(tmp_path / "deny.txt"))


def no_cats(prompt: str) -> str | None:
    return "no cats here" if "cat" in prompt else None


def fails(prompt: str) -> str | None:
    raise RuntimeError("its model is away")


def test_filters_of_other_packages_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(*names: str) -> None:
        points = [EntryPoint(n, f"{__name__}:{n}", prompts.GROUP) for n in names]
        monkeypatch.setattr(prompts, "entry_points", lambda group: points)

    given = SimpleNamespace(no_cats=no_cats, fails=fails, words="none")
    monkeypatch.setitem(sys.modules, __name__, given)  # type: ignore[arg-type]
    installed("no_cats")
    assert prompt_filters().why("a cat") == 'its prompt is denied by the filter "no_cats": no cats here'
    assert prompt_filters().why("a dog") is None
    assert prompt_filters().facts == {"plugged": {"no_cats": f"{__name__}:no_cats"}}
    installed("fails", "no_cats")  # a guard that fails lets nothing pass
    assert (
        prompt_filters().why("a dog")
        == 'its prompt is denied by the filter "fails": it failed: its model is away'
    )
    installed("absent")
    with pytest.raises(UserError, match=r'prompt filter "absent" .* cannot be loaded'):
        prompt_filters()
    installed("words")
    with pytest.raises(UserError, match="is no function of a prompt"):
        prompt_filters()


def test_folding_keeps_vowels_of_other_scripts() -> None:
    assert folded("กิน  ดี") == "กิน ดี"
    assert folded("हिंदी") == "हिंदी"
