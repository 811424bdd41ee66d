"""The work left to do: the manifest, keyed by content, less what the store holds already."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from motionecho.config import EchoConfig, RunSettings
from motionecho.errors import MotionEchoError, UserError
from motionecho.manifest import BadRow, Sample, TakenId, read_manifest
from motionecho.models.registry import PairSpec, pair_spec
from motionecho.runs import files
from motionecho.runs.keys import KEY_LENGTH, digest, file_digest, motion_key, sample_key
from motionecho.runs.results import Entry, Index
from motionecho.runs.store import CREATE_PATIENCE_S, RunStore
from pipelines.tasks import MakeSample, Task

HASHING_THREADS = 8


@dataclass(frozen=True)
class Plan:
    """A manifest against a store, in numbers: rows = done + failed_before + todo + len(bad)."""

    rows: int
    references: int  # distinct reference files
    motions: int  # distinct inverted references that the work left needs
    motions_cached: int  # of these, how many are there
    done: int
    failed_before: int
    todo: int
    bad: list[BadRow]


@dataclass(frozen=True)
class Work:
    """The plan with all that doing it needs: `tasks` are the good rows, `todo` those to run, in order."""

    tasks: dict[str, Task]
    todo: tuple[Task, ...]
    bad: list[BadRow]
    index: Index  # what the store held
    retry_failed: bool
    motions: set[str]  # keys of the motions in the store
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # manifests, and their rows' keys

    @property
    def given_up(self) -> list[str]:
        """The keys of samples that failed before."""
        return [key for key in self.tasks if key in self.index and self.index[key].failed]

    @property
    def plan(self) -> Plan:
        return Plan(
            rows=len(self.tasks) + len(self.bad),
            references=len({task.payload.reference_sha256 for task in self.tasks.values()}),
            motions=len({task.shares for task in self.todo}),
            motions_cached=len({task.shares for task in self.todo} & self.motions),
            done=sum(1 for key in self.tasks if key in self.index and self.index[key].ok),
            failed_before=0 if self.retry_failed else len(self.given_up),
            todo=len(self.todo),
            bad=self.bad,
        )


def plan_generation(
    manifest_path: str,
    settings: RunSettings,
    store_url: str,
    limit: int | None = None,
    retry_failed: bool = False,
    motions: str | None = None,
    index: Index | None = None,
) -> Work:
    """Read the manifest, hash its references and compare with the store. Writes nothing.

    `motions` is where inverted references are shared, unless the run says so itself. `index` is a look at the
    store that was taken a moment ago, to save another.

    Raises UserError where the manifest as a whole, the pair or the store's address cannot be used.
    """
    spec = pair_spec(settings.pair, settings.placement.weights)
    rows = read_manifest(manifest_path)[:limit]
    bad = [row for row in rows if isinstance(row, BadRow)]
    samples = [row for row in rows if isinstance(row, Sample)]
    index, cached = what_is_there(store_url, motions, index)
    hashed = hash_references({sample.reference for sample in samples}, index.values())

    tasks: dict[str, Task] = {}
    keying = _Keying(settings, spec)
    for sample in samples:
        reference = hashed[sample.reference]
        if isinstance(reference, str):
            bad.append(BadRow(sample.row, sample.id, reference, sample.inputs()))
            continue
        task = keying.task(sample, *reference)
        twin = tasks.setdefault(task.key, task)
        if twin is not task:
            first = twin.payload.sample
            same = f'it is the same sample as row {first.row} (id "{first.id}")'
            bad.append(BadRow(sample.row, sample.id, f"{same}: give it another seed", sample.inputs()))

    _refuse(manifest_path, bad, len(tasks))
    return Work(
        tasks=tasks,
        todo=tuple(first_of_each_reference_first(to_do(tasks, index, retry_failed))),
        bad=sorted(bad, key=lambda row: row.row),
        index=index,
        retry_failed=retry_failed,
        motions=cached,
        sources={files.absolute(manifest_path): rows_of(tasks, bad)},
    )


def together(works: Sequence[Work]) -> Work:
    """Make one piece of work of several manifests for one place; a row in two of them is one."""
    todo = {task.key: task for work in works for task in work.todo}
    return dataclasses.replace(
        works[0],
        tasks={key: task for work in works for key, task in work.tasks.items()},
        todo=tuple(first_of_each_reference_first(todo.values())),
        bad=list({bad_row_key(row): row for work in works for row in work.bad}.values()),
        sources={name: keys for work in works for name, keys in work.sources.items()},
    )


def to_do(tasks: Mapping[str, Task], index: Index, retry_failed: bool) -> list[Task]:
    """Pick the tasks that have no record that counts, and say which generation of it they are to have."""
    return [
        dataclasses.replace(task, generation=index.next_generation(key))
        for key, task in tasks.items()
        if key not in index or index[key].to_do or (retry_failed and index[key].failed)
    ]


def rows_of(tasks: Iterable[str], bad: Iterable[BadRow]) -> tuple[str, ...]:
    """Return the keys of all records that a manifest asks for."""
    return (*tasks, *dict.fromkeys(map(bad_row_key, bad)))


def bad_row_key(row: BadRow) -> str:
    """Name the record of a bad row: by content, so that a mended row is another."""
    return digest(["bad row", row.id, row.inputs])[:KEY_LENGTH]


def _refuse(path: str, bad: list[BadRow], good: int) -> None:
    """Raise UserError where an id is taken twice or no row can run: mistakes of a table, not of a row."""
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
    store = RunStore(store_url, CREATE_PATIENCE_S, motions)
    try:
        if index is None:
            store.refuse_other_epoch()
        return store.index() if index is None else index, store.motions()
    except UserError:
        raise
    except Exception as problem:
        raise UserError(f'cannot read "{store.url}": {problem}') from problem


def first_of_each_reference_first(tasks: Iterable[Task]) -> list[Task]:
    """Put one sample a reference before the rest: something to look at from everywhere, early."""
    first: list[Task] = []
    rest: list[Task] = []
    seen: set[str] = set()
    for task in tasks:
        (rest if task.shares in seen else first).append(task)
        seen.add(task.shares)
    return first + rest


def hash_references(uris: set[str], known: Iterable[Entry]) -> dict[str, tuple[str, str] | str]:
    """Map each URI to (sha256, version), or to the reason why it cannot be read.

    A file that the store's records have hashed before, and whose version is unchanged, is not read again.
    """
    before = {(entry.reference, entry.version): entry.sha256 for entry in known if entry.sha256}

    def one(uri: str) -> tuple[str, str] | str:
        try:
            version = files.version_of(uri)
            sha256 = before.get((uri, version))
            if sha256 is None:
                with files.fetch(uri) as path:
                    sha256 = file_digest(path)
            return sha256, version
        except MotionEchoError as problem:
            return str(problem)
        except Exception as problem:  # whatever a remote driver raises concerns this reference only
            return f'"{uri}" cannot be read: {type(problem).__name__}: {problem}'

    ordered = sorted(uris)
    with ThreadPoolExecutor(HASHING_THREADS) as pool:
        return dict(zip(ordered, pool.map(one, ordered), strict=True))


class _Keying:
    """A namer of samples; settings that repeat from row to row are worked out once."""

    def __init__(self, settings: RunSettings, spec: PairSpec) -> None:
        self.settings, self.spec, self.weights = settings, spec, spec.weights()
        self.known: dict[str, tuple[EchoConfig, str, dict[str, Any]]] = {}

    def task(self, sample: Sample, sha256: str, version: str) -> Task:
        config, config_digest, inversion = self._config(sample)
        motion = motion_key(
            sha256,
            window=dataclasses.asdict(sample.window),
            frames=self.spec.frames,
            height=self.spec.height,
            width=self.spec.width,
            fit=self.settings.fit,
            inversion=inversion,
            pair=self.spec.name,
            weights=self.weights,
        )
        key = sample_key(
            motion,
            prompt=sample.prompt,
            negative_prompt=sample.negative_prompt,
            seed=sample.seed,
            settings_digest=config_digest,
            dtype=self.settings.dtype,
        )
        return Task(key, motion, MakeSample(sample, sha256, version, motion, config))

    def _config(self, sample: Sample) -> tuple[EchoConfig, str, dict[str, Any]]:
        asked = json.dumps(sample.overrides, sort_keys=True)
        if asked not in self.known:
            config = self.settings.echo.updated(sample.overrides)
            values: Any = config.to_dict()
            if self.settings.gate:
                values = [values, self.settings.gate]
            self.known[asked] = config, digest(values), config.reference.to_dict()
        return self.known[asked]
