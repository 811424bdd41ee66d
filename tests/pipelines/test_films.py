"""With GPUs, here in name only, a film is published by a process beside the one that made it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fake_stages as fakes
import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.runs.store import RunStore
from pipelines.generate import Execution, run
from pipelines.machines.resources import Resources

SETTINGS = RunSettings(pair="toy", echo=EchoConfig())


def test_the_worker_with_the_gpu_does_not_publish(
    cluster: Any, manifest: Callable[..., str], tmp_path: Path
) -> None:
    far = cluster.add_node(num_cpus=1, num_gpus=1)
    table = manifest(("fine one", "a.mp4"), ("fine two", "a.mp4"), ("bad three", "a.mp4"))
    out = tmp_path / "out"
    summary = run(table, SETTINGS, str(out), Execution(backoff_s=0.01), factory=fakes.FACTORY)
    assert (summary.committed, summary.failed) == (2, 1)
    for record in RunStore(str(out)).records():
        assert record.where is not None
        assert (record.where.stages, record.where.node) == (("invert", "train", "generate"), far.node_id)
    processes = {stage: _processes(out, stage) for stage in ("generate", "publish")}
    assert processes["generate"]
    assert processes["publish"]
    assert not processes["generate"] & processes["publish"]


@pytest.mark.slow
def test_a_film_that_went_with_its_node_is_made_again(
    cluster: Any, manifest: Callable[..., str], tmp_path: Path
) -> None:
    far = cluster.add_node(num_cpus=1, num_gpus=1)
    table, out = manifest(("waits one", "a.mp4"), ("fine two", "a.mp4")), tmp_path / "out"
    execution = Execution(backoff_s=0.01, resources={"publish": Resources(workers=1, cpus=1)})
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(run, table, SETTINGS, str(out), execution, factory=fakes.FACTORY)
        while not _processes(out, "generate-fine-two") and not running.done():
            time.sleep(0.1)
        time.sleep(1)  # its film waits, for the one publisher is busy
        cluster.remove_node(far, allow_graceful=False)
        cluster.add_node(num_cpus=1, num_gpus=1)
        Path(f"{out}.go").touch()
        summary = running.result()
    assert (summary.committed, summary.failed) == (2, 0)
    records = {record.id: record for record in RunStore(str(out)).records()}
    assert records["fine-two"].strikes == [], "it was no fault of the sample's"
    assert fakes.calls(str(out))["generate-fine-two"] == 2
    assert fakes.calls(str(out))["generate-waits-one"] == 1


def _processes(out: Path, stage: str) -> set[str]:
    """The processes that ran a stage, by what the fakes count."""
    return {path.name.rsplit("-", 1)[1] for path in Path(f"{out}.calls").glob(f"{stage}*")}
