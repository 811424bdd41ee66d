"""The report of one run, or of two beside each other: gathered from records, written as a static folder."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq

from motionecho import __version__
from motionecho.errors import UserError
from motionecho.make import read_reference
from motionecho.metrics.compare import Scored, gather, pairs
from motionecho.models.registry import pair_spec
from motionecho.models.spec import PairSpec
from motionecho.report.pages import INDEX, write_pages
from motionecho.report.preview import write_preview
from motionecho.runs import layout
from motionecho.runs.folder import Folder
from motionecho.runs.keys import digest
from motionecho.runs.notes import now
from motionecho.runs.parallel import in_order
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.trace import by_column
from motionecho.video import Window, read_clip
from pipelines.reporting.facts import facts, meanings, side_by_side, way_between
from pipelines.reporting.samples import HELD, Shape, details, readable_order, reference_of, row

Tell = Callable[[str], object]
MAKERS = 2  # previews made at a time: each decodes two videos and encodes one


@dataclass(frozen=True)
class Report:
    """A report that was written: the page to open, its samples, and those without a preview, by reason."""

    page: str
    samples: int
    without_preview: int
    problems: tuple[str, ...] = ()


@dataclass
class Shown:
    """A run as it is looked at: its records in readable order, and their figures by id."""

    store: RunStore
    records: list[Record]
    scored: dict[str, Scored]
    base: str | None  # the way from the page to the run's place
    previews: dict[str, str] = field(default_factory=dict)  # from the page, by key
    steps: dict[str, dict[str, list[Any]]] = field(default_factory=dict)  # of older records, by key

    @classmethod
    def of(cls, store: RunStore, page: str) -> "Shown":
        records, beside = list(store.records()), RunStore(store.scores_url)
        scored = gather([*records, *(beside.records() if beside.run() else ())])
        base = way_between(page, store.url)
        records.sort(key=readable_order)
        return cls(store, records, {each.id: each for each in scored}, base)

    def figures(self, record: Record) -> Scored | None:
        return self.scored.get(record.id) if record.ok else None

    def linked(self, way: str | None) -> str | None:
        return f"{quote(self.base)}/{way}" if way and self.base is not None else None


def write_report(
    stores: Sequence[RunStore], out: str | None = None, previews: bool = False, tell: Tell = lambda word: None
) -> Report:
    """Write the report of a run into its place, or of one or two into the folder `out`, and say where it is.

    Elsewhere than in the run's place the folder is whole by itself: previews are copied into it. `previews`
    makes those that are missing, which takes the references. Raises UserError where a place cannot be read.
    """
    if out is None and len(stores) > 1:
        raise UserError("a report of two runs needs a folder of its own: add --out FOLDER")
    for store in stores:
        if "scoring" in (store.run() or {}).get("identity", {}):
            raise UserError(f'"{store.url}" holds scores and no videos: name the run they are of')
    folder = Folder.at(out or stores[0].absolute(layout.REPORT))
    runs = [Shown.of(store, folder.url) for store in stores]
    problems: list[str] = []
    for run in runs:
        problems += _find_previews(run, folder, out is not None, previews, tell)
        run.steps = dict(_older_steps(run))
    shape = Shape.of(
        (record for run in runs for record in run.records),
        (each for run in runs for each in run.scored.values()),
    )
    head = _head(runs, shape)
    count = write_pages(folder, head, _samples(runs, shape))
    return Report(folder.absolute(INDEX), count, sum(map(_without, runs)), tuple(problems))


def publish_report(store: RunStore, fresh: bool, on_problem: Tell) -> str | None:
    """Write a run's report at its end and return the page to open; None, and a word, where that failed.

    One that exists is kept unless something `fresh` was made. Nothing here may turn a run into a failure.
    """
    page = f"{layout.REPORT}/{INDEX}"
    try:
        if not fresh and store.exists(page):
            return store.absolute(page)
        return write_report([store]).page
    except Exception as problem:
        on_problem(f"no report: {problem}")
        return None


def _head(runs: Sequence[Shown], shape: Shape) -> dict[str, Any]:
    made_at = now()
    told = [
        facts(run.store, run.records) | {"base": run.base, "without_preview": _without(run)} for run in runs
    ]
    head: dict[str, Any] = {"made_at": made_at, "version": __version__, "runs": told, "settings": meanings()}
    head |= {"figures": list(shape.figures), "headlines": shape.headlines(), "roles": shape.roles()}
    head |= {"references": list(shape.references)}
    if len(runs) == 2:
        one, two = (list(run.scored.values()) for run in runs)
        try:
            head["beside"] = side_by_side(one, two)
        except UserError as problem:
            head["beside"] = {"problem": str(problem)}
    return head | {"stamp": digest(head)[:16]}


def _without(run: Shown) -> int:
    return sum(record.ok and record.key not in run.previews for record in run.records)


def _samples(runs: Sequence[Shown], shape: Shape) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield every sample of every run; of two runs each sample knows its twin, by its place among all."""
    twins = _twins(runs) if len(runs) == 2 else {}
    for number, run in enumerate(runs):
        settings = (run.store.run() or {}).get("identity", {}).get("settings") or {}
        usual = settings.get("echo") or {}
        for record in run.records:
            scored, steps = run.figures(record), record.steps or run.steps.get(record.key, {})
            shown = row(record, scored, shape, number, run.previews.get(record.key), steps)
            shown["video"] = run.linked(shown["video"])
            more = details(record, scored, usual, steps)
            more["files"] = {name: run.linked(way) for name, way in more["files"].items()}
            yield shown | {"twin": twins.get((number, record.id))}, more


def _twins(runs: Sequence[Shown]) -> dict[tuple[int, str], int]:
    places = [{record.id: n for n, record in enumerate(run.records) if record.ok} for run in runs]
    after = len(runs[0].records)
    found = {}
    for one, two in pairs(list(runs[0].scored.values()), list(runs[1].scored.values()))[1]:
        if one.id in places[0] and two.id in places[1]:
            found[0, one.id] = after + places[1][two.id]
            found[1, two.id] = places[0][one.id]
    return found


# --- what older records lack


def _older_steps(run: Shown) -> Iterator[tuple[str, dict[str, list[Any]]]]:
    """Read the steps of records that do not hold them out of their tables, several at a time."""

    def read(record: Record) -> dict[str, list[Any]]:
        try:
            with run.store.fetch(record.stats.uri if record.stats else "") as path:
                return by_column(pq.read_table(path, use_threads=False).to_pylist())
        except Exception:  # a file that is not there, or none of a table: its strip is left out
            return {}

    older = [r for r in run.records if r.ok and not r.steps and r.stats and HELD.fullmatch(r.stats.uri)]
    yield from zip((r.key for r in older), in_order(read, older), strict=True)


def _find_previews(run: Shown, folder: Folder, copied: bool, made: bool, tell: Tell) -> list[str]:
    """Note the way to every preview; copy them into the report where they are `copied`, make what lacks.

    Returns what went wrong, the first of each kind.
    """
    there = folder.find(layout.PREVIEWS)
    own = {path.rsplit("/", 1)[-1] for path in there}
    problems: dict[str, str] = {}

    def one(record: Record) -> str | None:
        uri = layout.preview(record.key, record.attempt or "")
        if not HELD.fullmatch(uri):
            return None
        if record.preview and record.preview.uri == uri and not copied:
            return run.linked(quote(uri))
        if uri.rsplit("/", 1)[-1] in own:
            return quote(uri)
        try:
            if record.preview and record.preview.uri == uri:
                with run.store.fetch(uri) as local:
                    folder.put_whole(uri, local)
                return quote(uri)
            if made:
                _make(run.store, record, folder, uri)
                return quote(uri)
        except Exception as problem:
            problems.setdefault(type(problem).__name__, f"no preview of {record.id}: {problem}")
        return None

    finished = [record for record in run.records if record.ok and record.video]
    lacking = sum(not record.preview for record in finished)
    if made and lacking:
        tell(f"{lacking} previews are made of videos and references")
    for record, way in zip(finished, in_order(one, finished, MAKERS if made else 16), strict=True):
        if way:
            run.previews[record.key] = way
    return list(problems.values())


def _make(store: RunStore, record: Record, folder: Folder, uri: str) -> None:
    """Make the preview of a sample whose publishing left none, of its video and its reference."""
    settings: Mapping[str, Any] = (store.run() or {}).get("identity", {}).get("settings") or {}
    spec: PairSpec = pair_spec(settings["pair"])
    cells, sha256 = record.inputs, record.reference.get("sha256")
    window = Window(cells.get("start") or 0.0, cells.get("duration"), cells.get("fps"))
    under = record.echo.get("background", "black")
    clip = read_reference(reference_of(record), spec, window, settings.get("fit", "crop"), under, sha256)
    with store.fetch(record.video.uri if record.video else "") as path:
        result = read_clip(path, spec.frames, spec.height, spec.width)
    with tempfile.TemporaryDirectory(prefix="motionecho-") as local:
        file = os.path.join(local, "preview.mp4")
        write_preview(file, clip.frames, result.frames, spec.fps)
        folder.put_whole(uri, file)
