"""A record looked up, by a run and a sample or by its own file, and its files compared with it."""

import os
from dataclasses import dataclass, field
from typing import Literal

from motionecho.errors import BadSample, Damaged, Transient, UserError
from motionecho.runs import layout
from motionecho.runs.files import HURRIED_S, fetch, is_local, open_url
from motionecho.runs.keys import file_digest
from motionecho.runs.places import Place
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore

State = Literal["as recorded", "unsaid", "missing", "damaged", "unread", "foreign"]


@dataclass(frozen=True)
class RecordedFile:
    """A file that a record names, and whether it is as recorded; "unsaid" where it has no digest there.

    "foreign" is one that is no file of the run: it is not looked at, as a stranger's record may name any.
    """

    file: str
    bytes: int | None
    sha256: str | None
    state: State


@dataclass(frozen=True)
class Looked:
    """A record with its files; `root` is the place of its run, None where that is not known."""

    record: Record
    root: str | None
    files: tuple[RecordedFile, ...] = field(default=())

    @property
    def whole(self) -> bool:
        """Tell whether no file is missing or another than was recorded."""
        return all(each.state in ("as recorded", "unsaid") for each in self.files)


def record_of(run: str, sample: str) -> tuple[Record, str | None]:
    """Return the record of a sample, by its id or key, and its run; of several that which was made."""
    store = RunStore(run)
    if store.run() is None:
        raise UserError(f'there is no run at "{store.url}": no run.json in it')
    index = store.index()
    named = [entry for entry in index.values() if sample in (entry.id, entry.key)]
    if not named:
        raise UserError(f'no record of "{store.url}" has the id or key "{sample}"')
    entry = max(named, key=lambda entry: (entry.key == sample, entry.ok))
    try:
        found = store.record(entry.key)
    except Damaged as problem:
        raise UserError(str(problem)) from problem
    if found is None:
        raise UserError(f'the record of "{sample}" was deleted a moment ago')
    return found, store.url


def record_at(place: str) -> tuple[Record, str | None]:
    """Return the record in a JSON file, and the run that it lies in, if it does."""
    try:
        with fetch(place, HURRIED_S) as path, open(path, "rb") as stream:
            record = Record.from_json(stream.read())
    except (BadSample, Transient) as problem:
        raise UserError(str(problem)) from problem
    except Damaged as problem:
        raise UserError(
            f'"{Place(place)}" is no record of motionecho, or not as it was written: {problem}'
        ) from problem
    local = is_local(open_url(place)[0])
    whole = os.path.abspath(place) if local else str(Place(place))
    own = f"/{layout.record(record.key, record.generation)}"
    return record, whole.removesuffix(own) if whole.endswith(own) else None


def look(record: Record, root: str | None) -> Looked:
    """Compare the files that a record names with it."""
    if root is None:
        return Looked(record, None)
    store, files, motion = RunStore(root, HURRIED_S), [], record.motion_key or ""
    shared = layout.is_own(layout.motion(motion))  # it may lie elsewhere, under a name that layout gives
    for blob in (*record.blobs, *([record.motion] if record.motion else [])):
        state: State = "unsaid"
        try:
            if not layout.is_own(blob.uri) and not (shared and blob.uri == store.motion_uri(motion)):
                state = "foreign"
            elif not store.exists(blob.uri):
                state = "missing"
            elif blob.sha256:
                with store.fetch(blob.uri) as path:
                    state = "as recorded" if file_digest(path) == blob.sha256 else "damaged"
        except (Transient, BadSample, UserError):
            state = "unread"
        files.append(RecordedFile(blob.uri, blob.bytes, blob.sha256, state))
    return Looked(record, root, tuple(files))
