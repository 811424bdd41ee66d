"""Whole files on any fsspec URL: fetched whole, published whole, or not at all.

An object store has no rename and a local file can be seen half written, so nothing is ever streamed to its
final name: bytes are complete on local disk first. Stores also stumble for seconds or minutes; `patiently`
waits that out with jitter, because the file in hand has cost minutes of computing.
"""

import errno
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import fsspec
from fsspec.core import url_to_fs

from motionecho.errors import BadSample, MotionEchoError, Transient, UserError
from motionecho.runs.keys import file_digest

T = TypeVar("T")
PATIENCE_S = 180.0
HURRIED_S = 20.0  # before a run has begun: a wrong address should be told soon
PARALLEL = 16
# Waiting does not mend these; anything else a store raises may pass.
PERMANENT = (
    FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError,
    ValueError, TypeError, KeyError, ImportError, MotionEchoError,
)  # fmt: skip
PERMANENT_ERRNO = {errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}
UNREACHABLE_NAMES = {"EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError"}
# botocore waits a minute for a connection, five times over; `patiently` is what waits here.
PROMPT = {"s3": {"config_kwargs": {"connect_timeout": 5, "retries": {"max_attempts": 2, "mode": "standard"}}}}
PERMANENT_NAMES = {"NoCredentialsError", "PartialCredentialsError", "ParamValidationError"}  # botocore's


def permanent(problem: Exception) -> bool:
    """True where repeating the same request cannot help."""
    by_number = isinstance(problem, OSError) and problem.errno in PERMANENT_ERRNO
    return isinstance(problem, PERMANENT) or by_number or type(problem).__name__ in PERMANENT_NAMES


def unreachable(problem: Exception) -> bool:
    """True where there is no one at the store's address: an outage in a run, a wrong address before."""
    return isinstance(problem, ConnectionRefusedError) or type(problem).__name__ in UNREACHABLE_NAMES


def patiently(
    action: Callable[[], T], patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Return `action()`, repeated with growing jittered pauses for up to `patience_s` seconds in all.

    Raises what `action` raised where repeating cannot help, Transient when patience runs out, and UserError
    at once where nobody answers and the caller is in a hurry (up to HURRIED_S).
    """
    waited, pause = 0.0, 0.5
    while True:
        try:
            return action()
        except Exception as problem:
            if permanent(problem):
                raise
            if patience_s <= HURRIED_S and unreachable(problem):
                where = str(problem).split("?")[0].replace('"', "")
                raise UserError(f"nobody answers at the store's address: {where}") from problem
            nap = pause * random.uniform(0.5, 1.5)
            if waited + nap > patience_s:
                raise Transient(f"the store kept failing for {waited:.0f} s: {problem}") from problem
            sleep(nap)
            waited, pause = waited + nap, min(pause * 2, 30.0)


def open_url(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem behind `url` and the path on it; UserError where no driver is installed."""
    protocol = url.split("://")[0] if "://" in url else "file"
    try:
        fs, path = url_to_fs(url, **PROMPT.get(protocol, {}))
    except (ImportError, ValueError) as problem:
        raise UserError(f'cannot open "{url}": {problem}') from problem
    return fs, path.rstrip("/") if path != "/" else path


def is_local(fs: fsspec.AbstractFileSystem) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return "file" in protocols


def absolute(path: str) -> str:
    """A local path from the root, so that it means the same from every folder; URLs stay."""
    return path if "://" in path else os.path.abspath(path)


def version_of(uri: str) -> str:
    """Return a short token that changes when the file behind `uri` does; cheap, no download.

    Raises BadSample where there is no such file.
    """
    fs, path = open_url(uri)
    info = _or_bad_sample(uri, lambda: patiently(lambda: fs.info(path)))
    if info.get("type") == "directory":
        raise BadSample(f'"{uri}" is a folder, not a video file')
    marks = (
        "ETag",
        "etag",
        "md5Hash",
        "content_md5",
        "mtime",
        "LastModified",
        "last_modified",
        "updated",
        "size",
    )
    return "-".join(str(info[mark]).strip('"') for mark in marks if info.get(mark) is not None)


@contextmanager
def fetch(uri: str, patience_s: float = PATIENCE_S) -> Iterator[str]:
    """Give a local path with the bytes of `uri`: the file itself where it is local, else a temporary copy.

    Raises BadSample where there is no such file or no access, Transient where the store keeps failing.
    """
    fs, path = open_url(uri)
    if is_local(fs):
        if not os.path.isfile(path):
            raise BadSample(f'"{path}" does not exist or is not a file')
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
        local = os.path.join(folder, os.path.basename(path))
        _or_bad_sample(uri, lambda: patiently(lambda: fs.get_file(path, local), patience_s))
        yield local


def put_whole(
    fs: fsspec.AbstractFileSystem, path: str, local: str, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """Publish the local file at `path` in one go; return its {"sha256", "bytes"}."""

    def put() -> None:
        if not is_local(fs):
            fs.put_file(local, path)
            return
        temporary = _temporary_beside(path)
        try:
            shutil.copyfile(local, temporary)
            _sync(temporary)
            os.replace(temporary, path)
        finally:
            _discard(temporary)

    sha256, size = file_digest(local), os.path.getsize(local)
    patiently(put, patience_s)
    return {"sha256": sha256, "bytes": size}


def create_once(
    fs: fsspec.AbstractFileSystem, path: str, data: bytes, patience_s: float = PATIENCE_S
) -> bool:
    """Create `path` with `data` unless it exists; False where it holds something else already.

    Atomic on a local disk (hard link) and on stores with conditional PUT; elsewhere last write wins.
    """

    def create() -> bool:
        try:
            if is_local(fs):
                _link_new(path, data)
            else:
                fs.pipe_file(path, data, mode="create")
            return True
        except OSError:
            # Lost the race, or our own earlier PUT went through and only its answer was lost.
            fs.invalidate_cache()
            if fs.exists(path):
                return bool(fs.cat_file(path) == data)
            raise

    return patiently(create, patience_s)


def overwrite(fs: fsspec.AbstractFileSystem, path: str, data: bytes, patience_s: float = PATIENCE_S) -> None:
    """Write `data` at `path`, whole, over whatever is there."""
    if not is_local(fs):
        patiently(lambda: fs.pipe_file(path, data), patience_s)
        return
    with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
        local = os.path.join(folder, "whole")
        with open(local, "wb") as stream:
            stream.write(data)
        put_whole(fs, path, local, patience_s)


def find(fs: fsspec.AbstractFileSystem, folder: str, patience_s: float = PATIENCE_S) -> list[str]:
    """List all files below a folder as they are now, sorted; unfinished ones (dot files) left out."""
    fs.invalidate_cache()
    paths: list[str] = patiently(lambda: fs.find(folder), patience_s)
    return sorted(path for path in paths if not path.rsplit("/", 1)[-1].startswith("."))


def read_all(
    fs: fsspec.AbstractFileSystem, paths: Iterable[str], patience_s: float = PATIENCE_S
) -> Iterator[bytes]:
    """Yield the bytes of many small files in order, several read at a time."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        yield from pool.map(lambda path: patiently(lambda: fs.cat_file(path), patience_s), paths)


def remove_all(fs: fsspec.AbstractFileSystem, paths: Iterable[str], patience_s: float = PATIENCE_S) -> None:
    """Delete files that may be gone already, several at a time."""

    def remove(path: str) -> None:
        with suppress(FileNotFoundError):
            patiently(lambda: fs.rm_file(path), patience_s)

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(remove, paths))


def _or_bad_sample(uri: str, action: Callable[[], T]) -> T:
    try:
        return action()
    except FileNotFoundError as problem:
        raise BadSample(f'"{uri}" does not exist') from problem
    except PermissionError as problem:
        raise BadSample(f'no permission to read "{uri}": check the credentials of this machine') from problem


def _link_new(path: str, data: bytes) -> None:
    temporary = _temporary_beside(path)
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links: last write wins
            os.replace(temporary, path)
    finally:
        _discard(temporary)


def _temporary_beside(path: str) -> str:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".part-", dir=folder)
    os.close(handle)
    os.chmod(temporary, 0o644)
    return temporary


def _discard(path: str) -> None:
    with suppress(FileNotFoundError):
        os.remove(path)


def _sync(path: str) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
