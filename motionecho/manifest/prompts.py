"""Prompts that are not made: a deny list in a file, and filters that other packages bring.

A line of the list is a word or a phrase, met as whole words, or a /regular expression/. Neither case,
accents, kinds of blanks nor invisible characters tell texts apart. A filter of another package is an entry
point of the group `motionecho.prompt_filters`: a callable that takes a prompt and returns why not, or None.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import entry_points
from typing import Any

from motionecho.errors import BadSample, DeniedPrompt, Transient, UserError
from motionecho.runs.files import HURRIED_S, fetch
from motionecho.runs.places import Place

GROUP = "motionecho.prompt_filters"
PromptFilter = Callable[[str], "str | None"]
MARKS = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"
)  # accents; not vowels of other scripts
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
)
LETTER = rf"[^\W_{SPACELESS}]"  # of scripts that put blanks between words: Thai, Chinese and others do not


@dataclass(frozen=True)
class Denied:
    """A line of a deny list: what it matches in a folded text."""

    line: int
    pattern: re.Pattern[str]


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
            if rule.pattern.search(text):
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
    plugged = {point.name: point for point in entry_points(group=GROUP)}
    facts: dict[str, Any] = {}
    if plugged:
        facts["plugged"] = {name: _version(point) for name, point in sorted(plugged.items())}
    loaded = {name: _load(point) for name, point in sorted(plugged.items())}
    if deny is None:
        return PromptFilters(plugged=loaded, facts=facts)
    data = _read(deny)
    facts["deny"] = sha256(data).hexdigest()
    return PromptFilters(Place(deny).name, _rules(data, deny), loaded, facts)


@lru_cache(maxsize=4096)
def folded(text: str) -> str:
    """Return the text as rules see it: one case, no accents, no invisible characters, blanks as one space."""
    wide = unicodedata.normalize("NFKC", text).casefold()
    bare = MARKS.sub("", unicodedata.normalize("NFD", wide))
    seen = "".join(c for c in bare if unicodedata.category(c) != "Cf")
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
        except re.error as problem:
            raise UserError(
                f'line {number} of deny list "{Place(place)}" is no regular expression: {text} ({problem})'
            ) from problem
    if not rules:
        raise UserError(f'deny list "{Place(place)}" names nothing: a word, phrase or /regex/ a line')
    return tuple(rules)


def _pattern(text: str) -> re.Pattern[str]:
    if len(text) > 2 and text.startswith("/") and text.endswith("/"):
        return re.compile(MARKS.sub("", unicodedata.normalize("NFD", text[1:-1])), re.IGNORECASE)
    words = folded(text)
    before, after = (f"(?<!{LETTER})", f"(?!{LETTER})")  # where the words begin or end with a letter
    before, after = (
        edge if re.match(LETTER, at) else "" for edge, at in ((before, words), (after, words[-1:]))
    )
    return re.compile(f"{before}{re.escape(words)}{after}")


def _read(place: str) -> bytes:
    try:
        with fetch(place, HURRIED_S) as path, open(path, "rb") as stream:
            return stream.read()
    except (OSError, BadSample, Transient) as problem:
        raise UserError(f'cannot read deny list "{Place(place)}": {problem}') from problem


def _load(point: Any) -> PromptFilter:
    try:
        found: PromptFilter = point.load()
    except Exception as problem:
        raise UserError(
            f'prompt filter "{point.name}" ({point.value}) cannot be loaded: {problem}; mend or uninstall it'
        ) from problem
    if not callable(found):
        raise UserError(f'prompt filter "{point.name}" ({point.value}) is no function of a prompt')
    return found


def _version(point: Any) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
