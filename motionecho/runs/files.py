"""Files on any fsspec URL: opened, fetched whole, told apart, and which failures of a store may pass.

Stores stumble for seconds or minutes; `patiently` waits that out with jitter, because the file in hand has
cost minutes of computing.
"""

import errno
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import fsspec
from fsspec.core import url_to_fs

from motionecho.errors import BadSample, MotionEchoError, Transient, UserError

T = TypeVar("T")
PATIENCE_S = 180.0
HURRIED_S = 20.0  # before a run has begun: a wrong address should be told soon
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
    """Tell whether repeating the same request cannot help."""
    by_number = isinstance(problem, OSError) and problem.errno in PERMANENT_ERRNO
    return isinstance(problem, PERMANENT) or by_number or type(problem).__name__ in PERMANENT_NAMES


def unreachable(problem: Exception) -> bool:
    """Tell whether no one is at the store's address: an outage in a run, a wrong address before."""
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
    """Make a local path absolute, so that it means the same from every folder; URLs stay."""
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


def _or_bad_sample(uri: str, action: Callable[[], T]) -> T:
    try:
        return action()
    except FileNotFoundError as problem:
        raise BadSample(f'"{uri}" does not exist') from problem
    except PermissionError as problem:
        raise BadSample(f'no permission to read "{uri}": check the credentials of this machine') from problem
