"""One embedded Ray for all tests of a module, and manifests made of one-line files."""

import csv
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import chaos_runs
import pytest
import ray

from pipelines.execution import Execution
from pipelines.machines.embedded import DEFAULTS
from pipelines.machines.ray_cluster import connected


@pytest.fixture(scope="module")
def embedded_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # where the workers find fake_stages
        with connected(Execution()):
            yield


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with two cores and no GPU; other nodes are for the tests to add."""
    from ray.cluster_utils import Cluster

    for name, value in {**DEFAULTS, "RAY_AUTH_MODE": "disabled"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., str]:
    """Write a CSV of (prompt, reference name) rows; references are files whose bytes are their name."""

    def write(*rows: tuple[str, str], name: str = "manifest.csv") -> str:
        for reference in {reference for _, reference in rows}:
            if not reference.startswith("missing"):
                (tmp_path / reference).write_text(reference)
        with (tmp_path / name).open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", "reference", "prompt", "licence"])
            writer.writerows(
                [prompt.replace(" ", "-"), reference, prompt, "CC0"] for prompt, reference in rows
            )
        return str(tmp_path / name)

    return write


@pytest.fixture
def cli() -> Iterator[chaos_runs.Start]:
    """Start `motionecho` with disturbed stages; what still runs in the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, within: Sequence[str] = ()) -> subprocess.Popen[str]:
        started.append(chaos_runs.start(*words, within=within))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
