"""A Ray of this process's own, that nobody else can join: on loopback, behind a token, in a private folder.

Whoever may talk to Ray runs code as the user who started it, with every credential of the environment.
"""

import logging
import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray

from motionecho.runs.waits import waiting
from pipelines.machines.reaper import reaped

DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Workers are niced by 15 otherwise: on a busy machine the run then all but stands still.
    "RAY_worker_niceness": "0",
}
# Films that wait to be published, a few for each GPU; more go to disk. Ray would take a third of the memory.
OBJECT_STORE_BYTES = 512 * 2**20
# Ray keeps sockets below this folder, whose whole paths may have about a hundred characters.
LONGEST_ROOT = 28


@contextmanager
def embedded(cores: int) -> Iterator[None]:
    """Have Ray with so many cores for the time of a block; raises what `ray.init` does where it cannot."""
    with _private_folder() as folder, reaped(folder):
        token = folder / "token"
        # Not the token itself: what prints or records an environment must not open the door.
        token.write_text(secrets.token_hex(32))
        door = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_AUTH_TOKEN": None}
        try:
            with (
                environment(defaults(DEFAULTS) | door),
                _loopback(),
                _terminate_spared(),
                waiting("Ray to start on this machine"),
            ):
                _read_again()
                ray.init(
                    address="local",
                    num_cpus=cores,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=str(folder / "r"),
                )
            yield
        finally:
            ray.shutdown()
            _read_again()


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables, or unset those that are None, for the time of a block; Ray's processes inherit them."""
    before = {name: os.environ.get(name) for name in values}
    _put(values)
    try:
        yield
    finally:
        _put(before)


def defaults(values: Mapping[str, str]) -> dict[str, str | None]:
    """Leave out what the environment says already."""
    return {name: value for name, value in values.items() if name not in os.environ}


def _put(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder that no other user can enter: Ray opens its own to all, with sockets and logs."""
    root = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(root) > LONGEST_ROOT and os.path.isdir("/tmp"):
        root = "/tmp"
    # Ray's last processes may still be writing their logs when it goes.
    with tempfile.TemporaryDirectory(prefix="me-", dir=root, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _loopback() -> Iterator[None]:
    """Have Ray listen on loopback alone, as it does by itself where it knows no clusters (macOS, Windows).

    On Linux it looks for the address by which other machines reach this one, whatever it is told, and then
    listens on every interface.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _read_again() -> None:
    """Have this process's Ray read the environment again, which it read when it was imported."""
    from ray import _raylet

    inside: Any = _raylet
    inside.Config.initialize("")
    inside.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _terminate_spared() -> Iterator[None]:
    """Have processes started within the block ignore SIGTERM, as Ray itself has them ignore Ctrl-C.

    `timeout`, Slurm and supervisors signal the whole process group: without this, Ray's own processes die of
    it and the driver has nothing left to drain with. A blocked signal stays blocked across fork and exec; one
    that comes meanwhile ends the block as Ctrl-C does.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    # of threads that were there before, which do not block it, one may be given the signal: that wakes no
    # main thread from a long call, but is written to this pipe
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    woken = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    noted: Any = lambda *_: None  # noqa: E731  # the watcher sees to it
    handler = signal.signal(signal.SIGTERM, noted)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    started, taken, interrupt = threading.Event(), threading.Event(), signal.getsignal(signal.SIGINT)

    def take(number: int, frame: Any) -> None:
        taken.set()
        if callable(interrupt):
            interrupt(number, frame)

    if callable(interrupt):
        signal.signal(signal.SIGINT, take)

    def watch() -> None:
        while not started.is_set():
            there = signal.sigtimedwait({signal.SIGTERM}, 0.2) is not None
            with suppress(BlockingIOError):
                there |= signal.SIGTERM in os.read(read, 64) and signal.getsignal(signal.SIGTERM) is noted
            if there:
                # one that comes just before a long call begins does not end it: again, until it was taken
                while not (taken.is_set() or started.is_set()):
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    if signal.getsignal(signal.SIGINT) is not take:
                        return
                    taken.wait(0.2)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        started.set()
        watcher.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.set_wakeup_fd(woken)
        os.close(read)
        os.close(write)
        if signal.getsignal(signal.SIGTERM) is noted:  # Ray has not set its own
            signal.signal(signal.SIGTERM, handler)
        if signal.getsignal(signal.SIGINT) is take:
            signal.signal(signal.SIGINT, interrupt)
