"""What stages ask of the cluster: read strictly, laid over the pools, and given to Ray."""

from pathlib import Path

import fake_stages as fakes
import pytest
import ray

from motionecho.errors import UserError
from pipelines.execution import Execution
from pipelines.machines.ray_cluster import pool_specs
from pipelines.machines.resources import Resources, laid_over, read_execution
from tests.patience import patience


def write(path: Path, text: str) -> str:
    (path / "engine.yaml").write_text(text)
    return str(path / "engine.yaml")


def test_a_file_is_fields_of_execution(tmp_path: Path) -> None:
    text = """
separate: true
max_attempts: 2
stages:
  generate: {workers: 4, gpus: 0.5, cpus: 2, memory: 8GiB, resources: {big: 1}}
  score: {gpus: 0, memory: 500 MB}
"""
    execution = Execution(**read_execution(write(tmp_path, text)))
    assert (execution.separate, execution.max_attempts) == (True, 2)
    assert execution.resources["generate"] == Resources(4, 0.5, 2.0, 8 * 2**30, {"big": 1.0})
    invert, generate, score = laid_over(pool_specs(4, [32], None, True), execution.resources)
    assert (generate.size, generate.num_gpus, generate.num_cpus) == (4, 0.5, 2)
    assert (generate.memory, generate.resources) == (8 * 2**30, {"big": 1.0})
    assert (score.num_gpus, score.memory) == (0, 500 * 10**6)
    assert invert == pool_specs(4, [32], None, True)[0], "what is not named is left alone"
    assert read_execution(write(tmp_path, "")) == {"resources": {}}


def test_stages_that_share_a_worker_agree() -> None:
    (spec,) = laid_over(pool_specs(0, [8], 2), {"generate": Resources(cpus=3), "score": Resources(workers=1)})
    assert (spec.size, spec.num_cpus, spec.threads) == (1, 3, 3)
    with pytest.raises(UserError, match="share a worker, so score cannot have cpus=2"):
        laid_over(pool_specs(0, [8], 2), {"generate": Resources(cpus=3), "score": Resources(cpus=2)})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: {generat: {gpus: 1}}", 'unknown key "generat" .did you mean "generate"'),
        ("stages: {generate: {gpu: 1}}", 'generate: unknown key "gpu" .did you mean "gpus"'),
        ("stages: {generate: {gpus: 1.5}}", "whole number, or a fraction"),
        ("stages: {generate: {gpus: many}}", 'gpus="many" is not a number'),
        ("stages: {generate: {workers: 0}}", "leave the stage undone"),
        ("stages: {generate: {workers: true}}", "workers=True is not a whole number"),
        ("stages: {generate: {memory: lots}}", "no size such as 8GiB"),
        ("stages: [generate]", "has to be a mapping"),
        ("separate: 3", "separate=3 is neither true nor false"),
        ("workers: 3", 'unknown key "workers"'),
        ("a: [", "is not YAML"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as told:
        read_execution(write(tmp_path, text))
    assert "engine.yaml" in str(told.value)
    with pytest.raises(UserError, match="cannot read"):
        read_execution(str(tmp_path / "none.yaml"))


@pytest.mark.usefixtures("embedded_ray")
def test_ray_is_asked_for_it(tmp_path: Path) -> None:
    from motionecho.config import EchoConfig, RunSettings
    from pipelines.driver.pool import Pool

    asked = {"score": Resources(cpus=0.25, memory=10 * 2**20)}
    (spec,) = laid_over(pool_specs(0, [2], 1), asked)
    pool = Pool(spec, fakes.FACTORY, RunSettings(pair="toy", echo=EchoConfig()), str(tmp_path / "run"))
    before = ray.available_resources()
    try:
        pool.tend(0.0, 1)
        ray.get(pool.seats[0].ref, timeout=patience(60))
        now = ray.available_resources()
        assert before["CPU"] - now["CPU"] == pytest.approx(0.25)
        assert before["memory"] - now["memory"] == pytest.approx(10 * 2**20)
    finally:
        pool.close()
