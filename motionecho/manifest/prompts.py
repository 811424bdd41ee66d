"""Prompts that are not made: a deny list in a file, and filters that other packages bring.

A line of the list is a word or a phrase, met as whole words, or a /regular expression/. Neither case,
accents, kinds of blanks nor invisible characters tell texts apart, in rules as in prompts. A filter of
another package is an entry point of the group `motionecho.prompt_filters`: a callable that takes a prompt and
returns why not, or None.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import EntryPoint
from typing import Any

import regex

from motionecho.errors import BadSample, DeniedPrompt, Transient, UserError
from motionecho.plugins.registry import Registry
from motionecho.runs.files import HURRIED_S, fetch
from motionecho.runs.places import Place

GROUP = "motionecho.prompt_filters"
LONGEST_S = 1.0  # that a pattern may take on one prompt
PromptFilter = Callable[[str], "str | None"]
MARKS = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)  # accents; not vowels of other scripts
UNSEEN = re.compile(
    "[\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)  # of Unicode's Default_Ignorable_Code_Point what is neither an accent nor a format character
TOKEN = re.compile(
    r"\[\^?\]?|\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|.", re.DOTALL
)  # of a pattern
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
)
LETTER = rf"[^\W_{SPACELESS}]"  # of scripts that put blanks between words: Thai, Chinese and others do not


@dataclass(frozen=True)
class Denied:
    """A line of a deny list: what it matches in a folded text."""

    line: int
    pattern: regex.Pattern[str]  # whose search can be given a time, since some patterns take for ever


@dataclass(frozen=True)
class PromptFilters:
    """The filters that are at work; `facts` says which, as run.json and records keep it."""

    name: str = ""  # of the list
    rules: tuple[Denied, ...] = ()
    plugged: Mapping[str, PromptFilter] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def why(self, prompt: str) -> str | None:
        """Say why a prompt is not made, None where nothing is against it.

        What a filter of another package cannot judge is denied: a guard that fails lets nothing pass.
        """
        text = folded(prompt) if self.rules else ""
        for rule in self.rules:
            try:
                met = rule.pattern.search(text, timeout=LONGEST_S)
            except TimeoutError:
                return f'line {rule.line} of the deny list "{self.name}" takes too long: simplify it'
            if met:
                return f'its prompt is denied by line {rule.line} of the deny list "{self.name}"'
        for name, judge in self.plugged.items():
            try:
                reason = judge(prompt)
            except Exception as problem:
                reason = f"it failed: {problem or type(problem).__name__}"
            if reason is not None:
                return f'its prompt is denied by the filter "{name}": {reason}'
        return None

    def check(self, prompt: str) -> None:
        """Raise DeniedPrompt where a prompt is not made."""
        why = self.why(prompt)
        if why:
            raise DeniedPrompt(f"{why}; write it otherwise")


def prompt_filters(deny: str | None = None) -> PromptFilters:
    """Read a deny list, a path or URL, and load the filters that are installed.

    Raises UserError where one cannot be had: nothing is made past a guard that is missing.
    """
    loaded = {name: FILTERS[name] for name in sorted(FILTERS)}
    facts: dict[str, Any] = {"plugged": {name: FILTERS.giver(name) for name in loaded}} if loaded else {}
    if deny is None:
        return PromptFilters(plugged=loaded, facts=facts)
    data = _read(deny)
    facts["deny"] = sha256(data).hexdigest()
    return PromptFilters(Place(deny).name, _rules(data, deny), loaded, facts)


@lru_cache(maxsize=4096)
def folded(text: str) -> str:
    """Return the text as rules see it: one case, no accents, no invisible characters, blanks as one space."""
    wide = unicodedata.normalize("NFKC", text).casefold()
    bare = UNSEEN.sub("", MARKS.sub("", unicodedata.normalize("NFD", wide)))
    seen = "".join(c for c in bare if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc"))
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _rules(data: bytes, place: str) -> tuple[Denied, ...]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as problem:
        raise UserError(f'deny list "{Place(place)}" is not UTF-8: {problem}') from problem
    rules = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith("#") or not folded(text):
            continue
        try:
            rules.append(Denied(number, _pattern(text)))
        except (re.error, regex.error) as problem:
            raise UserError(
                f'line {number} of deny list "{Place(place)}" is no regular expression: {text} ({problem})'
            ) from problem
    if not rules:
        raise UserError(f'deny list "{Place(place)}" names nothing: a word, phrase or /regex/ a line')
    return tuple(rules)


def _pattern(text: str) -> "regex.Pattern[str]":
    if text == "//":
        raise re.error("it is empty")
    if len(text) > 2 and text.startswith("/") and text.endswith("/"):
        return regex.compile(_folded_pattern(text[1:-1]), regex.IGNORECASE)
    words = folded(text)
    before, after = (f"(?<!{LETTER})", f"(?!{LETTER})")  # where the words begin or end with a letter
    before, after = (
        edge if re.match(LETTER, at) else "" for edge, at in ((before, words), (after, words[-1:]))
    )
    return regex.compile(f"{before}{re.escape(words)}{after}")


def _folded_pattern(pattern: str) -> str:
    """Fold the letters of a pattern as prompts are, and leave its grammar, which is ASCII, alone.

    Raises re.error where a set of characters would become another: prompts have no "ß", and "ss" is two.
    """
    tokens, parts, in_set = TOKEN.findall(unicodedata.normalize("NFC", pattern)), list[str](), False
    for at, token in enumerate(tokens):
        escape = token.startswith("\\")
        in_set = escape or not token.endswith("]") if in_set else token.startswith("[")
        letter = chr(int(token[2:], 16)) if escape and len(token) > 2 else token[-1]
        if letter.isascii():
            parts.append(token)
            continue
        wide, bare = unicodedata.normalize("NFKC", letter).casefold(), folded(letter)
        bare = " " if letter.isspace() else bare
        in_range = "-" in (*tokens[at - 1 : at], *tokens[at + 1 : at + 2])
        if in_set and (len(bare) != 1 or (in_range and bare != wide)):
            raise re.error(f'a prompt has "{bare}" for "{letter}", which no set has: write (?:a|b) for [ab]')
        parts.append(f"(?:{re.escape(bare)})" if len(bare) > 1 else re.escape(bare))
    return unicodedata.normalize("NFC", "".join(parts))


def _read(place: str) -> bytes:
    try:
        with fetch(place, HURRIED_S) as path, open(path, "rb") as stream:
            return stream.read()
    except (OSError, BadSample, Transient) as problem:
        raise UserError(f'cannot read deny list "{Place(place)}": {problem}') from problem


def _load(point: EntryPoint) -> PromptFilter:
    found: PromptFilter = point.load()
    if not callable(found):
        raise TypeError("it is no function of a prompt")
    return found


FILTERS: Registry[PromptFilter] = Registry("prompt filter", GROUP, {}, _load)
