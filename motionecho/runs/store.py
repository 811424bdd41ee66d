"""One run directory on any fsspec URL; the only code that knows its layout (a table of it: `layout.py`).

Deleting a record makes its sample run again. Blobs no record names are leftovers of attempts that died.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

from motionecho.errors import MotionEchoError, UserError
from motionecho.runs import layout, results
from motionecho.runs.files import HURRIED_S, PATIENCE_S, fetch
from motionecho.runs.folder import Folder
from motionecho.runs.keys import CODE_EPOCH, differences
from motionecho.runs.notes import Blob, ErrorNote
from motionecho.runs.records import Record, absolute, as_row
from motionecho.runs.results import Entry, Index

__all__ = ["RunStore", "fetch"]
CREATE_PATIENCE_S = HURRIED_S


class RunStore:
    """A store of one run; cheap to construct, so every process makes its own from the URL.

    `motions` is where a new run keeps inverted references, to share them with others; run.json remembers it.
    """

    def __init__(self, url: str, patience_s: float = PATIENCE_S, motions: str | None = None) -> None:
        self.folder = Folder.at(url, patience_s)
        self.url = self.folder.url
        self.shared = motions and Folder.at(motions).url

    # --- the run as a whole

    def create(self, identity: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
        """Write run.json, or check it: True for a new run, False for one that is continued.

        `identity` decides results and has to agree with what is there; `about` only informs.
        Raises UserError where the place cannot be written or holds a run of another identity.
        """
        words = {"schema_version": 1, "identity": identity, "motions": self.shared, "about": about}
        body = json.dumps(words, indent=1).encode()
        try:
            known = self.run()
            if known is None:
                if self.folder.within(CREATE_PATIENCE_S).create_once(layout.RUN, body):
                    return True
                known = self.run() or {}
        except UserError:
            raise
        except Exception as problem:
            raise UserError(f'cannot write to "{self.url}": {problem}') from problem
        self.refuse_other_epoch()
        changed = differences(known.get("identity", {}), json.loads(body)["identity"])
        if changed:
            raise UserError(
                f'"{self.url}" holds a run with other settings: {"; ".join(changed)}. '
                "Use the settings of that run to continue it, or another place"
            )
        if self.shared and self.shared != known.get("motions"):
            raise UserError(
                f'"{self.url}" keeps its motions at "{known.get("motions") or self.url + "/motions"}": '
                "leave --motions out to continue it, or use another place"
            )
        return False

    def refuse_other_epoch(self) -> None:
        """Raise UserError where a version made the run whose videos differ from this one's."""
        epoch = (self.run() or {}).get("identity", {}).get("code_epoch", CODE_EPOCH)
        if epoch != CODE_EPOCH:
            raise UserError(
                f'"{self.url}" was made by a version of motionecho whose videos differ from this one\'s '
                f"(epoch {epoch} there, {CODE_EPOCH} here): finish it with that version, or use another "
                "place; status, collect, score and compare read it as it is"
            )

    def run(self) -> dict[str, Any] | None:
        """Return run.json, or None where there is no run."""
        return self._read_json(layout.RUN)

    def note_progress(self, progress: Mapping[str, Any]) -> None:
        word = json.dumps(progress).encode()
        self.folder.within(CREATE_PATIENCE_S).overwrite(layout.PROGRESS, word)

    def progress(self) -> dict[str, Any] | None:
        """Return the driver's last word and when it was said, or None."""
        return self._read_json(layout.PROGRESS)

    def note_job(self, job: Mapping[str, Any]) -> None:
        """Remember the Ray job that drives this run: its address and id, never what it may open with."""
        self.put_text(layout.JOB, json.dumps({"schema_version": 1, **job}))

    def job(self) -> dict[str, Any] | None:
        """Return the job that was last submitted for this run, or None."""
        return self._read_json(layout.JOB)

    def put_text(self, uri: str, text: str) -> None:
        self.folder.overwrite(uri, text.encode())

    def first_canary(self, trace: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the trace that the run's first worker left, which is `trace` if there was none."""
        body = json.dumps(trace).encode()
        if self.folder.create_once(layout.CANARY, body):
            return trace
        return self._read_json(layout.CANARY) or trace

    # --- blobs, by URI relative to the run

    @cached_property
    def motions_at(self) -> str:
        """Where motions are: a folder of the run, or the place it shares with other runs."""
        return self.shared or (self.run() or {}).get("motions") or layout.MOTIONS

    def motion_uri(self, motion_key: str) -> str:
        return layout.motion(motion_key, self.motions_at)

    video_uri = staticmethod(layout.video)
    stats_uri = staticmethod(layout.stats)
    features_uri = staticmethod(layout.features)
    record_uri = staticmethod(layout.record)
    sent_uri = staticmethod(layout.sent)  # what a job was sent: its manifest and clips
    sheet_uri, sets_uri, canary_uri = layout.SHEET, layout.SETS, layout.CANARY

    @property
    def scores_url(self) -> str:
        """The place beside the run where its later scores are."""
        return self.absolute(layout.SCORES)

    def exists(self, uri: str) -> bool:
        folder, path = self._place(uri)
        return folder.exists(path)

    def motions(self) -> set[str]:
        """List the keys of all cached motions."""
        motions = Folder.at(self.absolute(self.motions_at), self.folder.patience_s)
        return {layout.stem(path) for path in motions.find() if path.endswith(".safetensors")}

    def put_blob(self, uri: str, local: str) -> Blob:
        """Publish a finished local file whole."""
        blob = Blob.of(uri, local)
        folder, path = self._place(uri)
        folder.put_whole(path, local)
        return blob

    def share_blob(self, uri: str, local: str) -> Blob:
        """Publish a blob that others may make too: the first stays, and only its maker names the content."""
        with open(local, "rb") as stream:
            data = stream.read()
        folder, path = self._place(uri)
        return Blob.of(uri, local) if folder.create_once(path, data) else Blob(uri)

    def fetch(self, uri: str) -> AbstractContextManager[str]:
        """Give a local path with the blob's bytes; see `files.fetch`."""
        return fetch(self.absolute(uri), self.folder.patience_s)

    def absolute(self, uri: str) -> str:
        """Return the blob's URI as other programs can open it."""
        return absolute(self.url, uri)

    # --- records

    def commit(self, record: Record) -> bool:
        """Write the record, then drop its attempt notes. False where another attempt has committed before."""
        won = self.folder.create_once(layout.record(record.key), record.to_json().encode())
        if record.strikes:
            notes = self._list(layout.attempt_notes(record.key), ".json")
            self.folder.remove_all(path for path in notes if layout.key_of(path) == record.key)
        return won

    def record(self, key: str) -> Record | None:
        try:
            return Record.from_json(self.folder.read(layout.record(key)))
        except FileNotFoundError:
            return None

    def keys(self) -> set[str]:
        """List the keys of all committed samples."""
        return {layout.stem(path) for path in self._list(layout.RECORDS, ".json")}

    def index(self) -> Index:
        """Look at what the run holds: the index columns of its parts, and the records in none of them."""
        # Parts first: a record is there before any part names it, so one that is then missing was deleted.
        parts = {part: list(results.read_entries(self.folder.fs, part)) for part in self._parts()}
        keys = self.keys()
        entries = {entry.key: entry for found in parts.values() for entry in found if entry.key in keys}
        loose = tuple(self._read(keys - entries.keys()))
        return Index(
            entries | {record.key: Entry.of(record) for record in loose},
            {part: frozenset(entry.key for entry in found) for part, found in parts.items()},
            loose,
        )

    def records(self, index: Index | None = None) -> Iterator[Record]:
        """Yield every record; a failed one is left out when its id has succeeded since (a mended row).

        With an `index`, those that it names.
        """
        index = self.index() if index is None else index
        failed = index.failed
        wanted = {key for key, entry in index.items() if entry.ok or entry.id in failed}
        for part in index.parts:
            for record in results.read_records(self.folder.fs, part):
                if record.key in wanted:
                    wanted.discard(record.key)
                    yield record
        yield from (record for record in index.loose if record.key in wanted)

    def compact(self, records: Iterable[Record]) -> str | None:
        """Write the records as one more results part; return its URI."""
        rows = [as_row(record, self.url) for record in records]
        if not rows:
            return None
        uri = layout.new_part()
        self.folder.overwrite(uri, results.to_parquet(rows))
        return uri

    def forget(self, keys: Iterable[str]) -> None:
        """Make samples run again: their rows, attempt notes and records go, in this order."""
        gone = set(keys)
        if gone:
            self._forget_rows(gone, self._parts())
            self.folder.remove_all(map(layout.record, gone))

    def forget_deleted(self, index: Index) -> None:
        """Take rows out of the parts whose records someone had deleted by the time of `index`."""
        gone = index.deleted  # their records stay: any that is there now is a new one
        if gone:
            self._forget_rows(gone, [part for part, keys in index.parts.items() if keys & gone])

    # --- attempts

    def note_strike(self, key: str, attempt: str, strike: ErrorNote) -> None:
        """Persist a failed attempt, before anything is tried again."""
        self.folder.overwrite(layout.attempt_note(key, attempt), json.dumps(strike.to_dict()).encode())

    def strikes(self) -> dict[str, list[ErrorNote]]:
        """Return failed attempts of unfinished samples, by key, oldest first."""
        found: dict[str, list[ErrorNote]] = defaultdict(list)
        paths = self._list(layout.ATTEMPTS, ".json")
        for path, data in zip(paths, self.folder.read_all(paths), strict=True):
            found[layout.key_of(path)].append(ErrorNote.from_dict(json.loads(data)))
        return {key: sorted(notes, key=lambda note: note.at) for key, notes in found.items()}

    # --- inside

    def _place(self, uri: str) -> tuple[Folder, str]:
        """Return the folder that a blob is in, the run's or one of shared motions, and its path there."""
        if self.absolute(uri) != uri:
            return self.folder, uri
        return Folder.holding(uri, self.folder.patience_s)

    def _read_json(self, uri: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self.folder.within(CREATE_PATIENCE_S).read(uri)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as problem:
            raise MotionEchoError(f"{self.absolute(uri)} is damaged: {problem}") from problem

    def _list(self, folder: str, suffix: str) -> list[str]:
        return [path for path in self.folder.find(folder) if path.endswith(suffix)]

    def _parts(self) -> list[str]:
        return self._list(layout.RESULTS, ".parquet")

    def _forget_rows(self, keys: set[str], parts: Iterable[str]) -> None:
        for part in parts:
            rest = results.without(self.folder.fs, part, keys)
            if rest is not None:
                self.folder.overwrite(part, rest)
        notes = self._list(layout.ATTEMPTS, ".json")
        self.folder.remove_all(path for path in notes if layout.key_of(path) in keys)

    def _read(self, keys: Iterable[str]) -> Iterator[Record]:
        paths = [layout.record(key) for key in sorted(keys)]
        for path, data in zip(paths, self.folder.read_all(paths), strict=True):
            try:
                yield Record.from_json(data)
            except MotionEchoError as problem:
                raise MotionEchoError(f"{self.absolute(path)}: {problem}") from problem
