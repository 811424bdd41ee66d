"""Hundreds of real samples on several nodes, which die meanwhile; and a manifest with all that goes wrong."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from chaos_runs import CLIPS, FAST, Rows, Start, by_id, check_whole, ended, environment, rows, starts, written

from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from tests.patience import patience

pytestmark = pytest.mark.slow


# --- nodes, workers and the driver die


class Nodes:
    """A Ray cluster of one-core nodes on this machine."""

    def __init__(self, number: int) -> None:
        from ray.cluster_utils import Cluster

        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**environment(), "RAY_AUTH_MODE": "disabled"}.items():
                patch.setenv(name, value)
            self.cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
            self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(number)]
        self.address: str = self.cluster.address

    def raylets(self) -> list[int]:
        return [node.all_processes["raylet"][0].process.pid for node in self.nodes]

    def workers(self) -> list[int]:
        """Processes that are working on a sample at this moment."""
        return [
            pid for pid, (parent, title) in processes().items()
            if parent in self.raylets() and title.startswith("ray::Worker.run")
        ]  # fmt: skip


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    made = Nodes(3)
    yield made
    made.cluster.shutdown()


def processes() -> dict[int, tuple[int, str]]:
    """Parent and title of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit():
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                found[int(folder.name)] = (parent, (folder / "cmdline").read_text())
        except OSError:
            continue  # it ended meanwhile
    return found


def until(met: Callable[[], bool], driver: subprocess.Popen[str], seconds: float = 900) -> None:
    late = time.monotonic() + patience(seconds)
    while not met():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < late
        time.sleep(0.1)


def test_400_samples_while_workers_node_and_driver_die(cli: Start, nodes: Nodes, tmp_path: Path) -> None:
    out, table = tmp_path / "run", rows(400)
    submit = ("batch", "submit", written(tmp_path / "400.csv", table), "--out", str(out), *FAST, "--json",
              "--address", nodes.address)  # fmt: skip
    store = RunStore(str(out))
    driver = cli(*submit)
    until(lambda: len(store.keys()) >= 60 and len(nodes.workers()) >= 2, driver)
    killed = nodes.workers()[:2]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(store.keys()) >= 120, driver)
    os.kill(nodes.raylets()[-1], signal.SIGKILL)
    until(lambda: len(store.keys()) >= 200, driver)
    driver.kill()
    driver.wait()
    kept = len(store.keys())
    assert 200 <= kept < 400

    code, said = ended(cli(*submit))
    assert code == 0, said
    assert said["already_done"] == kept
    records = by_id(out)
    assert set(records) == {row["id"] for row in table}
    assert all(record.ok for record in records.values())
    check_whole(out, records)
    strikes = [strike.name for record in records.values() for strike in record.strikes]
    print(f"kept {kept}, strikes {strikes}, generations begun {starts(out)}")
    assert 1 <= strikes.count("WorkerDied") <= 2, "a worker between two samples dies without a strike"
    assert set(strikes) == {"WorkerDied"}
    # two workers, one on the node, three of the driver's; and those whose records were on their way
    assert starts(out) - 400 <= 2 + 1 + 2 * 3


def test_shuffled_split_and_killed_runs_make_the_same_records(cli: Start, tmp_path: Path) -> None:
    table = rows(24)
    mixed = random.Random(0).sample(table, len(table))

    def submit(run: str, number: int, part: Rows) -> subprocess.Popen[str]:
        manifest = written(tmp_path / f"{run}-{number}.csv", part)
        out = str(tmp_path / run)
        return cli("batch", "submit", manifest, "--out", out, *FAST, "--workers", "2", "--json")

    for run, parts in {"whole": 1, "shuffled": 1, "three": 3, "eight": 8}.items():
        order = table if run == "whole" else mixed
        for number in range(parts):
            assert ended(submit(run, number, order[number::parts]))[0] == 0
    driver, store = submit("killed", 0, mixed), RunStore(str(tmp_path / "killed"))
    until(lambda: len(store.keys()) >= 8, driver)
    driver.kill()
    driver.wait()
    assert ended(submit("killed", 0, mixed))[0] == 0

    whole = lasting_records(tmp_path / "whole")
    assert len(whole) == 24
    for run in ("shuffled", "three", "eight", "killed"):
        assert lasting_records(tmp_path / run) == whole


def lasting_records(out: Path) -> dict[str, Any]:
    records = by_id(out)
    check_whole(out, records)
    return {name: lasting(RunStore(str(out)), record) for name, record in records.items()}


def lasting(store: RunStore, record: Record) -> dict[str, Any]:
    """A record and its trace without what may differ: times, hosts, and the names of files."""
    values = asdict(record)
    for name in ("seconds", "where", "committed_at", "attempt", "attempts", "strikes"):
        values.pop(name)
    values["trace"].pop("seconds")
    values["motion"] = values["motion"]["uri"]  # whoever inverted it knows its size too
    values["video"].pop("uri")
    with store.fetch(values.pop("stats")["uri"]) as path:
        values["stats"] = pq.read_table(path).drop_columns("seconds").to_pylist()
    return values


# --- all that goes wrong


def test_twelve_of_which_five_fail_are_mended_and_retried(cli: Start, tmp_path: Path) -> None:
    out, table = tmp_path / "run", rows(12)
    broken, missing = tmp_path / "broken.mp4", tmp_path / "missing.mp4"
    broken.write_bytes(CLIPS[0].read_bytes()[:900])
    table[1]["reference"], table[3]["reference"] = str(broken), str(missing)
    for number, how in ((5, "dies"), (7, "hangs"), (9, "starves")):
        table[number]["id"] = f"{how}-{number}"
    manifest = written(tmp_path / "12.csv", table)
    words = ("--workers", "2", "--json")
    code, said = ended(cli("batch", "submit", manifest, "--out", str(out), *FAST, *words, "--deadline", "15"))
    assert code == 3, said
    assert (said["committed"], said["failed"], said["left"]) == (7, 5, 0)
    before = by_id(out)
    check_whole(out, {name: record for name, record in before.items() if record.ok})
    failed = {name: record.error for name, record in before.items() if not record.ok}
    for name, error in failed.items():
        assert error is not None
        print(name, before[name].attempts, error.name, error.stage, error.message)
        print("   ", error.host, error.node, error.kind)
    expected = {
        "s1": ("BadSample", 1), "s3": ("BadRow", 0), "dies-5": ("WorkerDied", 3),
        "hangs-7": ("DeadlineExceeded", 3), "starves-9": ("OutOfMemoryError", 3),
    }  # fmt: skip
    assert {
        name: (error.name if error else None, before[name].attempts) for name, error in failed.items()
    } == expected
    for name, error in failed.items():
        assert error is not None
        assert error.message
        assert error.stage
        assert error.node or name == "s3", "one whose file is not there reached no node"

    broken.write_bytes(CLIPS[1].read_bytes())
    missing.write_bytes(CLIPS[3].read_bytes())
    Path(f"{out}.mended").touch()
    begun = starts(out)
    code, said = ended(cli("batch", "retry", str(out), *words))
    assert code == 0, said
    assert starts(out) - begun == 5, "just those that failed"
    after = by_id(out)
    assert all(record.ok for record in after.values())
    assert {name: after[name] for name in before if before[name].ok} == {
        name: record for name, record in before.items() if record.ok
    }
    check_whole(out, after)
