"""Writes the lists of tables.md anew, out of motionecho/runs/schema.py: python docs/make_tables.py"""

from collections.abc import Iterable
from pathlib import Path

from motionecho.runs.schema import GROUPS, RECORD, STEPS, VERSION, Column

PAGE = Path(__file__).parent / "tables.md"
BEGIN = "## Samples\n"  # what is above it is written by hand


def listed(columns: Iterable[Column]) -> str:
    """Return columns as a table of the page."""
    rows = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    return "\n".join([*rows, *(f"| `{c.name}` | {c.kind} | {c.unit} | {c.meaning} |" for c in columns)])


def page(before: str) -> str:
    """Return the page as it is to be, by the page as it is."""
    groups = {**GROUPS, "The record": [RECORD]}
    return "\n\n".join(
        [
            before.split(BEGIN)[0] + BEGIN + f"\nVersion {VERSION}.",
            *(f"### {title}\n\n{listed(columns)}" for title, columns in groups.items()),
            f"## Steps\n\nVersion {VERSION}.",
            listed(STEPS) + "\n",
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
