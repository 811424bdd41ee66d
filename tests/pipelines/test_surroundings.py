"""What is not as a run needs it: said before the place is taken, or soon, and nothing is left behind."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import fake_stages as fakes
import pytest
import ray

from motionecho.config import EchoConfig, RunSettings
from motionecho.errors import UserError
from motionecho.runs.store import RunStore
from pipelines.generate import Execution, run
from pipelines.machines import ray_cluster, reaper, surroundings
from pipelines.machines.ray_cluster import head_watched
from tests.patience import patience

SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
Usage = namedtuple("Usage", "total used free")
Manifest = Callable[..., str]


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "auto"])
def test_a_cluster_that_is_gone_is_told_before_the_place_is_taken(
    manifest: Manifest, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as free:  # bound, not listening
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        execution = Execution(address=address.format(port=port))
        with pytest.raises(UserError, match=f"nobody answers at Ray's .*127.0.0.1:{port}"):
            run(manifest(("fine one", "a.mp4")), SETTINGS, str(tmp_path / "out"), execution)
    assert not (tmp_path / "out").exists()


def test_the_head_that_auto_means_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    surroundings.check(RunStore(str(tmp_path / "out")), "auto")  # none is known: Ray says so itself
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1\n")
    with pytest.raises(UserError, match=r"nobody answers at Ray's \"auto\" \(127\.0\.0\.1:1"):
        surroundings.check(RunStore(str(tmp_path / "out")), "auto")


def test_a_disk_without_room_is_told_before_the_place_is_taken(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    table, out, usage = manifest(("fine one", "a.mp4")), tmp_path / "out", shutil.disk_usage

    def full(place: Path) -> object:
        return Usage(1 << 30, 1 << 30, 1 << 20) if str(place) == str(tmp_path) else usage(place)

    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(
        UserError, match='out" has 1 MiB left, and a run needs 64: make room, or name another'
    ):
        run(table, SETTINGS, str(out), Execution())
    assert not out.exists()


@pytest.mark.usefixtures("embedded_ray")
def test_a_disk_that_fills_up_stops_the_run_soon(manifest: Manifest, tmp_path: Path) -> None:
    rows = [("fine zero", "a.mp4"), *((f"full {n}", "a.mp4") for n in range(30))]
    execution = Execution(workers=1, backoff_s=0.01)
    summary = run(
        manifest(*rows), SETTINGS, str(tmp_path / "out"), execution, lambda now: None, None, fakes.FACTORY
    )
    assert "no room to write at" in str(summary.stopped)
    assert "No space left on device" in str(summary.stopped)
    assert (summary.failed, summary.left) == (0, 31 - summary.committed)
    made = sum(count for name, count in fakes.calls(str(tmp_path / "out")).items() if "generate-full" in name)
    assert made <= 4, "nothing is computed that cannot be published"


def test_what_belongs_to_a_killed_driver_is_ended_and_removed(tmp_path: Path) -> None:
    folder, told = tmp_path / "me-1", tmp_path / "pid"
    folder.mkdir()
    driver = f"""
import subprocess, sys, time
from pathlib import Path
from pipelines.machines.reaper import reaped
with reaped(Path({str(folder)!r})):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", {str(folder)!r}])
    Path({str(told)!r}).write_text(str(child.pid))
    time.sleep(600)
"""
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", driver], cwd=root)
    _until(told.exists)
    time.sleep(0.2)
    child = int(told.read_text())
    assert str(child) in {str(pid) for pid in reaper.belonging(str(folder))}
    process.send_signal(signal.SIGKILL)
    process.wait()
    _until(lambda: not _runs(child))
    _until(lambda: not folder.exists())


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + patience(seconds)
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def test_a_head_that_answers_no_more_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "GONE_S", 0.3)
    monkeypatch.setattr(ray_cluster, "LOOK_EVERY_S", 0.05)
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as head:
        place = f"127.0.0.1:{head.getsockname()[1]}"
        monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address=place))
        with head_watched(told.append):
            time.sleep(0.6)
            assert told == []
            head.close()
            _until(lambda: bool(told))
    assert told == [f"the cluster's head at {place} does not answer any more: submit again once it does"]


START = """
import os, signal, sys, time
import ray
from motionecho.errors import UserError
from pipelines.execution import Execution
from pipelines.machines import ray_cluster

def timed_out(**how):
    raise Exception("The current node timed out during startup.\\nThis could happen because ...")

def terminated(**how):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

def told_by_ray(**how):
    sys.exit(signal.SIGTERM)

ray.init = globals()[sys.argv[1]]
try:
    with ray_cluster.connected(Execution(address="local")):
        print("started")
except (KeyboardInterrupt, UserError) as end:
    print(type(end).__name__, end)
"""


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (
            "timed_out",
            "UserError cannot start Ray on this machine: The current node timed out during startup.",
        ),
        ("terminated", "KeyboardInterrupt "),
        ("told_by_ray", "KeyboardInterrupt "),
    ],
)
def test_a_start_that_does_not_come_to_an_end_is_told(start: str, told: str) -> None:
    """In a process of its own, since signals are a whole process's."""
    words = [sys.executable, "-c", START, start]
    done = subprocess.run(
        words,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(150),
    )
    assert done.stdout == f"{told}\n", done.stderr
