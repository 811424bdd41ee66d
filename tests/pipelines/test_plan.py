"""Planning: what a manifest means against a store, counted before anything is spent."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.errors import UserError
from motionecho.runs.keys import file_digest
from motionecho.runs.records import Record
from motionecho.runs.results import Entry
from motionecho.runs.store import RunStore
from pipelines.machines.ray_cluster import pool_specs
from pipelines.plan import hash_references, plan_generation
from pipelines.tasks import Task

Manifest = Callable[..., str]
SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
ROWS = [("one", "a.mp4"), ("two", "a.mp4"), ("three", "b.mp4"), ("four", "missing.mp4")]


def record_of(task: Task, status: str = "ok") -> Record:
    return Record(key=task.key, status=status, **task.payload.for_record())  # type: ignore[arg-type]


def test_a_plan_counts_and_writes_nothing(manifest: Manifest, tmp_path: Path) -> None:
    counted = plan_generation(manifest(*ROWS), SETTINGS, str(tmp_path / "out")).plan
    assert (counted.rows, counted.references, counted.todo, counted.done) == (4, 2, 3, 0)
    assert [row.row for row in counted.bad] == [4]
    assert "missing.mp4" in counted.bad[0].reason
    assert not (tmp_path / "out").exists()
    assert plan_generation(manifest(*ROWS), SETTINGS, str(tmp_path / "out"), limit=1).plan.rows == 1


def test_what_has_a_record_is_done(manifest: Manifest, tmp_path: Path) -> None:
    table, store = manifest(*ROWS), RunStore(str(tmp_path / "out"))
    tasks = {task.payload.sample.prompt: task for task in plan_generation(table, SETTINGS, store.url).todo}
    store.commit(record_of(tasks["one"]))
    store.commit(record_of(tasks["two"], "failed"))
    counted = plan_generation(table, SETTINGS, store.url).plan
    assert (counted.done, counted.failed_before, counted.todo, len(counted.bad)) == (1, 1, 1, 1)
    retried = plan_generation(table, SETTINGS, store.url, retry_failed=True)
    assert {task.payload.sample.prompt for task in retried.todo} == {"two", "three"}


def test_one_sample_of_every_reference_comes_first(manifest: Manifest, tmp_path: Path) -> None:
    todo = plan_generation(manifest(*ROWS), SETTINGS, str(tmp_path / "out")).todo
    assert [task.payload.sample.prompt for task in todo] == ["one", "three", "two"]


def test_keys_are_of_content(manifest: Manifest, tmp_path: Path) -> None:
    first = plan_generation(manifest(*ROWS), SETTINGS, str(tmp_path / "out"))
    shuffled = plan_generation(manifest(*reversed(ROWS)), SETTINGS, str(tmp_path / "out"))
    assert set(first.tasks) == set(shuffled.tasks)
    other = dataclasses.replace(SETTINGS, echo=EchoConfig.of(steps=4))
    changed = plan_generation(manifest(*ROWS), other, str(tmp_path / "out"))
    assert not set(first.tasks) & set(changed.tasks)
    motions = [{task.payload.motion_key for task in work.todo} for work in (first, changed)]
    assert motions[0] == motions[1], "another number of student steps inverts nothing anew"
    (tmp_path / "a.mp4").write_text("another clip")
    edited = plan_generation(str(tmp_path / "manifest.csv"), SETTINGS, str(tmp_path / "out"))
    assert len(set(first.tasks) & set(edited.tasks)) == 1


def test_equal_samples_under_two_names_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("clip")
    (tmp_path / "copy.mp4").write_text("clip")
    (tmp_path / "m.csv").write_text("reference,prompt,seed\na.mp4,a cat,1\ncopy.mp4,a cat,1\n")
    work = plan_generation(str(tmp_path / "m.csv"), SETTINGS, str(tmp_path / "out"))
    assert len(work.todo) == 1
    assert "same sample as row 1" in work.bad[0].reason


def test_a_reference_hashed_before_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"clip")
    digest, version = hash_references({str(path)}, [])[str(path)]
    assert digest == file_digest(str(path))
    known = Entry("k", "i", "ok", str(path), version, "remembered")
    assert hash_references({str(path)}, [known])[str(path)] == ("remembered", version)
    path.write_bytes(b"another")
    assert hash_references({str(path)}, [known])[str(path)][0] == file_digest(str(path))


def test_a_pair_that_does_not_exist_is_said_before_anything(manifest: Manifest, tmp_path: Path) -> None:
    settings = RunSettings(pair="toi", echo=EchoConfig())
    with pytest.raises(UserError, match='did you mean "toy"'):
        plan_generation(manifest(*ROWS), settings, str(tmp_path / "out"))


def test_mistakes_of_the_whole_manifest_start_nothing(manifest: Manifest, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(
        UserError, match=r'no row of manifest .* can run; row 1: ".*missing.mp4" does not exist'
    ):
        plan_generation(manifest(("fine one", "missing.mp4"), ("fine two", "missing.mp4")), SETTINGS, out)
    table = Path(manifest(("fine one", "a.mp4"), ("fine two", "a.mp4"), name="ids.csv"))
    table.write_text(table.read_text().replace("fine-two", "fine-one"))
    with pytest.raises(UserError, match=r'row 2 of manifest .*: its id "fine-one" is that of row 1'):
        plan_generation(str(table), SETTINGS, out)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("gpus", "nodes", "workers", "expected"),
    [
        (0, [2], None, (1, 0, 2, 2)),
        (0, [8], 4, (4, 0, 2, 2)),
        (0, [2], 4, (4, 0, 0.5, 1)),
        (0, [16, 16], None, (2, 0, 16, 16)),
        (0, [0, 8, 8], None, (2, 0, 8, 8)),
        (8, [64, 64], None, (8, 1, 1, None)),
        (2, [16], 4, (4, 0.5, 1, None)),
        (2, [16], 1, (1, 1, 1, None)),
    ],
)
def test_pools_fit_the_cluster(
    gpus: float, nodes: list[float], workers: int | None, expected: tuple[float, ...]
) -> None:
    (spec,) = pool_specs(gpus, nodes, workers)
    assert (spec.size, spec.num_gpus, spec.num_cpus, spec.threads) == expected
    apart = pool_specs(gpus, nodes, workers, separate=True)
    assert [each.names for each in apart] == [("invert",), ("generate",), ("publish", "score")]
    assert sum(each.num_gpus * each.size for each in apart) <= max(gpus, 0) + 1e-9
    assert all(each.num_cpus < 1 or each.num_cpus == int(each.num_cpus) for each in apart)


@pytest.mark.parametrize(
    ("gpus", "nodes", "workers", "makers", "scorers"),
    [
        (8, [64, 64], None, (8, 1, 0), (64, 0, 1)),
        (1, [32], None, (1, 1, 0), (8, 0, 3)),
        (2, [8], None, (2, 1, 0), (6, 0, 1)),
        (2, [16], 4, (4, 0.5, 0), (12, 0, 1)),
        (1, [2], None, (1, 1, 0), (1, 0, 1)),
    ],
)
def test_publishing_and_scoring_take_no_gpu_s_time(
    gpus: float,
    nodes: list[float],
    workers: int | None,
    makers: tuple[float, ...],
    scorers: tuple[float, ...],
) -> None:
    make, score = pool_specs(gpus, nodes, workers, helped=True)
    assert (make.names, score.names) == (("invert", "generate"), ("publish", "score"))
    assert (make.size, make.num_gpus, make.num_cpus) == makers
    assert (score.size, score.num_gpus, score.num_cpus) == scorers
    assert make.size + score.size * score.num_cpus <= sum(nodes), "a core is left to every GPU's worker"


def test_without_gpus_or_cores_to_spare_one_worker_does_all() -> None:
    assert len(pool_specs(0, [8], None, helped=True)) == 1
    assert len(pool_specs(2, [3], None, helped=True)) == 1
