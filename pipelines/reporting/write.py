"""The report of one run, or of two beside each other: gathered from records, written as a static folder."""

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from motionecho import __version__
from motionecho.errors import UserError
from motionecho.metrics.compare import Scored, pairs, scored_video
from motionecho.report.pages import INDEX, as_json, write_pages
from motionecho.runs import layout
from motionecho.runs.folder import Folder
from motionecho.runs.keys import digest
from motionecho.runs.notes import now
from motionecho.runs.parallel import in_order
from motionecho.runs.records import Record
from motionecho.runs.state import look
from motionecho.runs.store import RunStore
from pipelines.reporting.facts import Machines, facts, meanings, side_by_side, way_between
from pipelines.reporting.lacking import Lacking
from pipelines.reporting.samples import Shape, details, readable_order, row

Tell = Callable[[str], object]
READERS = 16  # of what records lack, at a time
MAKERS = 2  # of previews: each decodes two videos and encodes one


@dataclass(frozen=True)
class Report:
    """A report that was written: the page to open, its samples, and how many have no preview, and why not."""

    page: str
    samples: int
    without_preview: int
    problems: tuple[str, ...] = ()


@dataclass
class ShownSample:
    """A sample as it waits to be written: its row but for what all others decide, and its details as JSON.

    Records are let go at once, as ten thousand of them fill a gigabyte.
    """

    order: tuple[Any, ...]
    id: str
    ok: bool
    row: dict[str, Any]
    scored: Scored | None
    details: str


@dataclass
class ShownRun:
    """A run as it is looked at."""

    store: RunStore
    facts: dict[str, Any]
    samples: list[ShownSample] = field(default_factory=list)

    @property
    def scored(self) -> list[Scored]:
        return [each.scored for each in self.samples if each.scored]

    @property
    def without_preview(self) -> int:
        return sum(each.ok and not each.row["preview"] for each in self.samples)


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
    lacking = [
        Lacking(store, folder, way_between(folder.url, store.url), out is not None, previews)
        for store in stores
    ]
    runs = [_look(each, number, tell) for number, each in enumerate(lacking)]
    again = [
        "motionecho",
        "batch",
        "report",
        *(store.url for store in stores),
        *(["-o", folder.url] if out else []),
    ]
    for run in runs:
        run.facts["commands"]["previews"] = shlex.join([*again, "--previews"])
    shape = Shape.of(
        [each for run in runs for each in run.scored],
        {s.row["reference"] for run in runs for s in run.samples},
    )
    count = write_pages(folder, _head(runs, shape), _texts(runs, shape))
    without = sum(run.without_preview for run in runs)
    return Report(
        folder.absolute(INDEX), count, without, tuple(p for each in lacking for p in each.problems.values())
    )


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


def _look(lacking: Lacking, number: int, tell: Tell) -> ShownRun:
    """Read the records of a run, each once, and what they lack beside it."""
    store, index = lacking.store, lacking.store.index()
    counted = {entry.key for entry in look(store, index)[1]}  # what a manifest had before does not
    beside, later = RunStore(store.scores_url), defaultdict[str, list[Record]](list)
    for record in beside.records() if beside.run() else ():
        later[scored_video(record)].append(record)
    machines, run = Machines(), ShownRun(store, facts(store, index))
    usual, made = run.facts["echo"], lacking.made
    records = (record for record in store.records(index) if record.key in counted)
    for record, way, steps in in_order(lacking.find, records, MAKERS if made else READERS):
        machines.add(record)
        scores = later[record.video.uri] if record.video else []
        scored = Scored.of([record, *scores]) if record.ok else None
        shown = row(record, scored, number, way, lacking.linked, steps)
        text = as_json(details(record, scored, usual, lacking.linked, steps))
        run.samples.append(ShownSample(readable_order(record), record.id, record.ok, shown, scored, text))
        if made and len(run.samples) % 100 == 0:
            tell(f"{len(run.samples)} of {len(counted)} samples looked at")
    run.samples.sort(key=lambda each: each.order)
    run.facts |= {"machines": machines.listed(), "without_preview": run.without_preview}
    return run


def _head(runs: Sequence[ShownRun], shape: Shape) -> dict[str, Any]:
    head: dict[str, Any] = {
        "made_at": now(),
        "version": __version__,
        "runs": [run.facts for run in runs],
        "settings": meanings(),
        "figures": list(shape.figures),
        "headlines": shape.headlines(),
        "roles": shape.roles(),
        "references": list(shape.references),
    }
    if len(runs) == 2:
        try:
            head["beside"] = side_by_side(runs[0].scored, runs[1].scored)
        except UserError as problem:
            head["beside"] = {"problem": str(problem)}
    return head | {"stamp": digest(head)[:16]}


def _texts(runs: Sequence[ShownRun], shape: Shape) -> Iterator[tuple[str, str]]:
    """Yield every sample of every run; of two runs each sample knows its twin, by its place among all."""
    twins = _twins(runs) if len(runs) == 2 else {}
    for number, run in enumerate(runs):
        for each in run.samples:
            figures = each.scored.figures if each.scored else {}
            known = {
                "reference": shape.references[each.row["reference"]],
                "twin": twins.get((number, each.id)),
            }
            yield (
                as_json(each.row | known | {"figures": [figures.get(n) for n in shape.figures]}),
                each.details,
            )


def _twins(runs: Sequence[ShownRun]) -> dict[tuple[int, str], int]:
    places = [{each.id: n for n, each in enumerate(run.samples) if each.ok} for run in runs]
    after, found = len(runs[0].samples), {}
    for one, two in pairs(runs[0].scored, runs[1].scored)[1]:
        found[0, one.id] = after + places[1][two.id]
        found[1, two.id] = places[0][one.id]
    return found
