"""A reference and all that came of it, taken out of a run, and not let in again.

What it is to remove is written down first, in `forgotten/`, without the reference's name or digest: a removal
that was killed goes on from there, and a plan leaves out rows whose reference has a mark there. Of a sample
everything goes that bears its key; of what others share, such as tables and reports, what can be made anew.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import compress
from operator import not_
from typing import Any

from motionecho.errors import BadSample, Damaged, Transient
from motionecho.runs import layout
from motionecho.runs.cleanup import refuse_beside_makers, remove
from motionecho.runs.files import HURRIED_S, absolute, fetch
from motionecho.runs.forgotten import LISTS, mark_of, named, notes_of
from motionecho.runs.keys import KEY_LENGTH, digest, file_digest
from motionecho.runs.leases import Lease, Word
from motionecho.runs.notes import now
from motionecho.runs.parallel import in_order
from motionecho.runs.places import Place
from motionecho.runs.sealed import read_object
from motionecho.runs.store import RunStore

SHA256_LENGTH = 64
BEFORE = r"(?:(?<![\w.~/-])|(?<=\\[nrt])|(?<=file://))"  # where a path begins: also behind a newline of JSON
AFTER = r"(?![.~+-]*[\w/~])"  # and where it ends: a full stop may follow, ".bak" may not
LOOSE = ("message", "last", "running")  # of a driver's last word: texts that may name anything


@dataclass(frozen=True)
class Traced:
    """What came of a reference in one place: `files` with their bytes; `names` are its places and sha256s.

    `shared` are motions in a place that other runs use, `words` what drivers said of it last, and `before`
    the note of an earlier removal, finished or not.
    """

    names: frozenset[str] = frozenset()
    samples: tuple[str, ...] = ()  # ids
    keys: frozenset[str] = frozenset()
    files: dict[str, int] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    before: dict[str, Any] | None = None

    @property
    def found(self) -> bool:
        """Tell whether there is anything to remove, or a removal to be finished."""
        return bool(self.files or self.words or (self.before and not self.before["finished"]))


def is_sha256(name: str) -> bool:
    """Tell a digest from a place."""
    return len(name) == SHA256_LENGTH and not set(name) - set("0123456789abcdef")


def names_of(reference: str) -> set[str]:
    """Return what a reference may be known by: itself, and the digest of its bytes where it can be read."""
    if is_sha256(reference):
        return {reference}
    names = {named(absolute(Place(reference)))}
    with suppress(BadSample, Transient, OSError), fetch(reference, HURRIED_S) as path:
        names.add(file_digest(path))
    return names


def trace(store: RunStore, asked: Iterable[str]) -> Traced:
    """Find what came of the reference of these names, by every record of every generation."""
    uris = [uri for uri in store.folder.listed(layout.RECORDS) if uri.endswith(".json")]
    said = [*in_order(lambda uri: _Said.of_file(uri, _content(store, uri)), uris)]
    exact = {*asked}
    exact |= {each.sha256 for each in said if each.sha256 and each.of(exact)}
    names = exact | {place for each in said if each.sha256 and each.of(exact) for place in each.places}
    mine = [each.of(exact if each.sha256 else names) for each in said]  # a place may have had other bytes
    own, others = [*compress(said, mine)], [*compress(said, map(not_, mine))]
    keys, before = {each.key for each in own}, _before(store, names)
    keys |= {*before["keys"]} if before else set()
    files = dict(_bearing(store, keys, {each.key for each in said}, names))
    motions, shared = _motions(store, {each.motion for each in own if each.motion}, names)
    files |= motions | _features(store, own, others)
    words = tuple(word for word in store.words() if _names_it(json.dumps(dict(word.says)), names))
    if before and not before["finished"]:
        left = {*before["files"]}
        files |= {uri: n for uri, n in _removable(store) if mark_of(uri) in left}
    if files:  # pages and pictures of all samples
        files |= {uri: file.bytes for uri, file in store.folder.listed(layout.REPORT).items()}
    ids = tuple(sorted({each.id for each in own}))
    return Traced(frozenset(names), ids, frozenset(keys), files, shared, words, before)


def forget(store: RunStore, lease: Lease, traced: Traced) -> int:
    """Remove what was traced while the lease holds, and mark the reference; return how many files went.

    Records go first, so that none names what is gone; then rows of the results. Raises Transient where the
    lease was lost: the same again goes on.
    """
    marks = sorted({*map(mark_of, traced.names), *(traced.before or {"marks": ()})["marks"]})
    note: dict[str, Any] = {"schema_version": 1, "at": now(), "marks": marks, "keys": sorted(traced.keys)}
    refuse_beside_makers(store, traced.files)
    order = sorted(traced.files, key=lambda uri: (not uri.startswith(layout.RECORDS), uri))
    uri = layout.forgotten(digest(marks)[:KEY_LENGTH])
    old = [each for each, said in notes_of(store) if each != uri and {*said.get("marks", ())} & {*marks}]
    left = sorted(map(mark_of, order))  # a clip that a job was sent is named by its digest
    store.put_text(uri, json.dumps({**note, "finished": False, "files": left}))
    gone = remove(store, lease, order)
    for word in traced.words:
        if word.life != lease.life:
            says = {name: value for name, value in word.says.items() if name not in LOOSE}
            store.put_text(word.uri, json.dumps(says))
    store.tidy(store.index())
    store.put_text(uri, json.dumps({**note, "finished": True}))
    store.folder.remove_all(old)  # marks that this note has as well
    return gone


def still_named(store: RunStore, names: Iterable[str]) -> list[str]:
    """List files beside the records that name the reference still, such as settings in run.json."""
    folders = (uri for name in (layout.INPUTS, layout.PROGRESS) for uri in store.folder.find(name))
    return _telling(store, (layout.RUN, layout.JOB, layout.CANARY, *folders), {*names})


# --- inside


@dataclass(frozen=True)
class _Said:
    """What a record says of its reference, and of files that its own name does not lead to.

    Of one that cannot be read `text` has everything.
    """

    key: str
    id: str = ""
    places: frozenset[str] = frozenset()
    sha256: str | None = None
    motion: str | None = None
    features: frozenset[str] = frozenset()
    text: str = ""

    @classmethod
    def of_file(cls, uri: str, data: bytes) -> "_Said":
        key = layout.key_of(uri)
        try:
            record = read_object(data)
            reference, inputs = record.get("reference") or {}, record.get("inputs") or {}
            places = [each for each in (reference.get("uri"), inputs.get("reference")) if each]
            scores = [figure for row in (record.get("scores") or {}).values() for figure in row.values()]
            sha256, motion = reference.get("sha256"), record.get("motion_key")
            if not {type(sha256), type(motion)} <= {str, type(None)}:
                raise Damaged("a key or a digest that is no text")
        except (Damaged, AttributeError):
            return cls(key, text=data.decode(errors="replace"))
        features = {figure for figure in scores if isinstance(figure, str)}
        return cls(
            key,
            str(record.get("id")),
            frozenset(named(str(each)) for each in places),
            sha256,
            motion,
            frozenset(features),
        )

    def of(self, names: set[str]) -> bool:
        """Tell whether it is of the reference; a bad row's cell may be the end of its path."""
        if self.text:
            return _names_it(self.text, names)
        if self.sha256 in names or self.places & names:
            return True
        ends = tuple(f"/{place}" for place in self.places if not place.startswith("/") and "://" not in place)
        return bool(ends) and not self.sha256 and any(name.endswith(ends) for name in names)


def _bearing(
    store: RunStore, keys: set[str], everyone: set[str], names: set[str]
) -> Iterator[tuple[str, int]]:
    """Yield files that bear one of the keys or name the reference, with their size.

    What an attempt that died has left, a video without a record or half a file, may be of any reference.
    """

    def its(folder: str, uri: str) -> bool:
        key = layout.key_of(uri)
        unfinished = uri.rpartition("/")[2].startswith(".part-")
        stray = bool(keys) and (unfinished or (folder in layout.BLOBS and key not in everyone))
        return key in keys or stray

    texts: dict[str, int] = {}
    for folder in (layout.RECORDS, layout.ATTEMPTS, *layout.BLOBS):
        for uri, file in store.folder.listed(folder).items():
            if its(folder, uri):
                yield uri, file.bytes
            elif folder == layout.ATTEMPTS:
                texts[uri] = file.bytes
    sent = {name[:KEY_LENGTH] for name in names if is_sha256(name)}
    for uri, file in store.folder.listed(layout.INPUTS).items():
        if layout.stem(uri) in sent:
            yield uri, file.bytes
        elif "/" not in uri.removeprefix(f"{layout.INPUTS}/"):  # clips are in folders
            texts[uri] = file.bytes
    if canary := store.folder.look(layout.CANARY):
        texts[layout.CANARY] = canary.bytes
    yield from ((uri, texts[uri]) for uri in _telling(store, texts, names))


def _removable(store: RunStore) -> Iterator[tuple[str, int]]:
    """Yield the files that may be of a reference, with their size: no note has others removed."""
    for folder in (
        layout.RECORDS,
        layout.ATTEMPTS,
        *layout.BLOBS,
        layout.MOTIONS,
        layout.FEATURES,
        layout.INPUTS,
    ):
        yield from ((uri, file.bytes) for uri, file in store.folder.listed(folder).items())
    if canary := store.folder.look(layout.CANARY):
        yield layout.CANARY, canary.bytes


def _motions(store: RunStore, keys: set[str], names: set[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the run's motions of those keys, or of those digests as they say themselves, and shared ones."""
    at = store.motions_at
    if at != layout.MOTIONS:
        shared = (layout.motion(key, at) for key in sorted(keys))
        return {}, tuple(uri for uri in shared if store.exists(uri))
    listed = store.folder.listed(layout.MOTIONS)
    wanted = in_order(lambda uri: layout.stem(uri) in keys or _made_of(store, uri) in names, listed)
    return {uri: listed[uri].bytes for uri, mine in zip(listed, wanted, strict=True) if mine}, ()


def _made_of(store: RunStore, uri: str) -> str | None:
    """Return the digest of the reference that a motion says it was made of."""
    from safetensors import SafetensorError, safe_open

    try:
        with store.fetch(uri) as path, safe_open(path, "np") as tensors:
            says = json.loads((tensors.metadata() or {}).get("motionecho", "{}"))
    except (SafetensorError, ValueError, BadSample):  # damaged: its key, where a record has it, must do
        return None
    return says.get("reference_sha256") if isinstance(says, dict) else None


def _features(store: RunStore, own: list[_Said], others: list[_Said]) -> dict[str, int]:
    """Return files of features that only records of the reference name."""
    mine = {uri for said in own for uri in said.features}
    mine -= {uri for said in others for uri in said.features} if mine else set()
    listed = store.folder.listed(layout.FEATURES) if mine else {}  # a figure may be any text
    return {uri: listed[uri].bytes for uri in sorted(mine & listed.keys())}


def _before(store: RunStore, names: set[str]) -> dict[str, Any] | None:
    """Return what was noted when the reference was to be forgotten before; several notes as one."""
    marks = {*map(mark_of, names)}
    its = [note for _, note in notes_of(store) if marks & {*note.get("marks", ())}]
    if not its:
        return None
    lists = {name: sorted({each for note in its for each in note.get(name, ())}) for name in LISTS}
    at = min(str(note.get("at")) for note in its)
    return {**lists, "at": at, "finished": all(note.get("finished") for note in its)}


def _names_it(text: str, names: Iterable[str]) -> bool:
    """Tell whether a text, of JSON or of words, names the reference rather than a file of a longer name."""
    written = {form for name in names for form in (name, json.dumps(name)[1:-1])}
    found = (form for form in written if form in text)
    return any(is_sha256(form) or re.search(BEFORE + re.escape(form) + AFTER, text) for form in found)


def _telling(store: RunStore, uris: Iterable[str], names: set[str]) -> list[str]:
    """Return those of the files of text that name the reference."""
    uris = [*uris]
    told = in_order(lambda uri: _names_it(_content(store, uri).decode(errors="replace"), names), uris)
    return [*compress(uris, told)]


def _content(store: RunStore, uri: str) -> bytes:
    try:
        return store.folder.read(uri)
    except FileNotFoundError:
        return b""
