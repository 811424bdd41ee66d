"""Files that appear whole or not at all: written beside their place, then moved onto it."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from motionecho.errors import UserError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give the name of an empty temporary file beside `path`; it becomes `path` when the block ends well.

    On any exception the temporary file is removed and `path` is as before. Raises UserError where the
    folder is missing or not writable, or `path` is a folder.
    """
    target = os.fspath(path)
    folder, suffix = os.path.dirname(target) or ".", os.path.splitext(target)[1]
    if os.path.isdir(target):
        raise UserError(f'cannot write "{target}": it is a folder; name a file')
    try:
        handle, temporary = tempfile.mkstemp(prefix=".part-", suffix=suffix, dir=folder)
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise UserError(f'cannot write "{target}": there is no folder "{folder}"; make it first') from problem
    except PermissionError as problem:
        raise UserError(f'cannot write "{target}": no permission to write into "{folder}"') from problem
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, 0o644)  # mkstemp lets nobody else read
        _sync(temporary)
        os.replace(temporary, target)
    finally:
        _discard(temporary)


def put(path: str, fill: Callable[[str], object]) -> None:
    """Write `path` whole, over whatever is there, its folder made: `fill` gets the temporary file's name."""
    temporary = _beside(path)
    try:
        fill(temporary)
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        _discard(temporary)


def create(path: str, data: bytes) -> None:
    """Write a file that is not there yet, whole; FileExistsError where it is."""
    temporary = _beside(path)
    try:
        write(temporary, data)
        _sync(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links: last write wins
            os.replace(temporary, path)
    finally:
        _discard(temporary)


def write(path: str, data: bytes) -> None:
    """Write bytes as they come; not whole by itself."""
    with open(path, "wb") as stream:
        stream.write(data)


def _beside(path: str) -> str:
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as problem:  # a file has its name
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from problem
    handle, temporary = tempfile.mkstemp(prefix=".part-", dir=folder)
    os.close(handle)
    os.chmod(temporary, 0o644)  # mkstemp lets nobody else read
    return temporary


def _discard(path: str) -> None:
    with suppress(FileNotFoundError):
        os.remove(path)


def _sync(path: str) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
