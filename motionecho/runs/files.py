"""Files in any place: opened, fetched whole, told apart, and which failures of a store are waited out.

Stores stumble for seconds or minutes; `patiently` waits that out with jitter, because the file in hand has
cost minutes of computing.
"""

import os
import random
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import fsspec
from fsspec.callbacks import Callback

from motionecho.errors import BadSample, Transient, Unreachable, UserError
from motionecho.runs.faults import TooSlow, asks_to_wait, fault_of, permanent, unreachable
from motionecho.runs.places import Place, check, local_path, opened
from motionecho.runs.urls import WEB, is_url, protocol_of, told
from motionecho.runs.waits import waiting

T = TypeVar("T")
PATIENCE_S = 180.0
HURRIED_S = 20.0  # before a run has begun: a wrong address should be told soon
LARGEST = 4 << 30  # bytes of a file that is fetched
SLOWEST, SLOW_AFTER_S = 1000, 30.0  # bytes a second below which it is given up, after so many seconds
MARKS = ("ETag", "etag", "md5Hash", "content_md5", "blob_id", "mtime",
         "Last-Modified", "LastModified", "last_modified", "updated")  # fmt: skip
# botocore waits a minute for a connection, five times over; `patiently` is what waits here.
BOTO = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2, "mode": "standard"}}
PROMPT = {name: {"config_kwargs": BOTO} for name in ("s3", "s3a")}


def patiently(
    action: Callable[[], T],
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
    fault: Callable[[Exception], Exception] | None = None,
    clock: Callable[[], float] = time.monotonic,
    of: str = "a store",
) -> T:
    """Return `action()`, repeated with growing jittered pauses for up to `patience_s` seconds in all.

    The tries count, too. A server that asks for a longer pause gets it. Raises what `action` raised where
    repeating cannot help, Transient when patience runs out, and UserError at once where nobody answers and
    the caller is in a hurry (up to HURRIED_S); in each of these cases what `fault` makes of the last
    exception, where that is given. `of` is what is said to be waited for.
    """
    with waiting(of):
        return _patiently(action, patience_s, sleep, fault, clock)


def _patiently(
    action: Callable[[], T],
    patience_s: float,
    sleep: Callable[[float], None],
    fault: Callable[[Exception], Exception] | None,
    clock: Callable[[], float],
) -> T:
    waited, pause = 0.0, 0.5
    while True:
        began = clock()
        try:
            return action()
        except Exception as problem:
            last = problem
        waited += clock() - began
        nap = max(pause * random.uniform(0.5, 1.5), asks_to_wait(last))
        nobody = patience_s <= HURRIED_S and unreachable(last)
        if permanent(last) or nobody or waited + nap > patience_s:
            break
        sleep(nap)
        waited, pause = waited + nap, min(pause * 2, 30.0)
    if fault is not None:
        raise fault(last)
    if permanent(last):
        raise last
    if nobody:
        where = told(str(last)).replace('"', "")
        raise UserError(f"nobody answers at the store's address: {where}") from last
    raise Transient(f"the store kept failing for {waited:.0f} s: {told(str(last))}") from last


def open_url(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem behind a place and the path on it, as one protocol alone reads it.

    Raises UserError where it is not opened on purpose (see `places.check`), or no driver is installed.
    """
    check(url)
    protocol, text = protocol_of(opened(url)), opened(url)
    if protocol == "file":
        return fsspec.filesystem("file"), local_path(text)
    try:
        driver, text = _driver(protocol), protocol + text[len(protocol) :]
        fs = driver(**PROMPT.get(protocol, {}) | driver._get_kwargs_from_urls(text))
        path = str(driver._strip_protocol(text))
    except (ImportError, ValueError) as problem:
        raise UserError(f'cannot open "{Place(url)}": {Place(url).told(str(problem))}') from problem
    return fs, path if path == "/" or protocol in WEB else path.rstrip("/")


def _driver(protocol: str) -> Any:
    if protocol in WEB:
        try:
            from motionecho.runs.web import Web
        except ImportError as problem:
            raise ImportError("pip install 'motionecho[web]' for http(s)") from problem
        return Web
    return fsspec.get_filesystem_class(protocol)


def is_local(fs: fsspec.AbstractFileSystem) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return "file" in protocols


def absolute(path: str) -> str:
    """Make a local path absolute, so that it means the same from every folder; URLs stay."""
    return path if is_url(path) else os.path.abspath(path)


def version_of(uri: str, patience_s: float = PATIENCE_S) -> str:
    """Return a short token that changes when the file behind `uri` does; cheap, no download.

    It is empty where a store tells no more of a file than its size. Raises as `fetch` does.
    """
    fs, path = _open_to_read(uri)
    info = _read(uri, lambda: fs.info(path), patience_s)
    if info.get("type") == "directory":
        raise BadSample(f'"{Place(uri)}" is a folder, not a video file')
    found = [str(info[mark]).strip('"') for mark in MARKS if info.get(mark) is not None]
    return "-".join([*found, str(info.get("size"))]) if found else ""


@contextmanager
def fetch(uri: str, patience_s: float = PATIENCE_S) -> Iterator[str]:
    """Give a local path with the bytes of `uri`: the file itself where it is local, else a temporary copy.

    Raises NotThere where there is no such file, another BadSample where it is no file or too large, and
    Unreachable, which is nobody's row's fault, where it cannot be had now.
    """
    fs, path = _open_to_read(uri)
    if is_local(fs):
        _read(uri, lambda: _look(path), patience_s)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="motionecho-") as folder:
        local = os.path.join(folder, re.sub(r"[^\w.-]", "_", Place(uri).name)[-80:] or "file")
        _read(uri, lambda: fs.get_file(path, local, callback=_Bound(uri)), patience_s)
        yield local


def _open_to_read(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        return open_url(uri)
    except UserError as problem:
        if isinstance(problem.__cause__, ImportError):  # this machine lacks a driver: others may have it
            raise Unreachable(str(problem)) from problem
        raise


def _read(uri: str, action: Callable[[], T], patience_s: float) -> T:
    return patiently(action, patience_s, fault=partial(fault_of, uri), of=_store_of(uri))


def _store_of(uri: str) -> str:
    """Name the store of a file: a word about each is enough."""
    return "/".join(Place(uri).split("/")[:3]) if is_url(uri) else "the disk"


def _look(path: str) -> None:
    """Raise what reading a local file would; never waits for one who writes into a pipe."""
    kind = os.stat(path).st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(path)
    if not stat.S_ISREG(kind):
        raise BadSample(f'"{path}" is not a file')
    with open(path, "rb"):
        pass


class _Bound(Callback):
    """A watch over the bytes that arrive: a server may not say how many come, or say it wrongly."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.uri, self.began = uri, time.monotonic()

    def set_size(self, size: int | None) -> None:
        self._check(size or 0)

    def absolute_update(self, value: int) -> None:
        self.value = value
        self._check(value)

    def relative_update(self, inc: int = 1) -> None:
        self.absolute_update(self.value + inc)

    def _check(self, size: int) -> None:
        if size > LARGEST:
            raise BadSample(
                f'"{Place(self.uri)}" has more than {LARGEST / 2**30:g} GiB, which is not fetched: cut it, '
                "or copy it to a disk and name that"
            )
        passed = time.monotonic() - self.began
        if passed > SLOW_AFTER_S and size < SLOWEST * passed:
            raise TooSlow(f"it comes at {size / passed:.0f} bytes a second")
