"""Cells of a table, made plain: what they mean, and what of them a record, a key or a column can hold."""

import math
import re
from decimal import Decimal
from typing import Any

from motionecho.config import EchoConfig
from motionecho.errors import BadSample, UserError

DEEPEST = 32  # lists and mappings within each other that are carried along
MEANING = {
    "reference": "name the clip whose motion is followed",
    "prompt": "say what the video shows",
    "video": "name the video to score",
    "negative_prompt": "say what the video does not show, or leave it empty",
}
LONGEST = 4000  # characters of an id or a text: beyond it, a column was mixed up
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
HALF = re.compile("[\ud800-\udfff]")
UNSAID = ("nan", "null", "na", "n/a", "<na>")  # what other programs write into an empty cell
EXACT = 2**53  # above it, not every whole number is a float
LARGEST_SEED = 2**63 - 1


class BadCell(BadSample):
    """A row whose mistake is in one column."""

    def __init__(self, column: str, sentence: str) -> None:
        super().__init__(sentence)
        self.column = column


def plain(value: Any) -> Any:
    """Return a cell as its column takes it: NaN is empty, bytes are UTF-8 text, a Decimal is a number.

    What is none of these stays as it is, for its column to refuse.
    """
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == int(value) else float(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


def number(value: Any) -> int | float | None:
    """Return the number that a cell says, by one rule in every format; None where it says none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        return int(value) if value.strip().lstrip("+-").isdigit() else float(value)
    return None


def whole(value: Any) -> int | None:
    """Return the whole number that a cell says, a float only where it is exact; else None."""
    found = number(value)
    if isinstance(found, float):
        return int(found) if abs(found) < EXACT and found.is_integer() else None
    return found


def halved(text: str) -> bool:
    """Tell whether a text has half a character, a surrogate, which UTF-8 cannot say."""
    return HALF.search(text) is not None


def mended(text: str) -> str:
    """Return the text with pairs of surrogates joined, and a replacement mark for each lone one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if halved(text) else text


def unsaid(text: str, none_is_said: bool = False) -> bool:
    """Tell what other programs write into an empty cell; `none` is a value of some settings."""
    return text.strip().lower() in (UNSAID if none_is_said else (*UNSAID, "none"))


def text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadCell(name, f"{name}={value!r} is not a text")
    if halved(value):
        raise BadCell(name, f"{name}={value!r} {_broken(value)}")
    if name != "id" and unsaid(value):
        raise BadCell(name, f'{name}="{value}" is how other programs write an empty cell: {MEANING[name]}')
    if len(value) > LONGEST:
        raise BadCell(name, f"{name} has {len(value)} characters, more than {LONGEST}")
    return value.strip()


def _broken(text: str) -> str:
    escaped = any("\udc80" <= char <= "\udcff" for char in text)
    cut = "holds half a character, as cutting a text leaves it: write it whole"
    return "has bytes that are not UTF-8: save the table as UTF-8" if escaped else cut


def identity(value: Any) -> str:
    return text("id", str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value)


def seconds(name: str, value: Any) -> float:
    found = number(value)
    if found is None:
        raise BadCell(name, f"{name}={value!r} is not a number")
    if not 0 <= found < math.inf or (name != "start" and found == 0):
        least = "0 or more" if name == "start" else "above 0"
        raise BadCell(name, f"{name}={value} is out of range: it has to be {least}")
    return float(found)


def seed(value: Any) -> int:
    found, said = whole(value), number(value)
    if isinstance(said, float) and said.is_integer() and abs(said) >= EXACT:
        raise BadCell(
            "seed", f"seed={value!r} is a float, which is not exact above 2^53: write a whole number"
        )
    if found is None or not 0 <= found <= LARGEST_SEED:
        raise BadCell("seed", f"seed={value!r} is not a whole number from 0 to 2^63-1")
    return found


def setting(name: str, value: Any) -> Any:
    try:
        return EchoConfig.read(name, value)
    except UserError as problem:
        raise BadCell(name, str(problem)) from problem


class Kept:
    """A keeper of values that are carried along; `lost` counts what of them could not be kept.

    Kept is what JSON, UTF-8 and a parquet column hold: a number that is not finite, bytes that are no text
    and what is nested deeper than DEEPEST become None, empty mappings the text {}, half a character a mark,
    and every other kind its text.
    """

    def __init__(self) -> None:
        self.lost = 0

    def __call__(self, value: Any, depth: int = 0) -> Any:
        value = plain(value) if not isinstance(value, list | tuple) else value
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else self._none()
        if isinstance(value, bytes) or depth > DEEPEST:
            return self._none()
        if isinstance(value, dict):
            return {self._text(str(k)): self(item, depth + 1) for k, item in value.items()} or "{}"
        if isinstance(value, list | tuple):
            return [self(item, depth + 1) for item in value]
        return value if isinstance(value, str) and not halved(value) else self._text(str(value))

    def _text(self, text: str) -> str:
        self.lost += halved(text)
        return mended(text)

    def _none(self) -> None:
        self.lost += 1
