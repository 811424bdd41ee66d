"""A deny list meets words however they are written, and nothing else; other filters are asked too."""

import hashlib
from pathlib import Path

import pytest

from motionecho.errors import DeniedPrompt, UserError
from motionecho.manifest import prompts
from motionecho.manifest.prompts import GROUP, PromptFilters, folded, prompt_filters
from tests.test_plugins import install


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
        ("gun", "a g\ufe0fu\u3164n", True),  # a variation selector, a filler of Hangul
        ("gun", "a g\u115fu\uffa0n\x08", True),
        ("g\U000e0100un", "a gun", True),
        ("/한국/", "한국의 별", True),
        ("/[가-나]국/", "각국", True),
        ("/が/", "が", True),
        ("/か\u3099/", "が", True),
        ("/ｶﾞ/", "ガ", True),
        ("/straße/", "the Straße", True),
        ("/STRASSE/", "the straße", True),
        ("/ß{2}x/", "SSSSx", True),
        ("/ß{2}x/", "sssx", False),
        ("/\uff27\uff35\uff2e/", "a gun", True),
        ("/gun\u3000shot/", "a gun  shot", True),
        ("/a\uff0bb/", "aab", False),  # a wide plus is a plus, not "once or more"
        ("/a\uff0bb/", "a+b", True),
        (r"/\u00e9t\xe9/", "ete", True),
        ("/caf[eé]/", "a café", True),
        ("/[А-Я]ружие/", "оружие", True),
        (r"/\Bun\S/", "a guns", True),
        ("/[]é]/", "e", True),
        ("/a…+b/", "a......b", True),
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
        ("//", "it is empty"),
        ("/stra[ßs]e/", 'a prompt has "ss" for "ß", which no set has'),
        ("/[^]ß]/", 'a prompt has "ss" for "ß", which no set has'),
        ("/[à-ü]/", 'a prompt has "a" for "à", which no set has'),
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


FILTERS = """
def no_cats(prompt):
    return "no cats here" if "cat" in prompt else None

def fails(prompt):
    raise RuntimeError("its model is away")

words = "none"
"""


def test_filters_of_other_packages_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(*names: str, of: str = "policy") -> None:
        points = "".join(f"{name} = policy_filters:{name}\n" for name in names)
        folder = tmp_path / of / "-".join(names)
        install(folder, of, "1.2", f"[{GROUP}]\n{points}", policy_filters=FILTERS)
        monkeypatch.syspath_prepend(str(folder))  # before an earlier one of that name

    assert prompt_filters().facts == {}
    installed("no_cats")
    assert prompt_filters().why("a cat") == 'its prompt is denied by the filter "no_cats": no cats here'
    assert prompt_filters().why("a dog") is None
    assert prompt_filters().facts == {"plugged": {"no_cats": "policy 1.2"}}
    installed("fails", "no_cats")  # a guard that fails lets nothing pass
    assert (
        prompt_filters().why("a dog")
        == 'its prompt is denied by the filter "fails": it failed: its model is away'
    )
    installed("no_cats", of="other")  # of two filters of one name neither is passed over
    with pytest.raises(UserError, match=r'"no_cats" is added by other 1.2 and policy 1.2: uninstall all but'):
        prompt_filters()


@pytest.mark.parametrize(
    ("name", "words"), [("absent", "AttributeError: .*'absent'"), ("words", "TypeError: it is no function")]
)
def test_a_filter_that_cannot_be_had_stops_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    install(tmp_path, "policy", "1.2", f"[{GROUP}]\n{name} = policy_filters:{name}", policy_filters=FILTERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=rf'prompt filter "{name}" of policy 1.2 cannot be used: {words}'):
        prompt_filters()


def test_folding_keeps_vowels_of_other_scripts() -> None:
    assert folded("กิน  ดี") == "กิน ดี"
    assert folded("हिंदी") == "हिंदी"


def test_a_pattern_that_takes_for_ever_denies_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "LONGEST_S", 0.05)
    place = tmp_path / "deny.txt"
    place.write_text("gun\n/^(?:a|aa|a{2})+$/\n")
    filters = prompt_filters(str(place))
    assert "line 2 of the deny list" in str(filters.why(f"{'a' * 200}!"))
    assert "takes too long" in str(filters.why(f"{'a' * 200}!"))
    assert filters.why("a fox") is None
