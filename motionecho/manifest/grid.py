"""A grid of rows out of a row with lists: every combination, each with a name of its own that stays.

`id=horse, seed=[1, 2], steps=[4, 8]` becomes horse_seed=1_steps=4, horse_seed=1_steps=8, and so on. Names
are fit for files. Growing a list later adds rows and leaves the names of the others alone.
"""

import itertools
import json
import re
from typing import Any

from motionecho.config import EchoConfig
from motionecho.errors import BadSample
from motionecho.manifest.columns import OPTIONAL, REQUIRED
from motionecho.runs.keys import digest

ID_LENGTH = 12
MOST = 10_000  # videos of one row: beyond it, a list was mixed up
TEXTS = ("reference", "prompt", "negative_prompt", "video")
LISTS = ("layers",)  # settings whose value is a list itself: several of them are a list of lists
SWEPT = frozenset([*REQUIRED, *OPTIONAL, *EchoConfig.names()]) - {"id"}
PLAIN = re.compile(r"[\w.-]{1,24}")


def expand(cells: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that a row stands for: itself, or one a combination of its lists' items.

    Rows of a sweep share the seed that a lone row of that id would have, unless the seed is what is swept.
    Raises BadSample where a row would become too many.
    """
    lists = {name: items for name, value in cells.items() if (items := _items(name, value)) is not None}
    if not lists:
        return [cells]
    total = 1
    for items in lists.values():
        total *= len(items)
    if total > MOST:
        raise BadSample(f"its lists ({', '.join(lists)}) ask for {total} videos, more than {MOST}")
    fixed = {name: value for name, value in cells.items() if name not in lists}
    base = str(fixed.get("id") or digest(json.loads(json.dumps(fixed, default=str)))[:ID_LENGTH])
    rows = []
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        name = "_".join([base, *(f"{column}={_slug(value)}" for column, value in chosen.items())])
        rows.append({"seed": seed_of(base)} | fixed | chosen | {"id": name})
    return rows


def seed_of(name: str) -> int:
    """Return the seed of a row that names none."""
    return int(digest(name)[:8], 16)


def _items(column: str, value: Any) -> list[Any] | None:
    """Return the values that a cell lists, None where it holds a single one. CSV has lists as JSON text."""
    if column not in SWEPT:
        return None
    if isinstance(value, str) and value.startswith("[") and column not in (*TEXTS, *LISTS):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if not isinstance(value, list) or (column in LISTS and not any(isinstance(v, list) for v in value)):
        return None
    return [item for item in value if item is not None and item != ""] or None


def _slug(value: Any) -> str:
    text = str(value)
    return text if PLAIN.fullmatch(text) else digest(value)[:8]
