"""A manifest: one row per video to make, or per sweep, read from parquet, CSV or JSON lines.

Required columns: reference, prompt (to score what exists: video). Optional: id, seed, negative_prompt, start,
duration, fps, and any field of EchoConfig as an override for that row. Every other column is carried through
to the results. A list in one of these columns is a sweep (`grid.py`). A mistake in the table's shape is a
UserError; a mistake in one row is a BadRow, and the other rows go on.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import motionecho.manifest.cells as of
from motionecho.config import EchoConfig
from motionecho.errors import BadSample, UserError
from motionecho.manifest.cells import BadCell, Kept, mended, plain
from motionecho.manifest.columns import OPTIONAL, REQUIRED, column_names
from motionecho.manifest.grid import ID_LENGTH, expand, seed_of
from motionecho.manifest.tables import RawRow, read_table
from motionecho.runs.keys import digest
from motionecho.runs.places import Place, check, opened
from motionecho.runs.urls import carried, is_url, protocol_of, told
from motionecho.video import Window

KNOWN = frozenset([*REQUIRED, *OPTIONAL, *EchoConfig.names()])
UNSAYABLE = {*OPTIONAL, *EchoConfig.names()} - {"id", "video"}  # an empty cell of these means something
SETTINGS = frozenset(EchoConfig.names())
PLACES, WORDS = ("reference", "video"), ("prompt", "negative_prompt")
MOST_PLACES = 10_000  # that are remembered
WHOLE = Window()
NOTHING: Mapping[str, Any] = {}  # of every row that carries or overrides nothing


@dataclass(frozen=True, slots=True)
class Sample:
    """A row, checked: all that the user decides about it. `row`, from 1, is for messages only.

    `video` is one that exists, to be scored; there `reference` and `prompt` may be empty. Clip and
    video are Places, and what is carried along in `extra` has no login or signature in its URLs.
    """

    id: str
    reference: str
    prompt: str
    seed: int
    row: int = 0
    negative_prompt: str | None = None
    window: Window = WHOLE
    overrides: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    video: str | None = None
    lost: int = field(default=0, compare=False)  # values that are carried along as null: none can hold them

    def inputs(self) -> dict[str, Any]:
        """Return the row as manifest columns; a table of these is the same manifest, wherever it is put."""
        named = {"id": self.id, "reference": str(self.reference), "prompt": self.prompt, "seed": self.seed}
        video = self.video and str(self.video)
        optional = {"negative_prompt": self.negative_prompt, **asdict(self.window), "video": video}
        defaults = {"negative_prompt": None, **asdict(WHOLE), "video": None}
        given = {name: value for name, value in optional.items() if value != defaults[name]}
        return {**named, **given, **self.overrides, **self.extra}


@dataclass(frozen=True)
class BadRow:
    """A row that cannot run, and the reason in one sentence."""

    row: int
    id: str
    reason: str
    inputs: dict[str, Any] = field(default_factory=dict)
    column: str | None = None  # where the mistake is, if it is in one cell
    kind: str = "BadRow"  # the class of error that its record names


@dataclass(frozen=True)
class TakenId(BadRow):
    """A row whose id another sample has: which is meant, only who wrote the manifest can say."""


def read_manifest(path: str) -> list[Sample | BadRow]:
    """Read and check every row of `path` (a local path or any fsspec URL), in order.

    Raises UserError where the file cannot be read, has no rows, lacks a column, or has one that is misspelt.
    """
    rows = check_rows(read_table(path), path, drained=True)
    if not rows:
        raise UserError(f'manifest "{Place(path)}" has no rows')
    return rows


def check_rows(
    raw: Sequence[RawRow], path: str, required: tuple[str, ...] = REQUIRED, drained: bool = False
) -> list[Sample | BadRow]:
    """Check rows as `read_manifest` does; `path` names the table, and relative references lie beside it.

    With `drained` rows are taken out of `raw`, a list, as they are checked: a million of them are held once.
    """
    path = Place(path)
    if all(isinstance(row, str) for row in raw):
        raise UserError(f'no row of manifest "{path}" can be read; row 1: {raw[0]}')
    columns = dict.fromkeys(name for row in raw if isinstance(row, dict) for name in row)
    names = column_names(path, list(columns), required)
    parse = partial(_parse, table=path, required=required, known_settings={}, known_places={})
    numbered = enumerate(_drained(raw) if drained and isinstance(raw, list) else raw, start=1)
    return list(_unique(each for number, row in numbered for each in _rows(number, row, names, parse)))


def notes(rows: Iterable[Sample | BadRow]) -> list[str]:
    """Say what was done with a manifest's rows that who wrote it may not expect, a sentence each."""
    samples = [row for row in rows if isinstance(row, Sample)]
    lost, windows = sum(sample.lost for sample in samples), [s for s in samples if s.window != WHOLE]
    found = []
    if lost:
        found.append(
            f"{lost} values in columns that are carried along are kept as null: nothing can hold them"
        )
    if windows:
        chosen = [n for n in asdict(WHOLE) if any(getattr(s.window, n) != getattr(WHOLE, n) for s in windows)]
        found.append(
            f"{len(windows)} rows have a part of their clip read, by the columns {', '.join(chosen)}"
        )
    return found


def _drained(rows: list[RawRow]) -> Iterator[RawRow]:
    rows.reverse()
    while rows:
        yield rows.pop()


# --- rows


def _rows(
    number: int, raw: RawRow, names: Mapping[str, str], parse: Callable[..., Sample]
) -> Iterator[Sample | BadRow]:
    if isinstance(raw, str):
        yield BadRow(number, digest(["row", number, raw])[:ID_LENGTH], raw)
        return
    kept = Kept()
    cells = {names[column]: _cell(names[column], raw[column], kept) for column in raw if column in names}
    cells = {name: value for name, value in cells.items() if value not in (None, "", [])}
    if not cells:  # the last line of a spreadsheet, as a rule
        return
    try:
        swept = expand(cells)
    except BadSample as problem:
        yield _bad(number, cells, problem)
        return
    for each in swept:
        try:
            yield parse(number, each, lost=kept.lost)
        except BadSample as problem:
            yield _bad(number, each, problem)


def _bad(number: int, cells: dict[str, Any], problem: BadSample) -> BadRow:
    kept = Kept()
    inputs = {mended(name): kept(value) for name, value in cells.items()}
    name = str(inputs.get("id") or digest(inputs)[:ID_LENGTH])
    return BadRow(number, name, mended(told(str(problem))), inputs, getattr(problem, "column", None))


def _parse(
    number: int,
    cells: dict[str, Any],
    table: str,
    required: tuple[str, ...],
    known_settings: dict[str, dict[str, Any]],
    known_places: dict[str, Place],
    lost: int = 0,
) -> Sample:
    """Check one row, of which `lost` values could not be kept.

    `known_settings` and `known_places` remember what was checked already, as most rows repeat it.
    """
    for name in required:
        if name not in cells:
            raise BadCell(name, f"{name} is empty: {of.MEANING[name]}")
    texts = {name: of.text(name, cells[name]) for name in WORDS if name in cells}
    places = {name: _place(name, cells[name], table, known_places) for name in PLACES if name in cells}
    named = {name: cells[name].strip() for name in places}
    prompt, negative = texts.get("prompt", ""), texts.get("negative_prompt")
    times = {name: of.seconds(name, cells[name]) for name in ("start", "duration", "fps") if name in cells}
    given = {name: cells[name] for name in cells if name in SETTINGS}
    asked = json.dumps(given, sort_keys=True, default=str) if given else ""
    if asked not in known_settings:
        known_settings[asked] = {name: of.setting(name, value) for name, value in given.items()}
    overrides = known_settings[asked]
    seed = of.seed(cells["seed"]) if "seed" in cells else None
    written_down = {"reference": "", "prompt": prompt, "negative_prompt": negative} | named
    content = written_down | {"seed": seed} | times | overrides
    name = of.identity(cells["id"]) if "id" in cells else digest(content)[:ID_LENGTH]
    extra = {key: value for key, value in cells.items() if key not in KNOWN}
    return Sample(
        id=name,
        reference=places.get("reference", ""),
        prompt=prompt,
        seed=seed_of(name) if seed is None else seed,
        row=number,
        negative_prompt=negative,
        window=Window(**times) if times else WHOLE,
        overrides=overrides,
        extra=extra or NOTHING,
        video=places.get("video"),
        lost=lost,
    )


def _unique(rows: Iterator[Sample | BadRow]) -> Iterator[Sample | BadRow]:
    seen: dict[str, Sample] = {}
    again: dict[str, int] = {}
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        first = seen.setdefault(row.id, row)
        if first is row:
            yield row
        else:
            again[row.id] = again.get(row.id, 1) + 1
            name = f"{row.id}~{again[row.id]}"
            if replace(row, row=first.row, extra=first.extra) == first:
                same = opened(row.reference) == opened(first.reference)
                how = "" if same else ", as far as a URL is stored"
                reason = (
                    f'it repeats row {first.row} (id "{row.id}"){how}: give it an id or a seed of its own'
                )
                yield BadRow(row.row, name, reason, row.inputs())
            else:
                reason = f'its id "{row.id}" is that of row {first.row}: give it one of its own, or none'
                yield TakenId(row.row, name, reason, row.inputs(), "id")


# --- cells


def _cell(name: str, value: Any, kept: Kept) -> Any:
    """Make a cell plain, and one that names a place a Place; no other keeps a login or a signature."""
    if name not in KNOWN:
        return carried(kept(value))
    value = plain(value)
    if name in UNSAYABLE and isinstance(value, str) and of.unsaid(value, name not in OPTIONAL):
        return None
    if name not in PLACES:
        return value if name in WORDS else carried(value)
    if isinstance(value, str):
        return Place(value if isinstance(value, Place) or not is_url(value.strip()) else value.strip())
    return [_cell(name, item, kept) for item in value] if isinstance(value, list) else carried(value)


def _place(name: str, value: Any, table: str, known: dict[str, Place]) -> Place:
    of.text(name, value)
    text = opened(value)
    if text not in known:
        if len(known) >= MOST_PLACES:
            known.clear()
        try:
            known[text] = resolve_reference(value, table)
        except UserError as problem:
            raise BadCell(name, str(problem)) from problem
    return known[text]


def resolve_reference(reference: str, table: str) -> Place:
    """Return the place that a cell of a table names; a relative path lies beside the table.

    Blanks around a path are left out, unless there is a file whose name they belong to. Raises UserError
    where it is a URL that is not opened.
    """
    place = _resolved(reference, table)
    if reference == reference.strip() or (protocol_of(place) == "file" and os.path.exists(opened(place))):
        return place
    return _resolved(reference.strip(), table)


def _resolved(reference: str, table: str) -> Place:
    place = Place(reference)
    check(place)
    if is_url(place):
        return place
    path = opened(place)
    beside = Place(table).beside(path)
    if path.startswith("~") and not os.path.lexists(opened(Place(table).beside(path.partition("/")[0]))):
        path = os.path.expanduser(path)
    return Place(path) if os.path.isabs(path) else beside
