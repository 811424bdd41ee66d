"""The records of a run: committed once, never changed, counted by one listing; and parts, their cache.

Nothing here deletes a record: a sample that is made again gets a record of the next generation, and the
highest counts. Deleting a record by hand makes its sample run again.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from motionecho.errors import Damaged, Misplaced
from motionecho.runs import layout, results
from motionecho.runs.folder import Folder
from motionecho.runs.leases import Lease
from motionecho.runs.notes import ErrorNote
from motionecho.runs.parallel import in_order
from motionecho.runs.records import Record, absolute
from motionecho.runs.results import DAMAGED, Entry, Index
from motionecho.runs.tables import More, as_row, more_of, to_parquet, together


class Ledger:
    """A ledger of samples in a run's folder, at `url`; `lease` is that of the driver that commits here."""

    def __init__(self, folder: Folder) -> None:
        self.folder, self.url = folder, folder.url
        self.lease: Lease | None = None
        self.more: More = {}  # columns behind the declared ones, which every part is to have
        self.uneven = False  # whether there may be parts that lack some of them

    def absolute(self, uri: str) -> str:
        """Return a file's URI as other programs can open it; those of a run are relative to its folder."""
        return absolute(self.url, uri)

    def commit(self, record: Record) -> Record | None:
        """Write the record, then drop its attempt notes; None where another attempt has committed before.

        Returns it as it stands: of the next generation where its name is taken by what is no record.
        Raises Transient where its blobs may be gone, as this driver's lease had lapsed.
        """
        if self.lease is not None:
            self.lease.check()
        mine = record
        while not (won := self._create(mine)) and not self._stands(mine):
            mine = replace(mine, generation=mine.generation + 1)
        if record.strikes:
            notes = self._list(layout.attempt_notes(record.key), ".json")
            self.folder.remove_all(path for path in notes if layout.key_of(path) == record.key)
        return mine if won else None

    def standing(self, record: Record) -> Record:
        """Return the record that was committed before this one could be; this one if that cannot be read."""
        try:
            return self.record(record.key) or record
        except Damaged:
            return record

    def requeue(self, record: Record, why: ErrorNote) -> bool:
        """Say that a record is void and its sample to be made again; False where someone has done so before.

        Nothing is deleted: the next generation of the record says it, and the one after has the new sample.
        """
        void = Record(
            key=record.key,
            id=record.id,
            status="requeued",
            inputs=record.inputs,
            reference=record.reference,
            motion_key=record.motion_key,
            error=why,
            committed_at=why.at,
            generation=record.generation + 1,
        )
        return self.commit(void) is not None

    def record(self, key: str) -> Record | None:
        """Return a sample's latest record, None where it has none; raises Damaged where it cannot be read."""
        named = filter(None, map(layout.sample_of, self.folder.find(layout.records_of(key))))
        latest = max((generation for found, generation in named if found == key), default=0)
        return self._read(key, latest) if latest else None

    def generations(self) -> dict[str, int]:
        """Map the keys of all samples that have a record to its latest generation, by one listing."""
        found: dict[str, int] = {}
        for key, generation in filter(None, map(layout.sample_of, self.folder.find(layout.RECORDS))):
            if generation > found.get(key, 0):
                found[key] = generation
        return found

    def keys(self) -> set[str]:
        """List the keys of all samples that have a record."""
        return set(self.generations())

    def still_there(self, generations: Mapping[str, int]) -> set[str]:
        """Return those keys that have a record of that generation, whatever a listing that lags may say."""
        keys = sorted(generations)
        paths = [layout.record(key, generations[key]) for key in keys]
        return {key for key, there in zip(keys, in_order(self.folder.exists, paths), strict=True) if there}

    def index(self) -> Index:
        """Look at what the run holds: the index columns of its parts, and the records in none of them."""
        # Parts first: a record is there before any part names it. One that is missing from the listing then
        # was deleted by someone, or the listing lags; its own name tells which.
        rows: dict[str, list[Entry]] = {}
        shapes: dict[str, tuple[More, bool]] = {}
        damaged: dict[str, str] = {}
        for part in self._parts():
            try:
                rows[part], shapes[part] = self._entries(part)
            except FileNotFoundError:
                continue  # someone else has rebuilt it meanwhile
            except Damaged as problem:
                damaged[part] = f"{self.absolute(part)} is rebuilt from the records: {problem}"
        latest = self.generations()
        unlisted: dict[str, int] = {}
        for row in chain.from_iterable(rows.values()):
            if row.generation > max(latest.get(row.key, 0), unlisted.get(row.key, 0)):
                unlisted[row.key] = row.generation
        latest |= {key: unlisted[key] for key in self.still_there(unlisted)}

        entries: dict[str, Entry] = {}
        current: dict[str, frozenset[str]] = {}
        outdated = set(damaged)
        for part, found in rows.items():
            its = {row.key: row for row in found if latest.get(row.key) == row.generation}
            current[part] = frozenset(its.keys() - entries.keys())
            if len(current[part]) < len(found):
                outdated.add(part)
            entries |= its
        loose = []
        for key, read in self.read({key: latest[key] for key in sorted(latest) if key not in entries}):
            if isinstance(read, Record):
                loose.append(read)
                entries[key] = Entry.of(read)
            else:
                entries[key] = Entry(key, "", DAMAGED, generation=latest[key])
                damaged[key] = f"{read}; its sample is made again"
        more = together(*(its for its, _ in shapes.values()))
        unlike = {part for part, (its, of_today) in shapes.items() if not of_today or its != more}
        parts = (current, tuple(loose), frozenset(outdated), frozenset(unlike))
        return Index(entries, *parts, more, tuple(damaged.values()))

    def records(self, index: Index | None = None) -> Iterator[Record]:
        """Yield the latest record of every finished sample, or of those that an `index` names.

        A failed one is left out when its id has succeeded since (a mended row).
        """
        index = self.index() if index is None else index
        failed = index.failed
        wanted = {key: e.generation for key, e in index.items() if e.ok or (e.failed and e.id in failed)}
        for part in index.parts:
            try:
                for record in results.read_records(self._part(part)):
                    if wanted.get(record.key) == record.generation:
                        del wanted[record.key]
                        yield record
            except (FileNotFoundError, Damaged):
                continue  # a cache: what it held is read below, record by record
        for record in index.loose:
            if wanted.pop(record.key, None):
                yield record
        yield from (read for _, read in self.read(wanted) if isinstance(read, Record))

    def read(self, generations: Mapping[str, int]) -> Iterator[tuple[str, Record | Damaged]]:
        """Read those records, several at a time; Damaged in place of one that cannot be, none of one gone."""

        def one(key: str) -> Record | Damaged | None:
            try:
                return self._read(key, generations[key])
            except Damaged as problem:
                return problem
            except FileNotFoundError:
                return None

        for key, read in zip(generations, in_order(one, generations), strict=True):
            if read is not None:
                yield key, read

    def expect(self, index: Index, rows: Iterable[Mapping[str, Any]], more: More) -> None:
        """Note which columns the run's parts have and its rows will have: `compact` writes them all.

        So parts are alike although their samples are not.
        """
        self.more = together(index.more, more, more_of(rows))
        self.uneven = bool(index.unlike) or (bool(index.parts) and self.more != index.more)

    def compact(self, records: Iterable[Record]) -> str | None:
        """Write the records as one more results part; return its URI."""
        rows = [as_row(record, self.url) for record in records]
        if not rows:
            return None
        more = together(self.more, more_of(rows))
        self.uneven |= more != self.more
        self.more = more
        data = to_parquet(rows, more)
        uri = layout.part(data)
        self.folder.overwrite(uri, data)
        return uri

    def tidy(self, index: Index, unlike: bool = False) -> None:
        """Take rows out that are not of the latest records, or twice there, and parts that cannot be read.

        With `unlike`, parts that differ from the others in their columns are written again. Parts are a cache
        of the records: what goes by mistake is read from its record the next time.
        """
        for part in sorted(index.outdated | index.unlike if unlike else index.outdated):
            keep = index.parts.get(part, frozenset())
            try:
                rest = results.renewed(self._part(part), keep, index, index.more, self.url)
            except FileNotFoundError:
                continue
            except Damaged:
                pass
            else:
                self.folder.overwrite(name := layout.part(rest, of=part), rest)
                if name == part:
                    continue
            self.folder.remove_all([part])

    # --- attempts

    def note_strike(self, key: str, attempt: str, strike: ErrorNote) -> None:
        """Persist a failed attempt, before anything is tried again."""
        self.folder.overwrite(layout.attempt_note(key, attempt), json.dumps(strike.to_dict()).encode())

    def strikes(self, tell: Callable[[str], object] = lambda message: None) -> dict[str, list[ErrorNote]]:
        """Return failed attempts of unfinished samples, by key, oldest first; `tell` of what is no note."""

        def one(path: str) -> ErrorNote | Damaged | None:
            try:
                return ErrorNote.from_json(self.folder.read(path))
            except FileNotFoundError:  # its sample was finished meanwhile
                return None
            except Damaged as problem:
                return problem

        found: dict[str, list[ErrorNote]] = defaultdict(list)
        paths = self._list(layout.ATTEMPTS, ".json")
        for path, note in zip(paths, in_order(one, paths), strict=True):
            if isinstance(note, ErrorNote):
                found[layout.key_of(path)].append(note)
            elif note is not None:
                tell(f"{self.absolute(path)} counts as no attempt: {note}")
        return {key: sorted(notes, key=lambda note: note.at) for key, notes in found.items()}

    # --- inside

    def _list(self, folder: str, suffix: str) -> list[str]:
        return [path for path in self.folder.find(folder) if path.endswith(suffix)]

    def _parts(self) -> list[str]:
        return self._list(layout.RESULTS, ".parquet")

    def _entries(self, part: str) -> tuple[list[Entry], tuple[More, bool]]:
        data = self._part(part)
        return list(results.read_entries(data)), results.shape_of(data)

    def _part(self, part: str) -> bytes:
        """Return the bytes of a results part; raises Damaged where they are not those that were written."""
        data = self.folder.read(part)
        if not layout.is_whole(part, data):
            raise Damaged("its bytes are not those that were written")
        return data

    def _create(self, record: Record) -> bool:
        """Write a record unless something has its name; True where that is the record itself."""
        path = layout.record(record.key, record.generation)
        try:
            return self.folder.create_once(path, record.to_json().encode())
        except Misplaced as problem:
            if not isinstance(problem.__cause__, IsADirectoryError):
                raise
        except FileExistsError:  # a link that leads nowhere
            pass
        return False

    def _stands(self, record: Record) -> bool:
        """Tell whether a record of that sample and generation can be read."""
        try:
            self._read(record.key, record.generation)
        except (Damaged, FileNotFoundError):
            return False
        return True

    def _read(self, key: str, generation: int) -> Record:
        path = layout.record(key, generation)
        try:
            found = Record.from_json(self.folder.read(path))
        except Damaged as problem:
            raise Damaged(f"{self.absolute(path)} cannot be read: {problem}") from problem
        if (found.key, found.generation) != (key, generation):
            raise Damaged(
                f"{self.absolute(path)} is the record of {found.key}, generation {found.generation}"
            )
        return found
