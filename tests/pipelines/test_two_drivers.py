"""Two drivers beside each other in one place, both killed over and over, and a sweeper that never rests."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos_runs import CLIPS, FAST, PROMPTS, ROOT, check_whole, environment
from noise_stages import latents_of

from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from tests.patience import patience

pytestmark = pytest.mark.slow
GC_EVERY_S = 5.0
Processes = dict[int, tuple[int, str]]


class Place:
    """A run with two drivers, each of half the rows; `stages` is the script that is their command line."""

    def __init__(self, folder: Path, stages: str, samples: int, words: tuple[str, ...]) -> None:
        self.folder, self.stages, self.words = folder, stages, words
        self.out = str(folder / "run")
        self.manifests = [self._manifest(name, range(n, samples, 2)) for n, name in enumerate("ab")]
        self.drivers: dict[str, subprocess.Popen[bytes]] = {}
        self.refused = self.swept = 0

    def _manifest(self, name: str, seeds: range) -> str:
        path = self.folder / f"{name}.jsonl"
        rows = [
            {"id": f"s{n}", "reference": str(CLIPS[n % 2]), "prompt": PROMPTS[n % 2], "seed": n}
            for n in seeds
        ]
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
        return str(path)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(ROOT / "tests" / self.stages), "batch", *words]

    def start(self, manifest: str) -> None:
        """Start a driver, in a session of its own, unless the manifest has one or is done."""
        running = self.drivers.get(manifest)
        if running is not None and running.poll() in (None, 0):
            return
        words = ("submit", manifest, "--out", self.out, "--workers", "1", *self.words)
        with open(self.folder / "drivers.log", "ab") as log:
            self.drivers[manifest] = subprocess.Popen(
                self.command(*words), env=environment(), stdout=log, stderr=log, start_new_session=True
            )

    def gc(self) -> str:
        """Sweep without mercy for what is young; return what was said."""
        command = self.command("gc", self.out, "--yes", "--older-than", "0")
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode in (0, 2), done.stderr
        self.refused += done.returncode == 2
        self.swept += done.returncode == 0
        return done.stderr

    @property
    def done(self) -> int:
        return len(RunStore(self.out).keys())

    @property
    def ended(self) -> bool:
        return all(driver.poll() == 0 for driver in self.drivers.values())


@pytest.fixture
def places() -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(*words: object) -> Place:
        made.append(Place(*words))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for place in made:
        for driver in place.drivers.values():
            if driver.poll() is None:
                os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()


def workers_of(driver: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes of the actors below a driver."""
    found: Processes = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit():
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                found[int(folder.name)] = int(fields[1]), (folder / "cmdline").read_text()
        except OSError:
            continue  # it ended meanwhile

    def below(pid: int) -> bool:
        while pid in found and pid != driver.pid:
            pid = found[pid][0]
        return pid == driver.pid

    return [pid for pid, (_, title) in found.items() if title.startswith("ray::Worker") and below(pid)]


@pytest.mark.parametrize(
    ("stages", "samples", "kills", "words"),
    [
        ("noise_stages.py", 200, 30, ("--metric", "none")),
        ("chaos_stages.py", 20, 6, FAST),
    ],
)
def test_nothing_is_lost_between_two_drivers_and_a_sweeper(
    places: Callable[..., Place],
    tmp_path: Path,
    stages: str,
    samples: int,
    kills: int,
    words: tuple[str, ...],
) -> None:
    place, chance = places(tmp_path, stages, samples, words), random.Random(0)
    late, next_gc = time.monotonic() + patience(1500), time.monotonic() + 20
    killed = {"worker": 0, "driver": 0}
    while not (place.drivers and place.ended):
        assert time.monotonic() < late, (tmp_path / "drivers.log").read_text()[-3000:]
        for manifest in place.manifests:
            place.start(manifest)
        due = sum(killed.values()) < min(kills, 1 + kills * place.done // samples)
        living = [driver for driver in place.drivers.values() if driver.poll() is None]
        if due and living:
            victim = chance.choice(living)
            workers = workers_of(victim)
            if workers and chance.random() < 0.8:
                os.kill(chance.choice(workers), signal.SIGKILL)
                killed["worker"] += 1
            elif workers:
                victim.kill()
                victim.wait()
                killed["driver"] += 1
        if time.monotonic() > next_gc:
            place.gc()
            next_gc = time.monotonic() + GC_EVERY_S
        time.sleep(0.3)

    store = RunStore(place.out)
    records = {record.id: record for record in store.records()}
    print(f"{killed} killed; gc refused {place.refused} times, let in {place.swept} times before the end")
    assert set(records) == {f"s{n}" for n in range(samples)}
    assert all(record.ok for record in records.values())
    check_whole(place.out, records)
    named = {blob.uri for record in records.values() for blob in record.blobs}
    made = {path for folder in ("videos", "stats") for path in store.folder.find(folder)}
    print(f"{len(made - named)} leftovers:", place.gc().strip())
    assert {path for folder in ("videos", "stats") for path in store.folder.find(folder)} == named
    assert place.refused > 2
    assert sum(killed.values()) >= kills - 2
    check_latents(stages, records)


def check_latents(stages: str, records: dict[str, Record]) -> None:
    """Latents are those of the seed, however often a sample was begun."""
    if stages == "noise_stages.py":
        expected = {f"s{n}": hashlib.sha256(latents_of(n)).hexdigest() for n in range(len(records))}
        assert {name: record.latent_sha256 for name, record in records.items()} == expected
