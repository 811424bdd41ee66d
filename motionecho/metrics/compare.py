"""Scores that exist: read from a run, a place of `motionecho score` or a results table; sum and compare.

A run's own scores and those taken later beside it (`<run>/scores`) are one set: the later figure counts.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from motionecho.errors import UserError
from motionecho.manifest.tables import read_table
from motionecho.metrics import METRICS
from motionecho.metrics.cost import BOOKKEEPING, cost
from motionecho.metrics.stats import Estimate, estimate
from motionecho.runs.layout import video_of
from motionecho.runs.records import OUTCOME_PREFIX, Record
from motionecho.runs.store import RunStore


@dataclass
class Scored:
    """A sample's figures; `makers` names what made them (tracker, model, version), by metric."""

    id: str
    inputs: dict[str, Any]
    figures: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> tuple[str, str, str]:
        """The content that two samples of the same have in common, under whatever ids."""
        name = os.path.basename(str(self.inputs.get("reference", "")))
        return name, str(self.inputs.get("prompt", "")), str(self.inputs.get("seed", ""))

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Scored":
        """Merge the records of one sample; of several figures of one name, the one committed last counts."""
        scored = cls(records[0].id, records[0].inputs)
        for record in sorted(records, key=lambda record: record.committed_at):
            scored.take(record)
        return scored

    def take(self, record: Record) -> None:
        """Add a record's figures; where both have one, the record's counts."""
        for metric, row in record.scores.items():
            self.figures |= {name: float(value) for name, value in row.items() if _is_number(value)}
            self.statuses[metric] = str(row.get(f"{metric}_status", "ok"))
            self.makers[metric] = record.metrics.get(metric, {}).get("version", "")
        self.figures |= cost(record)


@dataclass(frozen=True)
class Difference:
    """A figure of two sets, over the pairs that have it in both: the mean of B - A with its interval."""

    mean_a: float
    mean_b: float
    difference: Estimate
    wins: float  # share of pairs in which B is higher; half of the ties


@dataclass(frozen=True)
class Comparison:
    """A comparison: `by` what samples were paired; `alone` counts those of A and of B without a partner."""

    by: str
    pairs: int
    alone: tuple[int, int]
    figures: dict[str, Difference]
    unlike: dict[str, tuple[str, str]]  # metrics whose figures were made by different means


def read_scores(place: str) -> list[Scored]:
    """Read all successful samples of a place and their figures; UserError where nothing of the kind is."""
    if os.path.splitext(place)[1].lower() in (".parquet", ".csv", ".jsonl", ".ndjson"):
        rows = read_table(place, outcomes=True)
        texts = [row.get(f"{OUTCOME_PREFIX}record") for row in rows if isinstance(row, dict)]
        if not any(texts):
            raise UserError(f'"{place}" is no results table: it has no column "{OUTCOME_PREFIX}record"')
        return gather(Record.from_json(text) for text in texts if text)
    store = RunStore(place)
    if store.run() is None:
        raise UserError(f'there is no run at "{place}": no run.json in it')
    beside = RunStore(store.scores_url)
    return gather([*store.records(), *(beside.records() if beside.run() else ())])


def gather(records: Iterable[Record]) -> list[Scored]:
    """Merge records of one sample; of several figures of one name, the one committed last counts.

    Scores taken later belong to the sample whose video they are of; beside a run's samples those of a video
    that none of them has count for nothing. Scores alone are told apart by id.
    """
    ok = sorted((record for record in records if record.ok), key=lambda record: record.committed_at)
    made = {record.video.uri for record in ok if record.video}
    found: dict[tuple[bool, str], list[Record]] = defaultdict(list)
    for record in ok:
        video = record.video.uri if record.video else scored_video(record)
        if video in made:
            found[True, video].append(record)
        elif not (made and video):
            found[False, record.id].append(record)
    return [Scored.of(sorted(of_one, key=lambda record: not record.video)) for of_one in found.values()]


def scored_video(record: Record) -> str:
    """Return the video that a record of scores is of: its path within the run that made it, or its place."""
    return video_of(str(record.inputs.get("video", "")))


def summarize(rows: Sequence[Scored]) -> dict[str, Estimate]:
    """Sum up every figure, in order of first appearance: mean, interval; the bootstrap draws references."""
    values: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for row in rows:
        group = str(row.inputs.get("reference") or row.id)
        for name, value in row.figures.items():
            values[name].append((value, group))
    return {name: estimate([v for v, _ in found], [g for _, g in found]) for name, found in values.items()}


def is_bookkeeping(figure: str) -> bool:
    """Tell whether tables for people leave a figure out."""
    return figure.startswith((*BOOKKEEPING, *(name for s in METRICS.values() for name in s.bookkeeping)))


def tally(rows: Sequence[Scored]) -> dict[str, dict[str, int]]:
    """Count how often each metric ended with which status."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for metric, status in row.statuses.items():
            counts[metric][status] += 1
    return {metric: dict(counter.most_common()) for metric, counter in counts.items()}


def compare(a: Sequence[Scored], b: Sequence[Scored]) -> Comparison:
    """Compare B with A over their pairs; raises UserError where nothing pairs."""
    by, couples = pairs(a, b)
    if not couples:
        raise UserError("no sample of one is in the other, neither by id nor by reference, prompt and seed")
    names = dict.fromkeys(name for one, two in couples for name in one.figures if name in two.figures)
    unlike = {
        metric: (maker, two.makers[metric])
        for one, two in couples
        for metric, maker in one.makers.items()
        if two.makers.get(metric, maker) != maker
    }
    figures = {name: _difference(name, couples) for name in names}
    return Comparison(by, len(couples), (len(a) - len(couples), len(b) - len(couples)), figures, unlike)


def pairs(a: Sequence[Scored], b: Sequence[Scored]) -> tuple[str, list[tuple[Scored, Scored]]]:
    """Pair two sets by id or, where fewer than half of the smaller share ids, by reference, prompt and seed.

    Returns by what they were paired, and the pairs.
    """
    by, couples = "id", _couples(a, b, "id")
    if 2 * len(couples) < min(len(a), len(b)):
        other = _couples(a, b, "content")
        if len(other) > len(couples):
            by, couples = "reference, prompt and seed", other
    return by, couples


def _difference(name: str, couples: Sequence[tuple[Scored, Scored]]) -> Difference:
    both = [(one, two) for one, two in couples if name in one.figures and name in two.figures]
    before, after = [one.figures[name] for one, _ in both], [two.figures[name] for _, two in both]
    gaps = [y - x for x, y in zip(before, after, strict=True)]
    groups = [str(one.inputs.get("reference") or one.id) for one, _ in both]
    wins = sum(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps) / len(gaps)
    mean_a, mean_b = sum(before) / len(both), sum(after) / len(both)
    return Difference(mean_a, mean_b, estimate(gaps, groups), wins)


def _couples(a: Sequence[Scored], b: Sequence[Scored], by: str) -> list[tuple[Scored, Scored]]:
    """Pair what agrees in `by`; what occurs twice on a side pairs with nothing, as no one could say which."""

    def unique(rows: Sequence[Scored]) -> dict[Any, Scored]:
        counts = Counter(getattr(row, by) for row in rows)
        return {getattr(row, by): row for row in rows if counts[getattr(row, by)] == 1}

    ours, theirs = unique(a), unique(b)
    return [(row, theirs[name]) for name, row in ours.items() if name in theirs]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
