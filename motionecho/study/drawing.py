"""The pairs of a study: videos of every method for one reference, prompt and seed, and a draw of them."""

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from motionecho.errors import UserError, nearest
from motionecho.runs.notes import Blob
from motionecho.runs.records import OUTCOME_PREFIX, Record
from motionecho.runs.state import look
from motionecho.runs.store import RunStore
from motionecho.runs.tables import as_row
from motionecho.video import Window

USUAL = ("method", "strategy", "pair")  # what tells the methods of one run apart, unless a column is named
MOST = 9  # methods: as many as there are keys of digits, and more than a screen shows well

Name = tuple[str, Window, str]  # of a pair: the reference's content, the part of it, the prompt
Cells = Mapping[str, Any]  # of a row of the results, by column


@dataclass(frozen=True)
class MethodVideo:
    """A finished video, the method that made it, and how its reference was read."""

    method: str
    store: RunStore
    id: str
    key: str
    video: Blob
    reference: str
    sha256: str | None  # of the reference
    window: Window
    fit: str
    background: str
    prompt: str
    seed: int

    @property
    def name(self) -> Name:
        """The pair that it is of; a reference that was hashed is the same under any path."""
        return self.sha256 or self.reference, self.window, self.prompt


@dataclass(frozen=True)
class DrawnPair:
    """A reference and a prompt with a video of every method, by method."""

    name: Name
    videos: Mapping[str, MethodVideo]


def read_videos(stores: Sequence[RunStore], by: Sequence[str] = ()) -> list[MethodVideo]:
    """Read the finished videos that runs count and name their methods.

    A method is a run, or the values of the columns `by` (`method` is short for `result_method`); of one run
    without `by`, that of USUAL in which its videos differ. Raises UserError where no two methods come of it.
    """
    names = _run_names(stores)
    telling = {column for name in (*by, *USUAL) for column in (name, OUTCOME_PREFIX + name)}
    there = set[str]()  # columns in which a video has a value
    made: list[tuple[MethodVideo, Cells]] = []
    for store in stores:
        fit = _fit(store)
        for record in _finished(store):
            row = as_row(record, store.url)
            there.update(column for column, value in row.items() if value is not None)
            cells = {column: row.get(column) for column in telling}
            made.append((_video(names[store.url], store, record, fit), cells))
    if not made:
        raise UserError(f'"{stores[0].url}" has no finished video, and a study shows some')
    columns = [_column(name, there) for name in by]
    if not columns and len(stores) == 1:
        columns = _telling([cells for _, cells in made], stores[0])
    found = [
        replace(video, method=" / ".join(str(cells[column]) for column in columns)) if columns else video
        for video, cells in made
    ]
    methods = dict.fromkeys(video.method for video in found)
    if len(methods) < 2:
        raise UserError(
            f'all videos are of one method, "{next(iter(methods))}": name another run beside, or with --by a '
            "column that tells methods apart"
        )
    if len(methods) > MOST:
        raise UserError(
            f"{len(methods)} methods are more than a person can compare, {MOST} at most (here "
            f"{', '.join(list(methods)[:4])}, ...): name another column with --by"
        )
    return found


def draw(videos: Sequence[MethodVideo], pairs: int, seed: int = 0, any_seed: bool = False) -> list[DrawnPair]:
    """Draw pairs that have a video of every method, references in turn so that they are spread.

    The videos of a pair are of one seed, drawn where methods share several; with `any_seed` each method's is
    drawn by itself. The same arguments draw the same. Raises UserError where fewer pairs match, with counts.
    """
    found, dice = _complete(videos, any_seed), random.Random(seed)
    if len(found) < pairs:
        raise UserError(_too_few(videos, len(found), pairs, any_seed))
    of_reference: dict[str, list[Name]] = defaultdict(list)
    for name in sorted(found, key=repr):
        of_reference[name[0]].append(name)
    queues = list(of_reference.values())
    dice.shuffle(queues)
    for queue in queues:
        dice.shuffle(queue)
    order = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    drawn = []
    for name in order[:pairs]:
        its = found[name]
        shared = None if any_seed else dice.choice(sorted(set.intersection(*map(set, its.values()))))
        seeds = {each: dice.choice(sorted(own)) if shared is None else shared for each, own in its.items()}
        drawn.append(DrawnPair(name, {method: its[method][seeds[method]] for method in sorted(its)}))
    return drawn


def _complete(videos: Sequence[MethodVideo], any_seed: bool) -> dict[Name, dict[str, dict[int, MethodVideo]]]:
    """Return pairs with a video of every method, by method and seed; of one seed, unless any will do."""
    methods = {video.method for video in videos}
    found: dict[Name, dict[str, dict[int, MethodVideo]]] = defaultdict(lambda: defaultdict(dict))
    for video in videos:
        other = found[video.name][video.method].setdefault(video.seed, video)
        if other is not video:
            raise UserError(
                f'"{other.id}" and "{video.id}" are of the same method ("{video.method}"), reference, prompt '
                "and seed: name with --by the column in which they differ"
            )
    return {
        name: its
        for name, its in found.items()
        if its.keys() == methods and (any_seed or set.intersection(*map(set, its.values())))
    }


def _too_few(videos: Sequence[MethodVideo], there: int, asked: int, any_seed: bool) -> str:
    """Say how many pairs there are, of which method how many, and what would do."""
    each = Counter(method for method, _ in {(video.method, video.name) for video in videos})
    counts = ", ".join(f"{method} for {number}" for method, number in sorted(each.items()))
    ways = [f"--pairs {there} takes these"] if there else []
    more = 0 if any_seed else len(_complete(videos, any_seed=True))
    if more > there:
        ways.append(f"--any-seed finds {more}, whose seeds differ from method to method")
    ways = ways or ["make videos of the same references and prompts with every method"]
    total = len({video.name for video in videos})
    return (
        f"every method has a video for {there} of {total} pairs of reference and prompt ({counts}), and "
        f"{asked} are asked for: {'; '.join(ways)}"
    )


def _finished(store: RunStore) -> Iterator[Record]:
    """Yield the records of videos that the run counts: what its manifests had before is not among them."""
    index = store.index()
    counted = {entry.key for entry in look(store, index)[1] if entry.ok}
    return (record for record in store.records(index) if record.key in counted and record.video)


def _video(method: str, store: RunStore, record: Record, fit: str) -> MethodVideo:
    cells = record.inputs
    assert record.video  # of the finished ones
    return MethodVideo(
        method, store, record.id, record.key, record.video,
        reference=str(record.reference.get("uri") or cells.get("reference") or ""),
        sha256=record.reference.get("sha256"),
        window=Window(cells.get("start") or 0.0, cells.get("duration"), cells.get("fps")),
        fit=fit,
        background=str(record.echo.get("background", "black")),
        prompt=str(cells.get("prompt") or ""),
        seed=int(cells.get("seed") or 0),
    )  # fmt: skip


def _fit(store: RunStore) -> str:
    settings = (store.run() or {}).get("identity", {}).get("settings") or {}
    return str(settings.get("fit") or "crop")


def _column(name: str, there: Collection[str]) -> str:
    """Return the column that a name stands for; UserError where it is not there."""
    for column in (name, OUTCOME_PREFIX + name):
        if column in there:
            return column
    raise UserError(f'no video has a column "{name}"{nearest(name, there)}: --by takes one of the results')


def _telling(rows: Sequence[Cells], store: RunStore) -> list[str]:
    """Return the column of USUAL in which the videos of one run differ; UserError where it is not one."""
    values = {name: {str(row.get(OUTCOME_PREFIX + name)) for row in rows} for name in USUAL}
    differ = [name for name, its in values.items() if len(its) > 1]
    if not differ:
        alike = ", ".join(f"{name} {next(iter(its))}" for name, its in values.items())
        raise UserError(
            f'the videos of "{store.url}" are all of {alike}: name another run beside, or with --by a column '
            "that tells methods apart"
        )
    if len(differ) > 1:
        raise UserError(
            f'the videos of "{store.url}" differ in {" and ".join(differ)}: name which tells methods apart, '
            f"--by {differ[0]}, or all, {' '.join(f'--by {name}' for name in differ)}"
        )
    return [OUTCOME_PREFIX + differ[0]]


def _run_names(stores: Sequence[RunStore]) -> dict[str, str]:
    """Name runs by the ends of their places, as long as it takes to tell them apart."""
    parts = {store.url: store.url.rstrip("/").split("/") for store in stores}
    if len(parts) < len(stores):
        raise UserError("one run is named twice: each is a method, so each is named once")
    for length in range(1, max(map(len, parts.values())) + 1):
        names = {url: "/".join(its[-length:]) for url, its in parts.items()}
        if len({*names.values()}) == len(names):
            return names
    return {url: url for url in parts}
