"""The lease of a process whose store stumbles, and of one that waits for what will not end."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from motionecho.errors import Transient, UserError
from motionecho.runs import layout, leases, local
from motionecho.runs.folder import Folder
from motionecho.runs.leases import LEASE_S, Lease


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.at(str(tmp_path / "run"))


@pytest.fixture
def silent(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """A driver's lease that was not renewed for a while, in which others may have come."""
    lease = Lease.take(folder, "driver")
    later = leases._passed() + LEASE_S
    monkeypatch.setattr(leases, "_passed", lambda: later)
    return lease


def test_a_look_that_failed_is_had_again(silent: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    silent.folder.overwrite(layout.lease("other"), b'{"role": "sweeper", "ended": true}')
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "clock", lambda *words: (_ for _ in ()).throw(Transient("it is away")))
        with pytest.raises(Transient, match="it is away"):
            silent.check()
    with pytest.raises(Transient, match=r"sweeper other.* came while this driver was silent for 900 s"):
        silent.check()


def test_a_lease_waits_for_its_store_once_it_is_taken(silent: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    put, refusals = local.put, [ConnectionRefusedError("nobody answers")]

    def stumbles(*words: Any) -> None:
        if refusals:
            raise refusals.pop()
        put(*words)

    monkeypatch.setattr(local, "put", stumbles)
    silent.check()
    assert not refusals


def test_of_many_threads_one_renews(silent: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = []
    overwrite = Folder.overwrite

    def slowly(self: Folder, path: str, data: bytes) -> None:
        if path == layout.lease(silent.life):
            spoken.append(path)
            time.sleep(0.1)  # the others come meanwhile
        overwrite(self, path, data)

    monkeypatch.setattr(Folder, "overwrite", slowly)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: silent.check(), range(8)))
    assert len(spoken) == 1


def test_a_driver_waits_for_no_sweeper_of_a_time_to_come(folder: Folder) -> None:
    folder.overwrite(layout.lease("dead"), b'{"role": "sweeper"}')
    os.utime(folder.absolute(layout.lease("dead")), (4e9, 4e9))
    way_out = r"nothing was begun: sweeper dead is deleting on .*delete progress/dead\.json there, whose time"
    with pytest.raises(UserError, match=way_out):
        Lease.take(folder, "driver")
    os.remove(folder.absolute(layout.lease("dead")))
    Lease.take(folder, "driver").end({})
