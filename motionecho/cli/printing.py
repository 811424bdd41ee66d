"""The printing of commands: sentences to stderr, data to stdout, tables that survive a pipe.

Whatever is printed goes through here, and what a stranger wrote in it is shown as `visible` writes it.
"""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from motionecho.report.visible import visible, visible_json

SCHEMA_VERSION = 1
ENDLESS = 1 << 20  # columns of a line that nobody looks at


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


def table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, talk: bool = False
) -> Laid:
    """Lay rows out as aligned text; nothing is cut.

    On a terminal long cells go on in further lines, so that a row fits its width; elsewhere a row is a line.
    `talk` is for stderr. `columns` defaults to the first row's keys; no rows give an empty string.
    """
    if not rows:
        return Laid()
    names = list(columns or rows[0])
    laid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        widest = max(len(_cell(row.get(name))) for row in rows)
        laid.add_column(
            name.replace("_", " "),
            justify="right" if numeric else "left",
            min_width=widest if numeric else None,
            overflow="fold",
        )
    for row in rows:
        laid.add_row(*(Text(_cell(row.get(name))) for name in names))
    stream = sys.stderr if talk else sys.stdout
    width = Console(file=stream).width if stream.isatty() else ENDLESS
    drawn = Console(file=io.StringIO(), width=width, color_system=None)
    with drawn.capture() as text:
        drawn.print(laid)
    return Laid("\n".join(line.rstrip() for line in text.get().rstrip("\n").split("\n")))


def duration(seconds: float) -> str:
    """Write seconds as people say them: 4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


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
