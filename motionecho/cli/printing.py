"""The printing of commands: sentences to stderr, data to stdout, tables that survive a pipe.

Whatever is printed goes through here, and what a stranger wrote in it is shown as `visible` writes it.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any, TextIO

import typer
from rich.cells import cell_len
from rich.console import Console

from motionecho.report.visible import visible, visible_json

SCHEMA_VERSION = 1
ENDLESS = 1 << 20  # columns of a line that nobody looks at
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
    """Print lines of data to stdout, each on one line; the command ends where nobody reads them any more."""
    try:
        for line in lines:
            print(_line(line), flush=True)
    except BrokenPipeError:  # `| head` has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def put_json(**values: Any) -> None:
    """Print one JSON object on one line to stdout, with its schema_version first."""
    body = {"schema_version": SCHEMA_VERSION} | values
    ascii = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")
    put(visible_json(json.dumps(body, ensure_ascii=ascii, allow_nan=False, default=str)))


def table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, talk: bool = False
) -> Laid:
    """Lay rows out as aligned text; numbers are right-aligned and nothing is cut.

    A row is a line. On a terminal that is too narrow headings take several, and the last column, where it is
    text, goes beneath its row. `talk` is for stderr. `columns` defaults to the first row's keys; no rows give
    an empty string.
    """
    if not rows:
        return Laid()
    names = list(columns or rows[0])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    right = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    headings, below = [[name.replace("_", " ")] for name in names], list[str]()
    room = _room(sys.stderr if talk else sys.stdout)
    if sum(_widths(headings, cells)) + 2 * (len(names) - 1) > room:
        headings = [name.split("_") for name in names]
        if len(names) > 1 and not right[-1]:
            below = [line.pop() for line in cells]
            headings.pop()
    widths = _widths(headings, cells)
    tallest = max(map(len, headings))
    stacked = [[""] * (tallest - len(heading)) + heading for heading in headings]
    lines = []
    for number, line in enumerate([*map(list, zip(*stacked, strict=True)), *cells]):
        padded = (
            " " * (width - cell_len(cell)) + cell if aside else cell + " " * (width - cell_len(cell))
            for cell, width, aside in zip(line, widths, right, strict=False)
        )
        lines.append("  ".join(padded).rstrip())
        if below and number >= tallest:
            lines += [f"    {part}" for part in _wrapped(below[number - tallest], room - 5)]
    return Laid("\n".join(lines))


def fitted(before: str, text: str, talk: bool = False) -> list[str]:
    """Lay a text out behind what comes before it: on a terminal in lines that fit, elsewhere in one.

    `talk` is for stderr.
    """
    room = _room(sys.stderr if talk else sys.stdout)
    lines = _wrapped(text, max(20, room - len(before) - 1)) or [""]
    return [(before if number == 0 else " " * len(before)) + line for number, line in enumerate(lines)]


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _widths(headings: Sequence[Sequence[str]], cells: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(map(cell_len, [*heading, *(line[i] for line in cells)])) for i, heading in enumerate(headings)
    ]


def _room(stream: TextIO) -> int:
    """Return the columns of a terminal; where nobody looks a line has no end."""
    return Console(file=stream).width if stream.isatty() else ENDLESS


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


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return visible(str(value))


def _line(text: str) -> str:
    return text if isinstance(text, Laid) else visible(text)
