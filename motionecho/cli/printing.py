"""The printing of commands: sentences to stderr, data to stdout, tables that survive a pipe.

Whatever is printed goes through here, and what a stranger wrote in it is shown as `visible` writes it.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from motionecho.report.visible import visible, visible_json

SCHEMA_VERSION = 1
WIDEST = 120  # columns beyond which lines are hard to read


class Laid(str):
    """A text that is laid out in lines already, with what is not ours made visible: printed as it is."""

    __slots__ = ()


def stderr() -> Console:
    """Make a console for talk; rich itself honours NO_COLOR and leaves out colours where no terminal is."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(*lines: str) -> None:
    """Print lines of talk, each on one line."""
    for line in lines:
        print(_line(line), file=sys.stderr, flush=True)


def put(*lines: str) -> None:
    """Print lines of data to stdout, each on one line."""
    for line in lines:
        print(_line(line), flush=True)


def put_json(**values: Any) -> None:
    """Print one JSON object on one line to stdout, with its schema_version first."""
    body = {"schema_version": SCHEMA_VERSION} | values
    ascii = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")
    put(visible_json(json.dumps(body, ensure_ascii=ascii, allow_nan=False, default=str)))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, limit: int = 72) -> Laid:
    """Lay rows out as aligned text, whatever the terminal's width; cells over `limit` characters are cut.

    Numbers are right-aligned. `columns` defaults to the first row's keys; no rows give an empty string.
    """
    if not rows:
        return Laid()
    names = list(columns or rows[0])
    cells = [[_cell(row.get(name), limit) for name in names] for row in rows]
    numeric = [all(isinstance(row.get(n), int | float | None) for row in rows) for n in names]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    lines = [[name.replace("_", " ") for name in names], *cells]
    return Laid(
        "\n".join(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
            for line in lines
        )
    )


def duration(seconds: float) -> str:
    """Write seconds as people say them: 4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def width() -> int:
    """Return the columns that text for people may take: those of the terminal, within reason."""
    return max(40, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def size(number: float) -> str:
    """Write bytes as people say them: 812 B, 3.4 MB, 1.2 TB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def count(number: int, noun: str) -> str:
    """Write a number with its noun: `1 video`, `2 videos`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _cell(value: Any, limit: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = visible(str(value))
    return text if len(text) <= limit else visible(text[: limit - 3] + "...")  # a joiner may end there


def _line(text: str) -> str:
    return text if isinstance(text, Laid) else visible(text)
