"""A driver that is stopped, kindly or not, loses nothing finished; submitting again does the rest."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_stages
import pytest

from motionecho.runs.store import RunStore
from tests.patience import patience

ROOT = Path(__file__).parents[2]
Manifest = Callable[..., str]
ROWS = [(f"slow {n}", "ab"[n % 2] + ".mp4") for n in range(12)]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a driver process of its own on a manifest; what is left of it is killed afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(manifest: str, *words: str) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        command = [
            sys.executable,
            str(ROOT / "tests" / "fake_stages.py"),
            manifest,
            str(tmp_path / "out"),
            *words,
        ]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def until_done(process: subprocess.Popen[str], count: int) -> None:
    """Read the driver's progress lines until so many samples are done."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("done", 0) >= count:
            return
    raise AssertionError("the driver ended early")


def last_line(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    assert process.wait(timeout=patience(60)) == 0
    return dict(json.loads(lines[-1]))


def check_complete(out: Path) -> None:
    store = RunStore(str(out))
    records = list(store.records())
    assert sorted(record.id for record in records) == sorted(p.replace(" ", "-") for p, _ in ROWS)
    for record in records:
        assert record.ok
        assert record.video is not None
        with store.fetch(record.video.uri) as path:
            assert len(Path(path).read_bytes()) == record.video.bytes


def test_kill_9_of_the_driver_then_submit_again(
    driver: Callable[..., subprocess.Popen[str]], manifest: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = driver(manifest(*ROWS))
    until_done(first, 4)
    first.kill()
    first.wait()
    kept = RunStore(str(out)).keys()
    assert 4 <= len(kept) < len(ROWS)

    ended = last_line(driver(manifest(*reversed(ROWS))))
    assert ended["already_done"] == len(kept)
    assert ended["committed"] == len(ROWS) - len(kept)
    check_complete(out)
    again = sum(n - 1 for name, n in fake_stages.calls(str(out)).items() if name.startswith("generate"))
    assert again <= 4, "done twice is only what was on the two workers, or had its record on the way"


@pytest.mark.parametrize(
    ("number", "pools"), [(signal.SIGINT, "one"), (signal.SIGTERM, "one"), (signal.SIGINT, "separate")]
)
def test_first_interrupt_drains(
    driver: Callable[..., subprocess.Popen[str]],
    manifest: Manifest,
    tmp_path: Path,
    number: signal.Signals,
    pools: str,
) -> None:
    rows = [(f"slow {n}", "ab"[n % 2] + ".mp4") for n in range(90)]  # the signal has to come before the end
    first = driver(manifest(*rows), pools)
    until_done(first, 2)
    os.killpg(first.pid, number)  # as a terminal and `timeout` do: Ray's processes get it too
    ended = last_line(first)
    assert ended["interrupted"] is True
    assert ended["left"] == len(rows) - int(str(ended["committed"])) > 0
    counted = fake_stages.calls(str(tmp_path / "out"))
    generated = [name for name in counted if name.startswith("generate")]
    assert len(generated) == ended["committed"], "what was under way is finished, not thrown away"


def test_second_interrupt_kills(
    driver: Callable[..., subprocess.Popen[str]], manifest: Manifest, tmp_path: Path
) -> None:
    process = driver(manifest(("fine one", "a.mp4"), ("hangs always", "a.mp4"), ("hangs too", "b.mp4")))
    until_done(process, 1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in (json.loads(line).get("message") or ""):
            break
    os.killpg(process.pid, signal.SIGINT)
    ended = last_line(process)
    assert (ended["interrupted"], ended["committed"], ended["left"]) == (True, 1, 2)
    assert {record.id for record in RunStore(str(tmp_path / "out")).records()} == {"fine-one"}
