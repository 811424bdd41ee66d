"""One run directory on any fsspec URL; the only code that knows its layout.

    run.json                           settings, weights, versions; written once, checked on resume
    progress.json                      the driver's last word; informs `status`, decides nothing
    job.json                           the Ray job that drives it, if one does; inputs/: what it was sent
    canary.json                        what the first worker made of a fixed tiny task
    motions/<ab>/<key>.safetensors     inverted references, by content; may be a place shared between runs
    videos/<ab>/<key>-<attempt>.mp4    stats/<ab>/<key>-<attempt>.parquet
    features/<ab>/<name>.npy           what set metrics compare (places of scores only), by content
    attempts/<ab>/<key>-<attempt>.json failed attempts of samples that are not finished yet
    records/<ab>/<key>.json            the commit: written last, names the blobs with their sha256
    results/part-*.parquet             compacted records: the manifest of outputs

Deleting a record makes its sample run again. Blobs no record names are leftovers of attempts that died.
"""

import json
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import fsspec

from motionecho.errors import MotionEchoError, UserError
from motionecho.runs import files, results
from motionecho.runs.files import fetch
from motionecho.runs.keys import differences, file_digest
from motionecho.runs.records import Record, absolute, as_row
from motionecho.runs.results import Entry

__all__ = ["RunStore", "fetch"]
CREATE_PATIENCE_S = files.HURRIED_S


class RunStore:
    """Reads and writes one run; cheap to construct, so every process makes its own from the URL.

    `motions` is where a new run keeps inverted references, to share them with others; run.json remembers it.
    """

    def __init__(self, url: str, patience_s: float = files.PATIENCE_S, motions: str | None = None) -> None:
        self.fs, self.root = files.open_url(url)
        self.url = _address(self.fs, self.root)
        self.patience_s = patience_s
        self.shared = motions and _address(*files.open_url(motions))

    # --- the run as a whole

    def create(self, identity: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
        """Write run.json, or check it: True for a new run, False for one that is continued.

        `identity` decides results and has to agree with what is there; `about` only informs.
        Raises UserError where the place cannot be written or holds a run of another identity.
        """
        words = {"schema_version": 1, "identity": identity, "motions": self.shared, "about": about}
        body = json.dumps(words, indent=1).encode()
        path = self._path("run.json")
        try:
            known = self.run()
            if known is None:
                if files.create_once(self.fs, path, body, CREATE_PATIENCE_S):
                    return True
                known = self.run() or {}
        except UserError:
            raise
        except Exception as problem:
            raise UserError(f'cannot write to "{self.url}": {problem}') from problem
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

    def run(self) -> dict[str, Any] | None:
        """Return run.json, or None where there is no run."""
        return self._read_json("run.json")

    def note_progress(self, progress: Mapping[str, Any]) -> None:
        files.overwrite(
            self.fs, self._path("progress.json"), json.dumps(progress).encode(), CREATE_PATIENCE_S
        )

    def progress(self) -> dict[str, Any] | None:
        """Return the driver's last word and when it was said, or None."""
        return self._read_json("progress.json")

    def note_job(self, job: Mapping[str, Any]) -> None:
        """Remember the Ray job that drives this run: its address and id, never what it may open with."""
        self.put_text("job.json", json.dumps({"schema_version": 1, **job}))

    def job(self) -> dict[str, Any] | None:
        """Return the job that was last submitted for this run, or None."""
        return self._read_json("job.json")

    def put_text(self, uri: str, text: str) -> None:
        files.overwrite(self.fs, self._path(uri), text.encode(), self.patience_s)

    def first_canary(self, trace: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the trace that the run's first worker left, which is `trace` if there was none."""
        body = json.dumps(trace).encode()
        if files.create_once(self.fs, self._path("canary.json"), body, self.patience_s):
            return trace
        return self._read_json("canary.json") or trace

    # --- blobs, by URI relative to the run

    @cached_property
    def motions_at(self) -> str:
        """Where motions are: a folder of the run, or the place it shares with other runs."""
        return self.shared or (self.run() or {}).get("motions") or "motions"

    def motion_uri(self, motion_key: str) -> str:
        return f"{self.motions_at}/{motion_key[:2]}/{motion_key}.safetensors"

    def video_uri(self, key: str, attempt: str) -> str:
        return f"videos/{key[:2]}/{key}-{attempt}.mp4"

    def stats_uri(self, key: str, attempt: str) -> str:
        return f"stats/{key[:2]}/{key}-{attempt}.parquet"

    def features_uri(self, name: str) -> str:
        return f"features/{name[:2]}/{name}.npy"

    def exists(self, uri: str) -> bool:
        fs, path = self._place(uri)
        return bool(files.patiently(lambda: fs.exists(path), self.patience_s))

    def motions(self) -> set[str]:
        """Keys of all cached motions, by one listing."""
        fs, folder = self._place(self.motions_at)
        return {
            _stem(path) for path in files.find(fs, folder, self.patience_s) if path.endswith(".safetensors")
        }

    def put_blob(self, uri: str, local: str) -> dict[str, Any]:
        """Publish a finished local file whole; return {"uri", "sha256", "bytes"}."""
        return {"uri": uri} | files.put_whole(*self._place(uri), local, self.patience_s)

    def share_blob(self, uri: str, local: str) -> dict[str, Any]:
        """The same for a blob that others may make too: the first stays, and only its maker names it."""
        with open(local, "rb") as stream:
            data = stream.read()
        first = files.create_once(*self._place(uri), data, self.patience_s)
        return {"uri": uri} | ({"sha256": file_digest(local), "bytes": len(data)} if first else {})

    def fetch(self, uri: str) -> AbstractContextManager[str]:
        """Give a local path with the blob's bytes; see `files.fetch`."""
        return fetch(self.absolute(uri), self.patience_s)

    def absolute(self, uri: str) -> str:
        """Return the blob's URI as other programs can open it."""
        return absolute(self.url, uri)

    # --- records

    def commit(self, record: Record) -> bool:
        """Write the record, then drop its attempt notes. False where another attempt has committed before."""
        won = files.create_once(
            self.fs, self._path(_record_uri(record.key)), record.to_json().encode(), self.patience_s
        )
        if record.strikes:
            files.remove_all(self.fs, self._list(f"attempts/{record.key[:2]}", ".json", start=record.key))
        return won

    def record(self, key: str) -> Record | None:
        path = self._path(_record_uri(key))
        try:
            return Record.from_json(files.patiently(lambda: self.fs.cat_file(path), self.patience_s))
        except FileNotFoundError:
            return None

    def keys(self) -> set[str]:
        """Keys of all committed samples, by one listing."""
        return {_stem(path) for path in self._list("records", ".json")}

    def index(self) -> dict[str, Entry]:
        """Return one entry a committed sample, reading only records that are in no part yet."""
        keys = self.keys()
        found: dict[str, Entry] = {}
        for part in self._parts():
            found |= {entry.key: entry for entry in results.read_entries(self.fs, part) if entry.key in keys}
        return found | {record.key: Entry.of(record) for record in self._read(keys - found.keys())}

    def records(self) -> Iterator[Record]:
        """Yield every record; a failed one is left out when its id has succeeded since (a mended row)."""
        index = self.index()
        succeeded = {entry.id for entry in index.values() if entry.ok}
        wanted = {key for key, entry in index.items() if entry.ok or entry.id not in succeeded}
        for part in self._parts():
            for record in results.read_records(self.fs, part):
                if record.key in wanted:
                    wanted.discard(record.key)
                    yield record
        yield from self._read(wanted)

    def compact(self, records: Iterable[Record]) -> str | None:
        """Write the records as one more results part; return its URI."""
        rows = [as_row(record, self.url) for record in records]
        if not rows:
            return None
        uri = f"results/part-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}.parquet"
        files.overwrite(self.fs, self._path(uri), results.to_parquet(rows), self.patience_s)
        return uri

    def uncompacted(self) -> list[Record]:
        """Records that no part holds yet: what a driver that died left behind."""
        known = {entry.key for part in self._parts() for entry in results.read_entries(self.fs, part)}
        return list(self._read(self.keys() - known))

    def forget(self, keys: Iterable[str]) -> None:
        """Make samples run again: their rows, attempt notes and records go, in this order."""
        gone = set(keys)
        if not gone:
            return
        for part in self._parts():
            rest = results.without(self.fs, part, gone)
            if rest is not None:
                files.overwrite(self.fs, part, rest, self.patience_s)
        files.remove_all(
            self.fs, [path for path in self._list("attempts", ".json") if _stem(path).split("-")[0] in gone]
        )
        files.remove_all(self.fs, [self._path(_record_uri(key)) for key in gone])

    def forget_deleted(self) -> None:
        """Take rows out of the parts whose records someone deleted."""
        keys = self.keys()
        self.forget({e.key for part in self._parts() for e in results.read_entries(self.fs, part)} - keys)

    # --- attempts

    def note_strike(self, key: str, attempt: str, strike: Mapping[str, Any]) -> None:
        """Persist a failed attempt, before anything is tried again."""
        uri = f"attempts/{key[:2]}/{key}-{attempt}.json"
        files.overwrite(self.fs, self._path(uri), json.dumps(strike).encode(), self.patience_s)

    def strikes(self) -> dict[str, list[dict[str, Any]]]:
        """Failed attempts of unfinished samples, by key, oldest first."""
        found = defaultdict(list)
        paths = self._list("attempts", ".json")
        for path, data in zip(paths, files.read_all(self.fs, paths, self.patience_s), strict=True):
            found[_stem(path).split("-")[0]].append(json.loads(data))
        return {key: sorted(notes, key=lambda note: note.get("at", "")) for key, notes in found.items()}

    # --- inside

    def _place(self, uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
        return files.open_url(self.absolute(uri))

    def _path(self, uri: str) -> str:
        return f"{self.root}/{uri}"

    def _read_json(self, uri: str) -> dict[str, Any] | None:
        try:
            data = files.patiently(lambda: self.fs.cat_file(self._path(uri)), CREATE_PATIENCE_S)
            return dict(json.loads(data))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as problem:
            raise MotionEchoError(f"{self._path(uri)} is damaged: {problem}") from problem

    def _list(self, folder: str, suffix: str, start: str = "") -> list[str]:
        paths = files.find(self.fs, self._path(folder), self.patience_s)
        names = ((path, path.rsplit("/", 1)[-1]) for path in paths)
        return [path for path, name in names if name.endswith(suffix) and name.startswith(start)]

    def _parts(self) -> list[str]:
        return self._list("results", ".parquet")

    def _read(self, keys: Iterable[str]) -> Iterator[Record]:
        paths = [self._path(_record_uri(key)) for key in sorted(keys)]
        for path, data in zip(paths, files.read_all(self.fs, paths, self.patience_s), strict=True):
            try:
                yield Record.from_json(data)
            except MotionEchoError as problem:
                raise MotionEchoError(f"{path}: {problem}") from problem


def _record_uri(key: str) -> str:
    return f"records/{key[:2]}/{key}.json"


def _address(fs: fsspec.AbstractFileSystem, path: str) -> str:
    return path if files.is_local(fs) else str(fs.unstrip_protocol(path))


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
