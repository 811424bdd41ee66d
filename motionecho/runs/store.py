"""One run directory on any fsspec URL: run.json, blobs, and the records of `ledger.py`.

The names of what is in it are `layout.py`'s, which the modules of this package share. Blobs that no record
names are leftovers of attempts that died; who may remove them, and when, is `cleanup.py`'s.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

from motionecho.errors import Damaged, Misplaced, UserError
from motionecho.runs import layout, leases
from motionecho.runs.files import HURRIED_S, PATIENCE_S, fetch
from motionecho.runs.folder import Folder
from motionecho.runs.keys import CODE_EPOCH, differences, digest
from motionecho.runs.ledger import Ledger
from motionecho.runs.notes import Blob
from motionecho.runs.places import Place
from motionecho.runs.records import Record
from motionecho.runs.results import KEYED, Index, read_rows
from motionecho.runs.sealed import read_object
from motionecho.runs.tables import as_row

CREATE_PATIENCE_S = HURRIED_S
RUN_KINDS = {"identity": dict, "about": dict | None, "motions": str | None}  # of what run.json says
T = TypeVar("T")


class RunStore(Ledger):
    """A store of one run; cheap to construct, so every process makes its own from the URL.

    `motions` is where a new run keeps inverted references, to share them with others; run.json remembers it.
    """

    def __init__(self, url: str, patience_s: float = PATIENCE_S, motions: str | None = None) -> None:
        super().__init__(Folder.at(url, patience_s))
        self.shared = motions and Folder.at(motions).url

    # --- the run as a whole

    def refuse_other(self, identity: Mapping[str, Any]) -> None:
        """Raise UserError where the place holds a run of another identity, or cannot be read."""
        known = self._hurried(self.run)
        if known is None:
            return
        self.refuse_other_epoch()
        changed = differences(known.get("identity", {}), json.loads(json.dumps(identity)))
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

    def create(self, identity: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
        """Write run.json, or check it: True for a new run, False for one that is continued.

        `identity` decides results and has to agree with what is there; `about` only informs.
        Raises UserError where the place cannot be written or holds a run of another identity.
        """
        words = {"schema_version": 1, "identity": identity, "motions": self.shared, "about": about}
        body = json.dumps(words, indent=1).encode()
        there = self._hurried(self.run)
        if there is None and self._hurried(lambda: self._quick.create_once(layout.RUN, body)):
            return True
        self.refuse_other(identity)
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
        """Return run.json, or None where there is no run; UserError where it cannot be made sense of."""
        way_out = (
            "delete that one file and submit again with the run's settings: what is finished is kept, as it "
            "is named by its content"
        )
        found = self._read_json(layout.RUN, way_out)
        if found is None:
            return None
        version = found.get("schema_version")
        if version != 1:
            raise UserError(
                f"{self.absolute(layout.RUN)} has schema {version!r}, this version reads 1: update motionecho"
            )
        wrong = [name for name, kinds in RUN_KINDS.items() if not isinstance(found.get(name), kinds)]
        if wrong:
            raise UserError(
                f'{self.absolute(layout.RUN)} is damaged: its "{wrong[0]}" makes no sense; {way_out}'
            )
        return found

    def take_lease(
        self,
        role: leases.Role,
        rows: Mapping[str, Iterable[str]] | None = None,
        tell: Callable[[str], object] = lambda message: None,
    ) -> leases.Lease:
        """Take a lease on the place, as `Lease.take` does; what is committed here needs it from then on."""
        self.lease = self._hurried(lambda: leases.Lease.take(self.folder, role, rows, tell))
        return self.lease

    def words(self, now: float | None = None) -> list[leases.Word]:
        """Return the last words of all drivers and sweepers, oldest first, with their ages at `now`."""
        return leases.read(self.folder, now)

    def end(self, word: leases.Word) -> None:
        """Say for a driver that was killed that it has ended."""
        self.put_text(layout.lease(word.life), json.dumps({**word.says, "ended": True}))

    def rows(self, name: str) -> frozenset[str] | None:
        """Return the keys of a driver's rows, by the name its word has for them; None where they are lost."""
        try:
            lines = self.folder.read(layout.rows(name)).decode()
        except (FileNotFoundError, ValueError):
            return None
        return frozenset(lines.split()) if digest(lines)[: len(name)] == name else None

    def outcomes(self, index: Index, wanted: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
        """Yield a row of the results table for every sample that `index` has a whole record of.

        A row has KEYED and the columns whose name is `wanted`; no record is read that a part holds.
        """
        left = {key: entry.generation for key, entry in index.items() if not entry.to_do}
        for part, keys in index.parts.items():
            try:
                rows = self._rows(part, wanted)
            except (FileNotFoundError, Damaged):
                continue  # as in `records`
            for row in rows:
                key, generation = (row.get(name) for name in KEYED)
                if key in keys and left.get(key) == (generation or 1):
                    del left[key]
                    yield row
        rest = (read for _, read in self.read(left) if isinstance(read, Record))
        loose = (record for record in index.loose if left.pop(record.key, None))
        for record in chain(loose, rest):
            row = as_row(record, self.url)
            yield {name: value for name, value in row.items() if name in KEYED or wanted(name)}

    def note_job(self, job: Mapping[str, Any]) -> None:
        """Remember the Ray job that drives this run: its address and id, never what it may open with."""
        self.put_text(layout.JOB, json.dumps({"schema_version": 1, **job}))

    def job(self) -> dict[str, Any] | None:
        """Return the job that was last submitted for this run, or None; UserError where that is damaged."""
        found = self._read_json(layout.JOB, "look for the job in Ray's own list, and delete that file")
        if found is not None and not (found.get("address") and found.get("id")):
            raise UserError(f"{self.absolute(layout.JOB)} is damaged: it names no job; delete that file")
        return found

    def put_text(self, uri: str, text: str) -> None:
        self.folder.overwrite(uri, text.encode())

    def first_canary(self, trace: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the trace that the run's first worker left, which is `trace` if there is none to be read."""
        body = json.dumps(trace).encode()
        try:
            if self.folder.create_once(layout.CANARY, body):
                return trace
            return read_object(self.folder.read(layout.CANARY))
        except Misplaced:  # a note that can neither be read nor written: this worker has none to agree with
            return trace
        except Damaged:  # a later worker is compared with this one
            self.folder.overwrite(layout.CANARY, body)
            return trace

    # --- blobs, by URI relative to the run

    @cached_property
    def motions_at(self) -> str:
        """Where motions are: a folder of the run, or the place it shares with other runs."""
        return self.shared or (self.run() or {}).get("motions") or layout.MOTIONS

    def motion_uri(self, motion_key: str) -> str:
        return layout.motion(motion_key, self.motions_at)

    text_uri = staticmethod(layout.text)
    video_uri = staticmethod(layout.video)
    stats_uri = staticmethod(layout.stats)
    preview_uri = staticmethod(layout.preview)
    features_uri = staticmethod(layout.features)
    record_uri = staticmethod(layout.record)
    sent_uri = staticmethod(layout.sent)  # what a job was sent: its manifest and clips
    sheet_uri, moving_uri = layout.SHEET, layout.MOVING
    sets_uri, canary_uri = layout.SETS, layout.CANARY

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

    def texts(self) -> set[str]:
        """List the keys of all encoded texts."""
        return {layout.stem(path) for path in self.folder.find(layout.TEXTS)}

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

    # --- inside

    @property
    def _quick(self) -> Folder:
        return self.folder.within(CREATE_PATIENCE_S)

    def _hurried(self, action: Callable[[], T]) -> T:
        """Do something with the place before a run has begun; UserError where that fails."""
        try:
            return action()
        except UserError:
            raise
        except Exception as problem:
            raise UserError(f'cannot write to "{self.url}": {problem}') from problem

    def _place(self, uri: str) -> tuple[Folder, str]:
        """Return the folder that a blob is in, the run's or one of shared motions, and its path there."""
        if self.absolute(uri) != uri:
            return self.folder, uri
        return Folder.holding(uri, self.folder.patience_s)

    def _rows(self, part: str, wanted: Callable[[str], bool]) -> list[dict[str, Any]]:
        return read_rows(self._part(part), wanted)

    def _read_json(self, uri: str, way_out: str) -> dict[str, Any] | None:
        try:
            return read_object(self._quick.read(uri))
        except FileNotFoundError:
            return None
        except Misplaced as problem:
            raise UserError(str(problem)) from problem
        except Damaged as problem:
            raise UserError(f"{self.absolute(uri)} is damaged: {problem}; {way_out}") from problem


def refuse_within(stores: Iterable[RunStore], url: str) -> None:
    """Raise UserError where a place is within a run that it is made of: that is the run's own folder."""
    place = Folder.at(url).url
    for store in stores:
        if f"{_real(place)}/".startswith(f"{_real(store.url)}/"):
            raise UserError(f'"{Place(place)}" is within the run "{store.url}": name a place outside of it')


def _real(url: str) -> str:
    return url.rstrip("/") if "://" in url else os.path.realpath(url)
