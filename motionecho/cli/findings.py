"""What is found wrong with a manifest: counted by kind, the first of each kept to be shown."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from motionecho.errors import kind_of

FIRST = 10  # problems of a kind that are shown


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of the report; the sentence ends with the way out."""

    row: int
    id: str
    level: str  # "error" or "warning"
    column: str | None
    value: Any
    problem: str

    @property
    def kind(self) -> tuple[str, str | None, str]:
        return self.level, self.column, kind_of(self.problem)


@dataclass
class Findings:
    """Problems as they come; with `all` every one is kept, as a program wants them."""

    all: bool = False
    kept: list[Problem] = field(default_factory=list)
    counts: Counter[tuple[str, str | None, str]] = field(default_factory=Counter)
    rows: dict[str, set[int]] = field(default_factory=lambda: {"error": set(), "warning": set()})

    def add(self, problem: Problem) -> None:
        kind = problem.kind
        self.counts[kind] += 1
        self.rows[problem.level].add(hash((problem.row, problem.id)))  # a million of them are small
        if self.all or self.counts[kind] <= FIRST:
            self.kept.append(problem)

    def of(self, level: str) -> list[Problem]:
        """Return the kept problems of a level, by row."""
        return sorted((each for each in self.kept if each.level == level), key=lambda each: each.row)

    def shown(self) -> list[Problem]:
        """Return what is shown to a person: by row, the first few of each kind."""
        return sorted(self.kept, key=lambda each: each.row)

    def more(self) -> Iterator[str]:
        """Say, a line each, how many problems are of a kind of which only the first are shown."""
        for (level, column, sentence), count in self.counts.items():
            if count > FIRST and not self.all:
                where = f" in {column}" if column else ""
                yield f"{count - FIRST} more of this kind ({level}{where}): {sentence}"

    def verdict(self) -> str:
        """Say how many rows have problems or warnings."""
        named = (("error", "with problems"), ("warning", "with warnings"))
        parts = [f"{len(self.rows[level])} {words}" for level, words in named if self.rows[level]]
        return ", ".join(parts) or "all fine"
