"""What there is to score: the videos of a run, of a results table, or of any table with a `video` column."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from motionecho.dataset.names import told_apart
from motionecho.errors import UserError
from motionecho.manifest import BadRow, Sample, check_rows
from motionecho.manifest.lacking import completed
from motionecho.manifest.tables import TABLES, RawRow, read_table
from motionecho.metrics import METRICS
from motionecho.runs.files import absolute
from motionecho.runs.places import Place
from motionecho.runs.records import OUTCOME_PREFIX, Record
from motionecho.runs.results import Entry
from motionecho.runs.state import look
from motionecho.runs.store import RunStore

REQUIRED = ("video",)
Figures = dict[str, tuple[str, dict[str, Any]]]  # by metric, its version and its row


@dataclass(frozen=True)
class ScoredSource:
    """The rows to score. `without` counts rows that have no video because they failed when it was made."""

    rows: list[Sample | BadRow]
    name: str  # its path or URL
    without: int = 0
    place: str | None = None  # the run's own folder, where it is one
    metrics: tuple[str, ...] = ()  # those that the run was to take itself
    fit: str | None = None  # how the run brought its references to size
    background: str = "black"  # and what it laid under what is transparent in them
    known: tuple[Entry, ...] = ()  # references hashed before
    videos: dict[str, str] = dataclasses.field(default_factory=dict)  # sha256 by URI, where known
    figures: dict[str, Figures] = dataclasses.field(default_factory=dict)  # by video, those of the run itself
    counted: frozenset[str] = frozenset()  # keys of the run's samples that it counts

    def records(self) -> Iterator[Record]:
        """Return the run's own records, for what they say of cost and of scores taken when it was made."""
        store = RunStore(self.place) if self.place else None
        return (record for record in store.records() if record.key in self.counted) if store else iter(())

    @property
    def missing(self) -> list[str]:
        """The columns that metrics ask for and no row has."""
        samples = [row for row in self.rows if isinstance(row, Sample)]
        return [name for name in ("reference", "prompt") if not any(getattr(s, name) for s in samples)]


def read_source(place: str, manifest: str | None = None) -> ScoredSource:
    """Read a run, a results table or any table with a `video` column; UserError where it is none of these.

    `manifest` has what opens those files whose places are stored without it.
    """
    if Place(place).name.lower().endswith(TABLES):
        raw = read_table(place, outcomes=True)
        rows = completed([_as_video_row(row) for row in raw if not _failed(row)], manifest)
        checked = check_rows(rows, place, REQUIRED) if rows else []
        return ScoredSource(checked, absolute(place), len(raw) - len(rows))
    store = RunStore(place)
    about = store.run()
    if about is None:
        raise UserError(
            f'nothing to score at "{place}": it is neither a run nor a .parquet, .csv or .jsonl table'
        )
    settings = about.get("identity", {}).get("settings")
    if settings is None:
        raise UserError(f'"{place}" holds scores, not videos; name the run or the table they were made from')
    index = store.index()
    counted = frozenset(entry.key for entry in look(store, index)[1])  # what its manifests had before is not
    records = [record for record in store.records(index) if record.key in counted]
    made = [record for record in records if record.ok and record.video]
    videos = [(store.absolute(blob.uri), blob.sha256) for r in made if (blob := r.video)]
    names = told_apart([(r.id, r.key) for r in made])  # two manifests of one run may have an id in common
    rows = [
        record.inputs | {"id": name, "video": uri}
        for record, name, (uri, _) in zip(made, names, videos, strict=True)
    ]
    rows = completed(rows, manifest)
    return ScoredSource(
        rows=check_rows(rows, place, REQUIRED) if rows else [],
        name=store.url,
        without=len(records) - len(made),
        place=store.url,
        metrics=tuple(name for name in settings.get("metrics") or () if name in METRICS),
        fit=settings.get("fit"),
        background=settings.get("echo", {}).get("background", "black"),
        known=tuple(Entry.of(record) for record in made),
        videos={uri: sha256 for uri, sha256 in videos if sha256},
        figures={uri: _figures(record) for record, (uri, _) in zip(made, videos, strict=True)},
        counted=counted,
    )


def _figures(record: Record) -> Figures:
    known = record.metrics
    return {name: (known[name]["version"], row) for name, row in record.scores.items() if name in known}


def _failed(row: RawRow) -> bool:
    return isinstance(row, dict) and row.get(f"{OUTCOME_PREFIX}status") == "failed"


def _as_video_row(row: RawRow) -> RawRow:
    """Show a results row's video under the name that any table uses."""
    if isinstance(row, str):
        return row
    plain = {n: value for n, value in row.items() if value is not None and not n.startswith(OUTCOME_PREFIX)}
    video = row.get(f"{OUTCOME_PREFIX}video")
    return {"video": video} | plain if video is not None else plain
