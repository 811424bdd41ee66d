"""Writes the pages of reference anew, out of the code that they describe: python docs/make_reference.py

Of tables.md only what stands below its first list; settings.md, records.md and errors.md as a whole.
"""

import ast
import inspect
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any, cast

from annotated_types import Ge, Le

from motionecho import errors
from motionecho.cli import exits
from motionecho.config import EchoConfig, Placement, RunSettings
from motionecho.runs import layout
from motionecho.runs.notes import Blob, ErrorNote, Host
from motionecho.runs.records import Record
from motionecho.runs.schema import GROUPS, RECORD, STEPS, VERSION, Column

DOCS = Path(__file__).parent
BEGIN = "## Samples\n"  # of tables.md, what is above it is written by hand
WIDE = 128  # characters of a line of prose
MADE = "This page is made of `{0}` by `python docs/make_reference.py`."


def columns(of: Iterable[Column]) -> str:
    """Return columns as a table of the page."""
    return table("column | type | unit | meaning", ([f"`{c.name}`", c.kind, c.unit, c.meaning] for c in of))


def tables(before: str) -> str:
    """Return tables.md as it is to be, by the page as it is."""
    groups = {**GROUPS, "The record": [RECORD]}
    return "\n\n".join(
        [
            before.split(BEGIN)[0] + BEGIN + f"\nVersion {VERSION}.",
            *(f"### {title}\n\n{columns(group)}" for title, group in groups.items()),
            f"## Steps\n\nVersion {VERSION}.",
            columns(STEPS) + "\n",
        ]
    )


def settings(before: str) -> str:
    """Return settings.md: every setting with its symbol, default, range and meaning, in groups."""
    parts = [
        "# Settings",
        "What `--set NAME=VALUE`, a manifest's column of that name or `echo:` in a config file may change;\n"
        "the paper's symbol is taken for the name, too. Defaults are those of the settings alone: a\n"
        "pair brings its own, and `motionecho config show --explain --pair PAIR` says which are in force.\n\n"
        + MADE.format("motionecho/config/groups.py"),
    ]
    words = {line["name"]: line["words"] for line in EchoConfig.describe()}
    for group in fields(EchoConfig):
        known = cast(Any, group.type).__pydantic_fields__
        rows = (
            [f"`{name}`", symbol(its), f"`{plain(its.default)}`", wanted(words[name], its), its.description]
            for name, its in known.items()
        )
        parts.append(f"## {title(group.type)}")
        parts.append(table("setting | symbol | default | values | meaning", rows))
    parts += ["## Of a run", told(RunSettings), table("setting | type | meaning", commented(RunSettings))]
    parts.append(told(Placement, whole=True))
    return "\n\n".join(parts) + "\n"


def records(before: str) -> str:
    """Return records.md: the files of a run, and the fields of a record."""
    parts = ["# Records", told(Record, whole=True), MADE.format("motionecho/runs/")]
    parts.append(table("field | type | meaning", commented(Record)))
    for part in (Blob, Host, ErrorNote):
        parts += [f"## {part.__name__}", told(part, whole=True)]
        parts.append(table("field | type | meaning", commented(part)))
    parts += [
        "## The place of a run",
        "```text\n" + str(layout.__doc__).split("\n\n", 1)[1].strip() + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def failures(before: str) -> str:
    """Return errors.md: the kinds of failure, and the codes that commands end with."""
    kinds = [
        each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__
    ]
    kinds.sort(key=lambda kind: inspect.getsourcelines(kind)[1])
    rows = (
        [f"`{kind.__name__}`", f"`{kind.__bases__[0].__name__}`", " ".join((kind.__doc__ or "").split())]
        for kind in kinds
    )
    codes = ([f"`{code.value}`", f"`{code.name}`", said] for code, (_, _, said) in zip(
        exits.Exit, commented(exits.Exit), strict=True))  # fmt: skip
    return (
        "\n\n".join(
            [
                "# Errors",
                "What fails is told apart by what should happen next. A sample's record has the class under\n"
                "`error`, and `motionecho batch failures RUN` names it.",
                MADE.format("motionecho/errors.py"),
                table("error | a kind of | what it is", rows),
                "## Exit codes",
                table("code | name | meaning", codes),
            ]
        )
        + "\n"
    )


PAGES: dict[str, Callable[[str], str]] = {
    "tables.md": tables,
    "settings.md": settings,
    "records.md": records,
    "errors.md": failures,
}


def table(head: str, rows: Iterable[list[str]]) -> str:
    """Return rows as a table under a head of names; bars within cells are written as such."""
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    return "\n".join(
        [*lines, *("| " + " | ".join(each.replace("|", "\\|") for each in row) + " |" for row in rows)]
    )


def told(kind: Any, whole: bool = False) -> str:
    """Return what a class says of itself, the first sentence or all of it."""
    said = inspect.getdoc(kind) or ""
    paragraphs = [" ".join(each.split()) for each in said.split("\n\n")]
    return "\n\n".join(textwrap.fill(each, WIDE) for each in paragraphs[: None if whole else 1])


def title(kind: Any) -> str:
    return re.sub(r"Settings$", "", kind.__name__) + f": {told(kind)[0].lower()}{told(kind)[1:].rstrip('.')}"


def plain(value: Any) -> str:
    return (" ".join(map(str, value)) if isinstance(value, tuple) else str(value)) or '""'


def symbol(info: Any) -> str:
    return str(info.json_schema_extra["symbol"])


def wanted(words: tuple[str, ...], info: Any) -> str:
    """Return the words that a setting takes, or its bounds."""
    if words:
        return ", ".join(f"`{word}`" for word in words)
    low = next((f"from {each.ge:g}" for each in info.metadata if isinstance(each, Ge)), "")
    high = next((f"to {each.le:g}" for each in info.metadata if isinstance(each, Le)), "")
    return f"{low} {high}".strip()


def commented(kind: type) -> Iterator[list[str]]:
    """Yield name, type and comment of each field of a class, as its source has them."""
    source = inspect.getsource(kind)
    said = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    body = ast.parse(source).body[0]
    for node in cast(ast.ClassDef, body).body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            name = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
            kind_of = (
                f"`{ast.unparse(node.annotation)}`".replace(" | ", " or ")
                if isinstance(node, ast.AnnAssign)
                else ""
            )
            yield [f"`{name}`", kind_of, said.get(cast(int, node.end_lineno), "")]


def main() -> None:
    for name, made in PAGES.items():
        path = DOCS / name
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(made(before), encoding="utf-8")


if __name__ == "__main__":
    main()
