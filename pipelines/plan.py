"""The work left to do: the manifest, keyed by content, less what the store holds already."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from motionecho.config import RunSettings
from motionecho.errors import MotionEchoError, Transient, Unreachable, UserError
from motionecho.manifest import BadRow, Sample, TakenId, notes, read_manifest
from motionecho.manifest.prompts import PromptFilters, prompt_filters
from motionecho.models.registry import pair_spec
from motionecho.runs import files
from motionecho.runs.faults import fault_of
from motionecho.runs.keys import KEY_LENGTH, digest, file_digest
from motionecho.runs.parallel import in_order
from motionecho.runs.places import Place, opened
from motionecho.runs.results import Entry, Index
from motionecho.runs.store import CREATE_PATIENCE_S, RunStore
from motionecho.runs.urls import is_url, told
from pipelines.keying import Keying
from pipelines.refusals import Refusals
from pipelines.tasks import Task

HASHING_THREADS = 8
UNTOLD = "samples train on a reference whose caption is not told (reference_prompt): with an empty one"
T = TypeVar("T")
Hashed = tuple[str, str] | MotionEchoError


@dataclass(frozen=True)
class Plan:
    """A manifest against a store, in numbers.

    rows = done + failed_before + todo + len(bad) + len(unread), and more where a retry leaves rows aside.
    """

    rows: int
    references: int  # distinct reference files
    motions: int  # distinct inverted references that the work left needs
    motions_cached: int  # of these, how many are there
    done: int
    failed_before: int
    todo: int
    bad: list[BadRow]
    unread: list[BadRow]
    notes: list[str] = field(default_factory=list)  # what was done with the rows that may not be expected
    texts: int = 0  # distinct texts that stage `text` is to encode for the work left
    texts_cached: int = 0  # of these, how many are there


@dataclass(frozen=True)
class Work:
    """The plan with all that doing it needs: `tasks` are the good rows, `todo` those to run, in order.

    `unread` are rows whose files cannot be had now, through no fault of theirs: they stay to be done.
    """

    tasks: dict[str, Task]
    todo: tuple[Task, ...]
    bad: list[BadRow]
    index: Index  # what the store held
    retry_failed: bool
    motions: set[str]  # keys of the motions in the store
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # manifests, and their rows' keys
    unread: list[BadRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    texts: set[str] | None = None  # keys of the encoded texts in the store; None where no stage makes any
    filters: Mapping[str, Any] = field(default_factory=dict)  # of prompts, that were at work

    @property
    def given_up(self) -> list[str]:
        """The keys of samples that failed before."""
        return [key for key in self.tasks if key in self.index and self.index[key].failed]

    @property
    def plan(self) -> Plan:
        texts = set[str]() if self.texts is None else texts_of(self.todo)
        return Plan(
            rows=len(self.tasks) + len(self.bad) + len(self.unread),
            references=len({task.payload.reference_sha256 for task in self.tasks.values()}),
            motions=len({task.shares for task in self.todo}),
            motions_cached=len({task.shares for task in self.todo} & self.motions),
            done=sum(1 for key in self.tasks if key in self.index and self.index[key].ok),
            failed_before=0 if self.retry_failed else len(self.given_up),
            todo=len(self.todo),
            bad=self.bad,
            unread=self.unread,
            notes=self.notes,
            texts=len(texts),
            texts_cached=len(texts & (self.texts or set())),
        )


def texts_of(tasks: Iterable[Task]) -> set[str]:
    """Return the keys of the encoded texts that samples to make need; of most pairs none."""
    return {key for task in tasks for _, key in task.payload.texts}


def plan_generation(
    manifest_path: str,
    settings: RunSettings,
    store_url: str,
    limit: int | None = None,
    retry_failed: bool = False,
    motions: str | None = None,
    index: Index | None = None,
    rows: Sequence[Sample | BadRow] | None = None,
    filters: PromptFilters | None = None,
) -> Work:
    """Read the manifest, hash its references and compare with the store. Writes nothing.

    `motions` is where inverted references are shared, unless the run says so itself. `index` is a look at the
    store that was taken a moment ago, to save another. `rows` stand for those of the manifest,
    `filters` for those of prompts that are installed.

    Raises UserError where the manifest as a whole, the pair or the store's address cannot be used.
    """
    spec = pair_spec(settings.pair, settings.placement.weights)
    rows = (read_manifest(manifest_path) if rows is None else rows)[:limit]
    index, cached = what_is_there(store_url, motions, index)
    store, at_work = RunStore(store_url, CREATE_PATIENCE_S), filters or prompt_filters()
    refusals = _looking(store, lambda store: Refusals.of(store, at_work, index))
    rows = refusals.kept(rows, manifest_path)
    bad = [row for row in rows if isinstance(row, BadRow)]
    samples = [row for row in rows if isinstance(row, Sample)]
    hashed = hash_references((sample.reference for sample in samples), index.values())

    tasks: dict[str, Task] = {}
    unread: list[BadRow] = []
    keying, last = Keying(settings, spec), _last_hashed(index.values())
    for sample in samples:
        reference = hashed[opened(sample.reference)]
        if refusals.leave_out(sample, reference):
            continue
        if isinstance(reference, Unreachable) and sample.reference in last:  # what is done needs it no more
            task = keying.task(sample, *last[sample.reference])
            if task.key in index and index[task.key].ok:
                tasks.setdefault(task.key, task)
                continue
        if isinstance(reference, MotionEchoError):
            row = BadRow(sample.row, sample.id, str(reference), sample.inputs(), "reference")
            (unread if isinstance(reference, Transient) else bad).append(row)
            continue
        try:
            task = keying.task(sample, *reference)
        except UserError as problem:  # a strategy that the pair does not have, a file that does not open
            bad.append(BadRow(sample.row, sample.id, str(problem), sample.inputs(), "settings"))
            continue
        if denied := refusals.denied(sample, task.key):
            bad.append(denied)
            continue
        if (twin := tasks.setdefault(task.key, task)) is not task:
            first = twin.payload.sample
            same = f'it is the same sample as row {first.row} (id "{first.id}")'
            bad.append(BadRow(sample.row, sample.id, f"{same}: give it another seed", sample.inputs()))

    _refuse(manifest_path, bad, len(tasks) + len(unread))
    wordless = sum(map(_trains_without_words, tasks.values()))
    return Work(
        tasks=tasks,
        todo=tuple(first_of_each_reference_first(to_do(tasks, index, retry_failed))),
        bad=sorted(bad, key=lambda row: row.row),
        index=index,
        retry_failed=retry_failed,
        motions=cached,
        sources={files.absolute(manifest_path): rows_of(tasks, [*bad, *unread])},
        unread=unread,
        notes=[*notes(rows), *refusals.notes, *([f"{wordless} {UNTOLD}"] if wordless else [])],
        texts=_looking(store, RunStore.texts) if spec.text_stage else None,
        filters=at_work.facts,
    )


def _trains_without_words(task: Task) -> bool:
    its = task.payload.config.reference
    return bool(its.trains and not its.reference_prompt and not its.motion_lora)


def together(works: Sequence[Work]) -> Work:
    """Make one piece of work of several manifests for one place; a row in two of them is one."""
    todo = {task.key: task for work in works for task in work.todo}
    return dataclasses.replace(
        works[0],
        tasks={key: task for work in works for key, task in work.tasks.items()},
        todo=tuple(first_of_each_reference_first(todo.values())),
        bad=list({bad_row_key(row): row for work in works for row in work.bad}.values()),
        unread=list({bad_row_key(row): row for work in works for row in work.unread}.values()),
        sources={name: keys for work in works for name, keys in work.sources.items()},
        notes=list(dict.fromkeys(note for work in works for note in work.notes)),
    )


def to_do(tasks: Mapping[str, Task], index: Index, retry_failed: bool) -> list[Task]:
    """Pick the tasks that have no record that counts, and say which generation of it they are to have."""
    return [
        dataclasses.replace(task, generation=index.next_generation(key)) if key in index else task
        for key, task in tasks.items()
        if key not in index or index[key].to_do or (retry_failed and index[key].failed)
    ]


def rows_of(tasks: Iterable[str], others: Iterable[BadRow]) -> tuple[str, ...]:
    """Return the keys of all records that a manifest asks for."""
    return (*tasks, *dict.fromkeys(map(bad_row_key, others)))


def bad_row_key(row: BadRow) -> str:
    """Name the record of a bad row: by content, so that a mended row is another."""
    return digest(["bad row", row.id, row.inputs])[:KEY_LENGTH]


def _refuse(path: str, bad: list[BadRow], good: int) -> None:
    """Raise UserError where an id is taken twice or no row can ever run: mistakes of a table, not a row."""
    for row in bad:
        if isinstance(row, TakenId):
            raise UserError(f'row {row.row} of manifest "{path}": {row.reason}')
    if bad and not good:
        first = min(bad, key=lambda row: row.row)
        raise UserError(f'no row of manifest "{path}" can run; row {first.row}: {first.reason}')


def what_is_there(
    store_url: str, motions: str | None = None, index: Index | None = None
) -> tuple[Index, set[str]]:
    """Look at a store that may not exist yet and at its motions.

    Raises UserError, soon, where nobody answers or another version made the run.
    """

    def look(store: RunStore) -> tuple[Index, set[str]]:
        if index is None:
            store.refuse_other_epoch()
        return store.index() if index is None else index, store.motions()

    return _looking(RunStore(store_url, CREATE_PATIENCE_S, motions), look)


def _looking(store: RunStore, look: Callable[[RunStore], T]) -> T:
    try:
        return look(store)
    except UserError:
        raise
    except Exception as problem:
        raise UserError(f'cannot read "{store.url}": {told(str(problem))}') from problem


def first_of_each_reference_first(tasks: Iterable[Task]) -> list[Task]:
    """Put one sample a reference before the rest: something to look at from everywhere, early."""
    first: list[Task] = []
    rest: list[Task] = []
    seen: set[str] = set()
    for task in tasks:
        (rest if task.shares in seen else first).append(task)
        seen.add(task.shares)
    return first + rest


def hash_references(places: Iterable[str], known: Iterable[Entry]) -> dict[str, Hashed]:
    """Map what opens each place to (sha256, version), or to the error that says why it cannot be read.

    A file that the store's records have hashed before, and whose version is unchanged, is not read again; it
    is where a sample of it failed: a file's size and time may be as before although its bytes are not.
    """
    said: dict[tuple[str, str | None], set[str | None]] = defaultdict(set)
    for entry in known:
        said[entry.reference, entry.version].add(entry.sha256 if entry.ok and entry.version else None)
    before = {key: next(iter(found)) for key, found in said.items() if len(found) == 1}
    waited_for: dict[str, Unreachable] = {}  # stores, once that was in vain

    def one(place: str) -> Hashed:
        store = "/".join(opened(place).split("/")[:3]) if is_url(place) else ""
        before_this = waited_for.get(store)
        if before_this and before_this.silent:
            return Unreachable(f'"{Place(place)}" was not asked for: {before_this}')
        patience_s = 0.0 if before_this else files.HURRIED_S
        try:
            version = files.version_of(place, patience_s)
            sha256 = before.get((str(place), version))
            if sha256 is None:
                with files.fetch(place, patience_s) as path:
                    sha256 = file_digest(path)
            return sha256, version
        except Exception as problem:  # whatever a remote driver raises concerns this reference only
            fault = fault_of(place, problem)
            if isinstance(fault, Unreachable) and fault.passing:
                waited_for[store] = fault
            return fault

    distinct = {opened(place): place for place in places}
    return dict(zip(distinct, in_order(one, distinct.values(), HASHING_THREADS), strict=True))


def _last_hashed(known: Iterable[Entry]) -> dict[str, tuple[str, str]]:
    """Map references to what they were when a finished sample was made of them."""
    return {
        entry.reference: (entry.sha256, entry.version or "") for entry in known if entry.ok and entry.sha256
    }
