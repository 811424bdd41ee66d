"""JSON as a run's files hold it: one object of plain values, and where it counts a digest of itself."""

import json
import math
from collections.abc import Mapping
from typing import Any

from motionecho.errors import Damaged
from motionecho.runs.keys import digest

SEAL = "sha256"


def read_object(data: bytes | str) -> dict[str, Any]:
    """Read a JSON object; Damaged where it is none, holds what is no number, or is nested without end."""
    try:
        found = json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as problem:
        raise Damaged(f"it is no JSON: {problem}") from problem
    if not isinstance(found, dict):
        raise Damaged("it is no JSON object")
    return found


def sealed(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with a digest of itself, as `sha256`."""
    return {**words, SEAL: digest(words)}


def unsealed(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object without its digest; Damaged where that is not of what the object says."""
    rest = {name: value for name, value in words.items() if name != SEAL}
    try:
        whole = words.get(SEAL) == digest(rest)
    except (ValueError, RecursionError):  # a lone surrogate, or as deep as can just be read
        whole = False
    if not whole:
        raise Damaged("it says other things than were written")
    return rest


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)
