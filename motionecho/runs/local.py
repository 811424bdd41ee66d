"""Files that appear whole or not at all: written beside their place, then moved onto it."""

import os
import tempfile
from collections.abc import Iterator
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
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    finally:
        with suppress(FileNotFoundError):
            os.remove(temporary)
