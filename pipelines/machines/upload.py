"""Take a manifest, its settings and an engine file to where a cluster can read them: the run's own place.

Under `inputs/`, named by content, every run gets its settings, and a remote one also the manifest, a local
engine file and every local clip; submitting again copies no clip twice. A run in a folder is on a disk that
the cluster shares (or is this machine's), where all but the settings can be read as they are.
"""

import json
import os
from typing import Any

from motionecho.errors import UserError
from motionecho.manifest import BadRow, Sample, read_manifest
from motionecho.runs.files import fetch, is_local, open_url
from motionecho.runs.forgotten import Forgotten, forgotten
from motionecho.runs.keys import digest, file_digest
from motionecho.runs.parallel import in_order
from motionecho.runs.places import Place
from motionecho.runs.store import RunStore

PARALLEL = 8


def ship(manifest: str, store: RunStore) -> str:
    """Return a URL of the manifest that means the same on every machine; UserError where it is unreadable.

    Rows of a clip that the run was told to forget are left out: neither it nor its name goes there again.
    """
    rows = read_manifest(manifest)
    if store.folder.is_local:
        refuse_secret(Place(manifest), "the manifest")
        return _path(manifest)
    for row in rows:
        for place in (Place(row.reference), Place(row.video or "")) if isinstance(row, Sample) else ():
            refuse_secret(place, f'row {row.row} of manifest "{manifest}"')
    clips = {row.reference for row in rows if isinstance(row, Sample)}
    out = forgotten(store)
    copies = in_order(lambda uri: _copy(uri, store, out), sorted(clips), PARALLEL)
    places = {clip: copy for clip, copy in zip(sorted(clips), copies, strict=True) if copy}
    kept = [row for row in rows if isinstance(row, BadRow) or row.reference in places]
    lines = [json.dumps(_portable(row, places), ensure_ascii=False) for row in kept]
    uri = store.sent_uri(f"manifest-{digest(lines)[:16]}.jsonl")
    store.put_text(uri, "\n".join(lines) + "\n")
    return store.absolute(uri)


def ship_engine(path: str | None, store: RunStore) -> str | None:
    """Return a URL or shared path of an engine file, as `ship` does of a manifest."""
    if path is None:
        return None
    refuse_secret(Place(path), "the engine file")
    if store.folder.is_local or not is_local(open_url(path)[0]):
        return _path(path)
    try:
        with open(_path(path), encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f'cannot read engine file "{path}": {problem}') from problem
    uri = store.sent_uri(f"engine-{digest(text)[:16]}.yaml")
    store.put_text(uri, text)
    return store.absolute(uri)


def ship_text(place: str, store: RunStore) -> str:
    """Return a URL of a small file that a job reads; a copy in the run's place, named by content."""
    refuse_secret(Place(place), f'"{place}"')
    with fetch(place) as path:
        uri = store.sent_uri(f"{file_digest(path)[:16]}-{Place(place).name}")
        store.put_blob(uri, path)
    return store.absolute(uri)


def ship_settings(text: str, store: RunStore) -> str:
    """Write a settings file into the run's place, named by content, and return its URL."""
    uri = store.sent_uri(f"settings-{digest(text)[:16]}.json")
    store.put_text(uri, text)
    return store.absolute(uri)


def refuse_secret(place: Place, what: str) -> None:
    """Raise UserError where a job would have to be told what opens a place: its words are shown to many."""
    if place.is_secret:
        raise UserError(
            f'{what}: "{place}" has a login or a signature, which a job is not told: name it as the '
            "cluster's own credentials open it, or copy it here and name the copy"
        )


def _path(place: str) -> str:
    """Return a place as another process can open it."""
    fs, path = open_url(place)
    return path if is_local(fs) else str(place)


def _copy(reference: str, store: RunStore, out: Forgotten) -> str | None:
    """Return where the clip can be read: itself where it is remote, or unreadable, which is told later.

    None where it is `out`.
    """
    fs, path = open_url(reference)
    if not is_local(fs):
        return reference
    try:
        sha256 = file_digest(path)
    except OSError:
        return None if out.has(reference) else reference
    if out.has(sha256):
        return None
    uri = store.sent_uri(f"{sha256[:2]}/{sha256[:32]}{os.path.splitext(path)[1]}")
    if not store.exists(uri):
        store.put_blob(uri, path)
    return store.absolute(uri)


def _portable(row: Sample | BadRow, places: dict[str, str]) -> dict[str, Any] | str:
    """Fill in everything that follows from a row's old place; a bad one stays as bad as it was."""
    if isinstance(row, Sample):
        return row.inputs() | {"reference": places[row.reference]}
    return row.inputs or row.reason
