"""The place of an export: whose it is, what is in it, and what an export before left behind.

export.json           what it is made with, written first; counts are added when it has ended
.export/files.json    every file that it made or is about to make, of videos with sha256; no other is touched
.export/NAME.json     of a shard that is whole: what it holds, written after it
    .export/looks/        what videos looked like that were compared
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from motionecho import __version__
from motionecho.errors import Damaged, Misplaced, MotionEchoError, UserError
from motionecho.runs.files import HURRIED_S, PATIENCE_S
from motionecho.runs.folder import Folder, Listed
from motionecho.runs.keys import differences, file_digest
from motionecho.runs.sealed import read_object

NOTE, ABOUT = "export.json", ".export"
FILES, LOOKS = f"{ABOUT}/files.json", f"{ABOUT}/looks"
UNFINISHED = re.compile(r"\.part-\w{8}")  # what a process that was killed leaves beside a file on a disk


class Destination:
    """A folder, at any URL, that one export fills and may go on filling."""

    def __init__(self, url: str) -> None:
        self.folder = Folder.at(url, PATIENCE_S)
        self.url = self.folder.url

    def begin(self, settings: Mapping[str, Any], patterns: Sequence[str]) -> None:
        """Take the place for an export with these settings, or go on with it.

        Raises UserError, before anything is written, where it holds another export, anything else, a file of
        others whose path is like one of `patterns`, by which loaders find what is theirs; and where it cannot
        be written to.
        """
        try:
            there = self._note()
            if there is None:
                self._refuse_others()
            elif changed := differences(there.get("settings"), json.loads(json.dumps(settings))):
                raise UserError(
                    f'"{self.url}" holds an export with other settings: {"; ".join(changed)}. '
                    "Use those to go on with it, or another place"
                )
            else:
                self._refuse_among(patterns)
            self._write_note(settings, {})
        except MotionEchoError:
            raise
        except Exception as problem:  # of the place, before anything is begun
            raise UserError(f'cannot write to "{self.url}": {problem}') from problem
        if there is not None:
            self.folder.remove_all(self._unfinished())

    def end(self, settings: Mapping[str, Any], counts: Mapping[str, Any], files: Collection[str]) -> None:
        """Say that the export holds these files and is whole; remove those that it held before."""
        stale = {path for path in self.noted.keys() - {*files} if path in self.listed}
        self.folder.remove_all([*stale, *(mark_of(path) for path in stale)])
        self._put_json(FILES, {path: self.noted.get(path) for path in sorted(files)})
        self._write_note(settings, counts)

    def expect(self, files: Mapping[str, str | None]) -> None:
        """Note which files are about to be written, with the sha256 of those of which it is known.

        Of one that is there with other bytes none is noted, as it may be either while it is written over.
        """
        for path, sha256 in files.items():
            there = path in self.listed and sha256 not in (None, self.noted.get(path))
            self.noted[path] = None if there else sha256 or self.noted.get(path)
        self._put_json(FILES, dict(sorted(self.noted.items())))

    @cached_property
    def noted(self) -> dict[str, str | None]:
        """The files that are this export's; none where that note was not written or is not whole."""
        try:
            found = json.loads(self.folder.read(FILES))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def listed(self) -> dict[str, Listed]:
        """Every file that was there at the beginning."""
        return self.folder.listed()

    def put(self, path: str, data: bytes) -> None:
        """Write a small file whole, unless it is there as it should be: to the hub each is a commit."""
        there = self.folder.look(path)
        if there is None or there.bytes != len(data) or self.folder.read(path) != data:
            self.folder.overwrite(path, data)

    # --- files that are whole by themselves

    def holds(self, path: str, size: int, sha256: str | None) -> bool:
        """Tell whether a video was there, whole; of a remote one that is noted, to fetch nothing."""
        return self._is(path, size, sha256) and (self.folder.is_local or self.noted.get(path) == sha256)

    def put_video(self, path: str, data: bytes, sha256: str) -> None:
        """Write a video whole, and remember which it is."""
        self.folder.overwrite(path, data)
        self.noted[path] = sha256

    def holds_shard(self, path: str, rows: str) -> bool:
        """Tell whether a shard was there, whole, and made of these rows."""
        if mark_of(path) not in self.listed:
            return False
        try:
            mark = read_object(self.folder.read(mark_of(path)))
        except (FileNotFoundError, Damaged):
            return False
        size, sha256 = mark.get("bytes"), mark.get("sha256")
        return mark.get("rows") == rows and isinstance(size, int) and self._is(path, size, sha256)

    def put_shard(self, path: str, local: str, rows: str, size: int) -> None:
        """Publish a shard, and then that it is whole; without `rows` it is made again the next time."""
        self.drop_mark(path)
        self.folder.put_whole(path, local)
        if rows:
            self._put_json(mark_of(path), {"rows": rows, "sha256": file_digest(local), "bytes": size})

    def drop_mark(self, path: str) -> None:
        """Forget that a shard is whole, before it is written over."""
        if mark_of(path) in self.listed:
            self.folder.remove_all([mark_of(path)])

    def drop(self, path: str) -> None:
        """Remove a file that was there and is not what it should be."""
        if path in self.listed:
            self.folder.remove_all([path])

    # --- inside

    def _is(self, path: str, size: int, sha256: str | None) -> bool:
        """Tell whether a file was there and is of that size; on a disk, also whether its bytes are those."""
        found = self.listed.get(path)
        if found is None or found.bytes != size:
            return False
        return not self.folder.is_local or file_digest(self.folder.absolute(path)) == sha256

    def _note(self) -> dict[str, Any] | None:
        try:
            return read_object(self.folder.within(HURRIED_S).read(NOTE))
        except FileNotFoundError:
            return None
        except Misplaced as problem:
            raise UserError(str(problem)) from problem
        except Damaged as problem:
            raise UserError(
                f"{self.folder.absolute(NOTE)} is damaged: {problem}; export to another place"
            ) from problem

    def _refuse_others(self) -> None:
        others = [path for path in self.listed if not path.startswith(".")]
        if others:
            raise UserError(
                f'"{self.url}" holds "{others[0]}", and is no export: name a place with nothing in it'
            )

    def _refuse_among(self, patterns: Sequence[str]) -> None:
        for path in self.listed:
            like = not _name(path).startswith(".") and any(fnmatchcase(path, each) for each in patterns)
            if like and path not in self.noted:
                raise UserError(f'"{self.folder.absolute(path)}" is not of this export: move it away')

    def _unfinished(self) -> list[str]:
        """List what this export left half written: beside its own files, and on a disk alone."""
        folders = {_folder(path) for path in (NOTE, FILES, f"{LOOKS}/", *self.noted)}
        left = [path for path in self.listed if UNFINISHED.fullmatch(_name(path))]
        return [path for path in left if self.folder.is_local and _folder(path) in folders]

    def _write_note(self, settings: Mapping[str, Any], counts: Mapping[str, Any]) -> None:
        about: dict[str, Any] = {"schema_version": 1, "motionecho": __version__, "finished": bool(counts)}
        self._put_json(NOTE, about | {"settings": settings, **counts}, indent=1)

    def _put_json(self, path: str, value: Any, indent: int | None = None) -> None:
        self.put(path, json.dumps(value, ensure_ascii=False, indent=indent).encode())


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def mark_of(shard: str) -> str:
    """Name the note that says that a shard is whole."""
    return f"{ABOUT}/{shard.replace('/', '-')}.json"
