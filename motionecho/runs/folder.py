"""A folder on any fsspec URL, whose files appear whole or not at all.

An object store has no rename and a local file can be seen half written, so nothing is ever streamed to its
final name: bytes are complete on local disk first.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self, TypeVar

import fsspec
from fsspec.implementations.dirfs import DirFileSystem

from motionecho.errors import Misplaced, UserError
from motionecho.runs import local
from motionecho.runs.faults import status_of
from motionecho.runs.files import PATIENCE_S, fetch, is_local, open_url, patiently
from motionecho.runs.parallel import in_order
from motionecho.runs.places import Place

T = TypeVar("T")


@dataclass(frozen=True)
class Listed:
    """A file as a store lists it: its size, and when it was changed, in seconds by the store's own clock."""

    bytes: int
    changed: float | None


@dataclass(frozen=True)
class Folder:
    """A place of whole files, named by their paths within it; it need not exist yet.

    `url` is the folder's own, a plain path where it is local. What a store refuses for a moment is asked for
    again for up to `patience_s` seconds; see `files.patiently`, also for what is raised in the end.
    """

    url: str
    fs: DirFileSystem  # takes paths within the folder, too
    patience_s: float = PATIENCE_S

    @classmethod
    def at(cls, url: str, patience_s: float = PATIENCE_S) -> Self:
        """Make the folder of a URL or path; UserError where it is not opened, or has a login or signature."""
        fs, path = _open(url)
        text = path if is_local(fs) else str(url).rstrip("/")
        path = path if path == "/" else path.rstrip("/")
        return cls(text, DirFileSystem(path, fs, skip_instance_cache=True), patience_s)

    @classmethod
    def holding(cls, url: str, patience_s: float = PATIENCE_S) -> tuple[Self, str]:
        """Return the folder that a file's URL is in, and the file's name there."""
        fs, path = _open(url)
        parent, _, name = path.rpartition("/")
        scheme, _, rest = url.partition("://")
        text = (parent or "/") if is_local(fs) else f"{scheme}://{rest.rpartition('/')[0]}"
        return cls(text, DirFileSystem(parent or "/", fs, skip_instance_cache=True), patience_s), name

    def within(self, patience_s: float) -> Self:
        """Return this folder with another patience."""
        return replace(self, patience_s=patience_s)

    @property
    def is_local(self) -> bool:
        return is_local(self.fs.fs)

    def absolute(self, path: str) -> str:
        """Return a file's path or URL as other programs can open it."""
        return f"{self.url.rstrip('/')}/{path}"

    # --- reading

    def fetch(self, path: str) -> AbstractContextManager[str]:
        """Give a local path with the file's bytes; see `files.fetch`."""
        return fetch(self.absolute(path), self.patience_s)

    def read(self, path: str) -> bytes:
        """Return the bytes of a small file; FileNotFoundError where there is none, Misplaced for a folder."""
        return bytes(self._patiently(lambda: self.fs.cat_file(path)))

    def exists(self, path: str) -> bool:
        """Tell whether a file is there; raises where that cannot be told, for which `fs.exists` says no."""
        return self.look(path) is not None

    def look(self, path: str) -> "Listed | None":
        """Return a file's size and time of change by the store itself, None where there is no such file."""
        self._forget_listings()
        try:
            info = self._patiently(lambda: self.fs.info(path))
        except FileNotFoundError:
            return None
        return None if info.get("type") == "directory" else _listed(info)

    def find(self, folder: str = "") -> list[str]:
        """List all files below a folder as they are now, sorted; unfinished ones (dot files) left out."""
        return sorted(path for path in self.listed(folder) if not path.rsplit("/", 1)[-1].startswith("."))

    def listed(self, folder: str = "", deep: bool = True) -> dict[str, "Listed"]:
        """Map every file in a folder as it is now, unfinished or not, to its size and time of change.

        Those in folders within it are left out unless it is `deep`.
        """
        self._forget_listings()
        depth = None if deep else 1
        found = self._patiently(lambda: self.fs.find(folder, maxdepth=depth, detail=True))
        return {path: _listed(info) for path, info in sorted(found.items())}

    def clock(self, folder: str = "") -> float | None:
        """Return the time as the store has it, by the time of change of a file made for it.

        In seconds, to be compared with those of `listed`; None where the store tells no times.
        """
        path = f"{folder}/.clock-{secrets.token_hex(4)}".lstrip("/")
        self.overwrite(path, b"")
        try:
            return _listed(self._patiently(lambda: self.fs.info(path))).changed
        finally:
            self.remove_all([path])

    # --- writing

    def put_whole(self, path: str, file: str) -> None:
        """Publish a finished local file at `path` in one go."""
        if self.is_local:
            self._patiently(lambda: local.put(self._path(path), lambda to: shutil.copyfile(file, to)))
        else:
            self._patiently(lambda: self.fs.put_file(file, path))

    def overwrite(self, path: str, data: bytes) -> None:
        """Write `data` at `path`, whole, over whatever is there."""
        if self.is_local:
            self._patiently(lambda: local.put(self._path(path), lambda to: local.write(to, data)))
        else:
            self._patiently(lambda: self.fs.pipe_file(path, data))

    def create_once(self, path: str, data: bytes) -> bool:
        """Create `path` with `data` unless it exists; False where it holds something else already.

        Atomic on a local disk (hard link) and on stores with conditional PUT; elsewhere last write wins.
        """

        def create() -> bool:
            try:
                if self.is_local:
                    local.create(self._path(path), data)
                else:
                    self._create_remotely(path, data)
                return True
            except OSError:
                # Lost the race, or our own earlier PUT went through and only its answer was lost.
                self._forget_listings()
                try:
                    return bool(self.fs.cat_file(path) == data)
                except FileNotFoundError:
                    pass  # it was refused for another reason
                raise

        return self._patiently(create)

    def refuses_twice(self, path: str) -> bool:
        """Tell whether the store itself refuses to create a file that is there, as `create_once` needs it.

        Where it does not, it writes over the file.
        """
        before, other = self.read(path), b"other"
        with suppress(OSError, NotImplementedError, ValueError):
            if self.is_local:
                local.create(self._path(path), other)
            else:
                self.fs.pipe_file(path, other, mode="create")
        return self.read(path) == before

    def _create_remotely(self, path: str, data: bytes) -> None:
        try:
            self.fs.pipe_file(path, data, mode="create")
        except (OSError, NotImplementedError, ValueError) as problem:
            if status_of(problem) != 501 and not _unknown(problem):
                raise
            if self.fs.exists(path):  # a store that knows no conditions: the last write wins
                raise FileExistsError(path) from problem
            self.fs.pipe_file(path, data)

    def remove_all(self, paths: Iterable[str]) -> None:
        """Delete files that may be gone already, several at a time."""

        def remove(path: str) -> None:
            with suppress(FileNotFoundError):
                self._patiently(lambda: self.fs.rm_file(path))

        for _ in in_order(remove, paths):
            pass

    # --- inside

    def _patiently(self, action: Callable[[], T]) -> T:
        try:
            return patiently(action, self.patience_s, of=self.url)
        except (IsADirectoryError, NotADirectoryError) as problem:
            folder = isinstance(problem, IsADirectoryError)
            what = "is a folder and not a file" if folder else "cannot be: one of its folders is a file"
            where = problem.filename2 or problem.filename or problem
            raise Misplaced(f'"{where}" {what}; move that away') from problem

    def _path(self, path: str) -> str:
        return os.path.join(self.url, path)

    def _forget_listings(self) -> None:
        self.fs.fs.invalidate_cache()  # DirFileSystem's own forgets the folder, and not what is below


def _listed(info: Mapping[str, Any]) -> Listed:
    return Listed(int(info.get("size") or 0), _changed(info))


def _changed(info: Mapping[str, Any]) -> float | None:
    """Find the time of change in what a driver says of a file; each has a name and a kind of its own."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "modified", "created"):
        value = info.get(name)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None


def _unknown(problem: BaseException) -> bool:
    """Tell an answer that says that a store does not know conditional writes, however its driver puts it."""
    said = f"{problem} {problem.__cause__}"
    return isinstance(problem, NotImplementedError) or "NotImplemented" in said or "not implemented" in said


def _open(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Open a place that many processes open, by a name that is stored."""
    fs, path = open_url(url)
    if Place(url).is_secret:
        raise UserError(
            f'"{Place(url)}" has a login or a signature; what is written or listed takes its credentials '
            "from the environment: name it without them"
        )
    return fs, path
