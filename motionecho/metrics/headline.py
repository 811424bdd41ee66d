"""What a run has come to, in a few facts: summed up from the columns of its results, nothing measured again.

    results parts and loose records -> rows -> counts, failures by cause, figures, gate, cost

Figures taken later by `motionecho score RUN` count as the run's own.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motionecho.errors import kind_of
from motionecho.metrics.registry import METRICS, headlines
from motionecho.metrics.stats import Estimate, estimate
from motionecho.runs.layout import video_of
from motionecho.runs.records import OUTCOME_PREFIX, Record
from motionecho.runs.results import Entry, Index
from motionecho.runs.state import State, look
from motionecho.runs.store import RunStore
from motionecho.runs.tables import as_row

Row = Mapping[str, Any]  # of the results table, its outcomes without their prefix
PASSES, TRIED = "trace_forward_equivalents", "tries_forward_equivalents"
GATED = "gate_reached"
LAPS = ("seconds_generate_sample", "seconds_generate_decode")  # what one more prompt costs
ABOUT = (
    *("status", "committed_at", "video", "error_class", "error_stage", "error_message"),
    *("device", "gpus", "worker_seconds", *LAPS),
    *(PASSES, TRIED, "tries", GATED),
)
SAMPLE = ("id", "key", "generation", "reference")
STATUS, WHEN = (OUTCOME_PREFIX + name for name in ("status", "committed_at"))
VIDEO = "video"  # the column of a place of scores that names what they are of
LATEST = 3  # videos that are named


@dataclass(frozen=True)
class Cause:
    """The samples that failed alike: how many, and the first one's id and message."""

    count: int
    error: str
    stage: str
    id: str
    message: str


@dataclass(frozen=True)
class GateResult:
    """The outcome of a quality gate: of so many videos, those below the bar after their last try."""

    gate: str
    videos: int
    missed: int
    tries: int  # of all of them


@dataclass(frozen=True)
class Spending:
    """The cost of the videos that are there, failed attempts left out.

    hours: of a GPU, or of workers where none computed on one; None where a record does not tell. seconds: of
    sampling and decoding a video. forward_equivalents: of a video, all its tries at a gate included.
    """

    hours: float | None
    unit: str  # "GPU" or "worker"
    seconds: Estimate | None
    forward_equivalents: Estimate | None


@dataclass(frozen=True)
class Latest:
    """A video that was finished lately, with the figures that speak for it."""

    id: str
    video: str
    at: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Headline:
    """A run's outcome; `total` and `left` are None where nobody said how many samples there are to be.

    put_off: of those left, samples that their surroundings failed, by class, as drivers said. causes: of the
    failures, the most frequent first. figures: those that speak for the metrics, with intervals for which
    references are drawn; floors: the means of the figures of still videos. unmeasured: metrics that could not
    run, with the reason. statuses: what metrics said in place of "ok", counted. latest: the newest first.
    """

    total: int | None
    done: int
    failed: int
    left: int | None
    put_off: Mapping[str, int]
    causes: tuple[Cause, ...]
    figures: Mapping[str, Estimate]
    floors: Mapping[str, float]
    references: int
    unmeasured: Mapping[str, str]
    statuses: Mapping[str, Mapping[str, int]]
    gate: GateResult | None
    cost: Spending | None
    latest: tuple[Latest, ...]


def headline_of(store: RunStore, later: RunStore | None = None) -> tuple[State, Headline]:
    """Look at a run and sum it up; `later` is the place of its later scores, if it is not beside the run."""
    index = store.index()
    state, counted = look(store, index)
    return state, sum_up(store, index, state, counted, later or RunStore(store.scores_url))


def sum_up(
    store: RunStore, index: Index, state: State, counted: Iterable[Entry], later: RunStore
) -> Headline:
    """Sum up those entries of the run's `index` that its `state` counts; `later` are its later scores."""
    keys = {entry.key for entry in counted}
    rows = [row for row in _rows(store, index) if row["key"] in keys]
    rows.sort(key=lambda row: str(row["key"]))  # intervals are the same wherever rows are read from
    made = [row for row in rows if row.get("status") == "ok"]
    figures = later_figures(later, _is_figure)
    made = [{**row, **_plain(figures.get(video_of(str(row.get("video"))), {}))} for row in made]
    groups = [str(row.get("reference") or row.get("id")) for row in made]
    left = None if state.total is None else max(0, state.total - state.done - state.failed)
    return Headline(
        total=state.total,
        done=state.done,
        failed=state.failed,
        left=left,
        put_off=_put_off(state) if left else {},
        causes=_causes(row for row in rows if row.get("status") == "failed"),
        figures={name: found for name in headlines() if (found := mean_over(made, groups, name))},
        floors={
            name: found.mean for name in headlines() if (found := mean_over(made, groups, f"{name}_floor"))
        },
        references=len({*groups}),
        unmeasured=_unmeasured(made),
        statuses=_statuses(made),
        gate=_gate(store, made),
        cost=_cost(made, groups),
        latest=_latest(made),
    )


def later_figures(scores: RunStore, is_figure: Callable[[str], bool]) -> dict[str, dict[str, Any]]:
    """Return what was taken later at a place of scores, by the video that it is of; the latest counts.

    Videos are named as `video_of` does: two samples may have an id in common, and one that is made again has
    another video. `is_figure` tells which columns, by their names in the results table, are handed on. Empty
    where nothing was scored.
    """
    if scores.run() is None:
        return {}
    about = (STATUS, WHEN, VIDEO)
    rows = scores.outcomes(scores.index(), lambda name: name in about or is_figure(name))
    found: dict[str, dict[str, Any]] = {}
    for row in sorted((row for row in rows if row.get(STATUS) == "ok"), key=lambda row: str(row.get(WHEN))):
        told = {name: value for name, value in row.items() if is_figure(name) and value is not None}
        found.setdefault(video_of(str(row.get(VIDEO))), {}).update(told)
    return found


def _is_figure(column: str) -> bool:
    name = column.removeprefix(OUTCOME_PREFIX)
    return name != column and _wanted(column) and name not in (*ABOUT, *SAMPLE)


def _wanted(column: str) -> bool:
    name = column.removeprefix(OUTCOME_PREFIX)
    if name == column:
        return column in ("id", "reference", "video")
    metric = name.removesuffix("_skipped").removesuffix("_status")
    return name in ABOUT or name.removesuffix("_floor") in headlines() or metric in METRICS


def _rows(store: RunStore, index: Index) -> list[Row]:
    """Return a run's rows; where an older part does not tell how a gate went, of their records."""
    rows = [_plain(row) for row in store.outcomes(index, _wanted)]
    untold = {row["key"]: row["generation"] for row in rows if row.get("tries") and row.get(GATED) is None}
    known = {key: _plain(as_row(r, store.url)) for key, r in store.read(untold) if isinstance(r, Record)}
    return [known.get(row["key"], row) for row in rows]


def _plain(row: Row) -> Row:
    """Take the prefix off; a run's own video goes before a column of that name, which names one scored."""
    told = sorted((name.startswith(OUTCOME_PREFIX), name) for name, value in row.items() if value is not None)
    return {name.removeprefix(OUTCOME_PREFIX): row[name] for _, name in told}


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain and value is not None else None


def _sum(row: Row, names: Iterable[str]) -> float | None:
    told = [value for name in names if (value := _number(row, name)) is not None]
    return sum(told) if told else None


def mean_over(rows: Sequence[Row], groups: Sequence[str], name: str) -> Estimate | None:
    """Average a figure over the rows that have it, with its interval for groups; None where none does."""
    told = [(value, g) for r, g in zip(rows, groups, strict=True) if (value := _number(r, name)) is not None]
    return estimate([value for value, _ in told], [group for _, group in told]) if told else None


def _put_off(state: State) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for word in state.drivers:
        said = word.get("put_off")
        counts.update({k: n for k, n in said.items() if isinstance(n, int)} if isinstance(said, dict) else {})
    return dict(counts.most_common())


def _causes(failed: Iterable[Row]) -> tuple[Cause, ...]:
    kinds: dict[tuple[str, ...], list[Row]] = {}
    for row in failed:
        said = [str(row.get(f"error_{name}") or "") for name in ("class", "stage", "message")]
        kinds.setdefault((*said[:2], kind_of(said[2])), []).append(row)
    return tuple(
        Cause(len(alike), error, stage, str(alike[0].get("id")), str(alike[0].get("error_message") or ""))
        for (error, stage, _), alike in sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    )


def _unmeasured(made: Sequence[Row]) -> dict[str, str]:
    reasons = {
        name: next((str(row[f"{name}_skipped"]) for row in made if row.get(f"{name}_skipped")), None)
        for name in METRICS
    }
    taken = {
        name
        for name, spec in METRICS.items()
        for f in spec.headlines
        if any(row.get(f) is not None for row in made)
    }
    return {name: reason for name, reason in reasons.items() if reason and name not in taken}


def _statuses(made: Sequence[Row]) -> dict[str, dict[str, int]]:
    said = {name: Counter(str(s) for row in made if (s := row.get(f"{name}_status"))) for name in METRICS}
    other = {name: {s: n for s, n in counts.most_common() if s != "ok"} for name, counts in said.items()}
    return {name: counts for name, counts in other.items() if counts}


def _gate(store: RunStore, made: Sequence[Row]) -> GateResult | None:
    settings = (store.run() or {}).get("identity", {}).get("settings")
    gate = settings.get("gate") if isinstance(settings, dict) else None
    judged = [row for row in made if row.get("tries")]
    if not gate or not judged:
        return None
    tries = sum(int(_number(row, "tries") or 0) for row in judged)
    return GateResult(str(gate), len(judged), sum(not row.get(GATED) for row in judged), tries)


def _cost(made: Sequence[Row], groups: Sequence[str]) -> Spending | None:
    if not made:
        return None
    spent = [_number(row, "worker_seconds") for row in made]
    shares = [_number(row, "gpus") or 1.0 for row in made]
    told = [seconds * share for seconds, share in zip(spent, shares, strict=True) if seconds is not None]
    on_gpu = any(row.get("device") not in (None, "cpu") for row in made)
    rows: list[Row] = [
        {"seconds": _sum(row, LAPS), "passes": _number(row, TRIED) or _number(row, PASSES)} for row in made
    ]
    return Spending(
        hours=round(sum(told) / 3600, 4) if len(told) == len(made) else None,
        unit="GPU" if on_gpu else "worker",
        seconds=mean_over(rows, groups, "seconds"),
        forward_equivalents=mean_over(rows, groups, "passes"),
    )


def _latest(made: Sequence[Row]) -> tuple[Latest, ...]:
    newest = heapq.nlargest(LATEST, made, key=lambda row: str(row.get("committed_at")))
    return tuple(
        Latest(
            id=str(row.get("id")),
            video=str(row.get("video")),
            at=str(row.get("committed_at")),
            figures={name: value for name in headlines() if (value := _number(row, name)) is not None},
        )
        for row in newest
    )
