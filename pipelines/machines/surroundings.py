"""The needs of a run, looked at before it takes its place: where one is not met, nothing is written."""

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from motionecho.errors import UserError
from motionecho.runs.store import RunStore
from motionecho.runs.waits import waiting

LEAST_FREE = 64 * 2**20  # bytes: Ray's own files, and a few videos
KNOCK_S = 10.0
KNOWN_HEAD = "ray/ray_current_cluster"  # below the folder for temporary files: what "auto" means


def check(store: RunStore, address: str) -> None:
    """Raise UserError where a run could not be carried out here, or nobody answers at Ray's `address`."""
    _check_room(_temporary(), "set TMPDIR to a folder with more")
    if store.folder.is_local:
        _check_room(store.url, "make room, or name another --out")
    knock(address)


def knock(address: str) -> None:
    """Raise UserError where nobody answers at Ray's `address`; Ray itself takes minutes to say so."""
    for host, port in _heads(address, _temporary()):
        try:
            with waiting(f"Ray at {address}"):
                socket.create_connection((host, port), KNOCK_S).close()
        except OSError as problem:
            raise UserError(
                f'nobody answers at Ray\'s "{address}" ({host}:{port}: {problem}): is it up? '
                "RAY_ADDRESS=local runs on this machine alone"
            ) from problem


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as problem:
        raise UserError(f"there is no folder for temporary files: {problem}; set TMPDIR to one") from problem


def _check_room(place: str, way_out: str) -> None:
    there = next(folder for folder in (Path(place), *Path(place).parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE:
        raise UserError(
            f'"{place}" has {free / 2**20:.0f} MiB left, and a run needs {LEAST_FREE / 2**20:.0f}: {way_out}'
        )


def _heads(address: str, temporary: str) -> Iterator[tuple[str, int]]:
    """Yield host and port of the cluster that is to be joined, where they are known; none for "local"."""
    if address == "auto":
        known = Path(temporary) / KNOWN_HEAD
        address = os.environ.get("RAY_ADDRESS") or (known.read_text() if known.is_file() else "")
    found = re.fullmatch(r"(?:ray://)?\[?([^/\s]+?)\]?:(\d+)", address.strip())
    if found:
        yield found[1], int(found[2])
