"""The files of a run compared with its records, and these with the results: what is not as it was written.

Records are gone through in order. How far that is and what was found is kept in the run's place, so that a
verification that was stopped goes on where it was, unless records before that have changed. After a finished
one it begins anew.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Literal, Self

from motionecho.errors import Damaged, Transient
from motionecho.runs import layout
from motionecho.runs.folder import Folder
from motionecho.runs.keys import digest, file_digest
from motionecho.runs.notes import Blob, ErrorNote, now, read_as
from motionecho.runs.parallel import in_order
from motionecho.runs.records import Record
from motionecho.runs.results import Index
from motionecho.runs.sealed import read_object, sealed, unsealed
from motionecho.runs.store import RunStore

VERIFIED = f"{layout.REPORT}/verify.json"
EVERY = 200  # records between two notes of how far it is
GIVE_UP = 32  # records in a row with files that could not be read: then it is the store, and not a file
MOTION = "it is not whole, or an older version made it; it is made again when it is next used, or delete it"
TEXT = "it is not whole: delete it, and it is made again when it is next used"

ReadBlob = Callable[[str, str | None], object]  # given the local file and key of one, raises Damaged
Tell = Callable[["Verified", int], object]  # given the state, and how many records there are


@dataclass(frozen=True)
class Finding:
    """A file that is not as its record says: "damaged", "missing" or, where the store failed, "unread".

    `key` is that of the sample that has to be made again for it, if one has to.
    """

    what: Literal["damaged", "missing", "unread"]
    file: str
    problem: str
    id: str = ""
    key: str = ""


@dataclass
class Verified:
    """The state of a verification; `passed` is a digest of the records gone through, in order.

    `absent` counts motions that are not there, which is no fault: they are made again when they are used.
    `unkept` says why the state could not be written down, if so.
    """

    records: int = 0
    files: int = 0
    absent: int = 0
    passed: str = ""
    findings: list[Finding] = field(default_factory=list)
    finished: bool = False
    requeued: int = 0
    unkept: str = ""

    @classmethod
    def read(cls, store: RunStore) -> Self:
        """Read what the verification before left behind; where that makes no sense there was none."""
        try:
            return read_as(cls, unsealed(read_object(store.folder.read(VERIFIED))))
        except (FileNotFoundError, Damaged):
            return cls()

    def keep(self, store: RunStore) -> None:
        """Write this down; a place that cannot be written to is verified all the same."""
        try:
            store.put_text(VERIFIED, json.dumps(sealed(asdict(self)), indent=1))
        except Exception as problem:
            self.unkept = str(problem)

    def number(self, what: str) -> int:
        """Count the findings of a kind."""
        return sum(finding.what == what for finding in self.findings)

    def add(self, inspected: Iterable["Inspected"]) -> None:
        """Take records into account whose files were looked at."""
        for each in inspected:
            self.records += 1
            self.files += each.files
            self.absent += each.absent
            self.passed = _passed(self.passed, each.record)
            self.findings += each.findings


@dataclass
class Inspected:
    """A record whose files were looked at, and what that has shown."""

    record: Record
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    absent: bool = False  # its motion

    @property
    def unread(self) -> bool:
        return any(finding.what == "unread" for finding in self.findings)


def verify(
    store: RunStore,
    read_motion: ReadBlob,
    tell: Tell = lambda state, total: None,
    again: bool = False,
    read_text: ReadBlob | None = None,
) -> Verified:
    """Compare every file that a record names with it, and say what is not as it should be.

    With `again`, only what a finished verification has found is looked at. Encoded texts, which no record
    names, come last. Raises Transient where the store keeps failing; what was verified until then is kept.
    """
    index, before = store.index(), Verified.read(store)
    suspects = {finding.key for finding in before.findings if finding.key}
    if again and suspects and before.finished and not before.requeued:
        records: Iterator[Record] = (each for each in store.records(index) if each.key in suspects)
        state, motions = Verified(), set[str]()
    else:
        state, records, motions = _taken_up(store, index, Verified() if before.finished else before)

    def inspect(asked: tuple[Record, Blob | None]) -> Inspected:
        return _inspect(store, *asked, read_motion)

    waiting: list[Inspected] = []  # with files that could not be read; counted once those of another could
    kept = state.records
    tell(state, len(index))
    try:
        asked = ((record, _new_motion(record, motions)) for record in records)
        for found in in_order(inspect, asked):
            waiting.append(found)
            if found.unread and len(waiting) < GIVE_UP:
                continue
            if found.unread:
                raise Transient(
                    f"the store keeps failing: of {found.findings[-1].file}, {found.findings[-1].problem}"
                )
            state.add(waiting)
            waiting.clear()
            tell(state, len(index))
            if state.records - kept >= EVERY:
                kept = state.records
                state.keep(store)
        state.add(waiting)
        state.findings += [Finding("damaged", "", sentence) for sentence in index.damaged]
        state.findings += _wrong_texts(store, read_text) if read_text else []
        state.finished = True
    finally:
        state.keep(store)
    return state


def requeue(store: RunStore, state: Verified) -> int:
    """Have those samples made again whose files are damaged or missing; return how many. Deletes nothing."""
    found = {finding.key: finding for finding in reversed(state.findings) if finding.key}

    def one(record: Record) -> bool:
        finding = found[record.key]
        if finding.file not in (_file(record), *(blob.uri for blob in record.blobs)):
            return False  # someone has made it again since
        message = f"{finding.file} was {finding.what}: {finding.problem}"
        why = ErrorNote(kind="infra", name="Damaged", message=message, stage="verify", at=now())
        return store.requeue(record, why)

    state.requeued = sum(in_order(one, (each for each in store.records() if each.key in found)))
    state.keep(store)
    return state.requeued


def _taken_up(store: RunStore, index: Index, before: Verified) -> tuple[Verified, Iterator[Record], set[str]]:
    """Pass over what a verification before went through; begin anew where that has changed.

    Returns the state, the records that are left, and the motions that were looked at.
    """
    records, motions, passed = store.records(index), set[str](), ""
    for record in islice(records, before.records):
        passed = _passed(passed, record)
        _new_motion(record, motions)
    if passed == before.passed:
        return before, records, motions
    return Verified(), store.records(index), set()


def _passed(before: str, record: Record) -> str:
    return digest([before, record.key, record.generation])


def _new_motion(record: Record, motions: set[str]) -> Blob | None:
    """Return the record's motion unless it is among those looked at, and add it to them."""
    if record.motion is None or record.motion.uri in motions:
        return None
    motions.add(record.motion.uri)
    return record.motion


def _file(record: Record) -> str:
    return RunStore.record_uri(record.key, record.generation)


def _inspect(store: RunStore, record: Record, motion: Blob | None, read_motion: ReadBlob) -> Inspected:
    """Look at the files of a record: its own and, where one is given, the motion that it shares.

    Most records are read from the results, so that each is compared with its own file, too.
    """

    def whole(path: str) -> None:
        if motion and motion.sha256 != file_digest(path):  # which says no more than who made it
            try:
                read_motion(path, record.motion_key)
            except Damaged as problem:
                raise Damaged(MOTION) from problem

    own = [_wrong(store, blob.uri, partial(_compare, blob)) for blob in record.blobs]
    seen = Inspected(record, files=len(own))
    own.append(_wrong_itself(store, record))
    for wrong in filter(None, own):
        again = "" if wrong.what == "unread" else record.key
        seen.findings.append(replace(wrong, id=record.id, key=again))
    if motion:
        shared = _wrong(store, motion.uri, whole)
        seen.absent = shared is not None and shared.what == "missing"
        seen.files += not seen.absent
        seen.findings += [replace(shared, id=record.id)] if shared and not seen.absent else []
    return seen


def _wrong_itself(store: RunStore, record: Record) -> Finding | None:
    """Say what is wrong with a record's own file, where it was read from the results."""
    try:
        there = dict(store.read({record.key: record.generation})).get(record.key)
    except Exception as problem:  # whatever a store raises
        return Finding("unread", _file(record), f"it could not be read: {problem or type(problem).__name__}")
    if there is None:
        return Finding("missing", _file(record), "it is not there")
    if isinstance(there, Damaged):
        return Finding("damaged", _file(record), str(there))
    same = there == record
    return None if same else Finding("damaged", _file(record), "it is not the record that the results hold")


def _wrong_texts(store: RunStore, read_text: ReadBlob) -> list[Finding]:
    """Say which encoded texts are not whole, each by its own digest."""

    def whole(path: str, key: str) -> None:
        try:
            read_text(path, key)
        except Damaged as problem:
            raise Damaged(TEXT) from problem

    uris = {store.text_uri(key): key for key in sorted(store.texts())}
    found = in_order(lambda uri: _wrong(store, uri, partial(whole, key=uris[uri])), uris)
    return [finding for finding in found if finding]


def _compare(blob: Blob, path: str) -> None:
    size = os.path.getsize(path)
    if blob.bytes not in (None, size):
        raise Damaged(f"it has {size} bytes and not {blob.bytes}")
    if blob.sha256 not in (None, file_digest(path)):
        raise Damaged("its bytes are not those that were written")


def _wrong(store: RunStore, uri: str, whole: Callable[[str], None]) -> Finding | None:
    """Say what is wrong with a file; `whole` raises Damaged where a local copy of it is."""
    try:
        folder, name = Folder.holding(store.absolute(uri), store.folder.patience_s)
        if folder.look(name) is None:
            return Finding("missing", uri, "it is not there")
        with store.fetch(uri) as path:
            whole(path)
    except Damaged as problem:
        return Finding("damaged", uri, str(problem))
    except Exception as problem:  # whatever a store raises says nothing of the file
        return Finding("unread", uri, f"it could not be read: {problem or type(problem).__name__}")
    return None
