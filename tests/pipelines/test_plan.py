"""Planning: what a manifest means against a store, counted before anything is spent."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from served import Answer, Server, raw, served

from motionecho.config import EchoConfig, RunSettings
from motionecho.errors import Changed, Unreachable, UserError
from motionecho.models.references import read_reference
from motionecho.models.registry import pair_spec
from motionecho.runs import files
from motionecho.runs.keys import LATER, digest, file_digest, keyed
from motionecho.runs.notes import Blob
from motionecho.runs.places import Place, opened
from motionecho.runs.records import Record
from motionecho.runs.results import Entry
from motionecho.runs.store import RunStore
from pipelines.driver.outcomes import commit_bad_rows
from pipelines.generate import identity
from pipelines.machines.ray_cluster import pool_specs
from pipelines.plan import hash_references, plan_generation
from pipelines.tasks import Task

Manifest = Callable[..., str]
SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
ROWS = [("one", "a.mp4"), ("two", "a.mp4"), ("three", "b.mp4"), ("four", "missing.mp4")]


def record_of(task: Task, status: str = "ok") -> Record:
    video = Blob("v.mp4") if status == "ok" else None
    return Record(key=task.key, status=status, video=video, **task.payload.for_record())  # type: ignore[arg-type]


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


def test_a_version_that_failed_once_or_says_two_things_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"clip")
    uri, (sha256, version) = str(path), hashed(str(path))
    ok, other = Entry("k", "i", "ok", uri, version, "remembered"), Entry("l", "j", "ok", uri, version, "too")
    failed = Entry("m", "h", "failed", uri, version, "remembered")
    assert hashed(uri, ok, ok) == ("remembered", version)
    for known in ((failed,), (ok, failed), (failed, ok), (ok, other), (other, ok)):
        assert hashed(uri, *known) == (sha256, version)
    unsaid = Entry("k", "i", "ok", uri, "", "remembered")  # a server that tells nothing but a size
    assert hashed(uri, unsaid) == (sha256, version)


def hashed(uri: str, *known: Entry) -> tuple[str, str]:
    found = hash_references([uri], known)[opened(uri)]
    assert isinstance(found, tuple), found
    return found


def test_submitting_again_sees_bytes_that_size_and_time_hide(manifest: Manifest, tmp_path: Path) -> None:
    table, store = manifest(("one", "a.mp4"), ("two", "a.mp4")), RunStore(str(tmp_path / "out"))
    clip = tmp_path / "a.mp4"
    before = clip.stat()
    one, two = plan_generation(table, SETTINGS, store.url).todo
    store.commit(record_of(one))
    clip.write_text(clip.read_text()[::-1])
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))
    (left,) = plan_generation(table, SETTINGS, store.url).todo
    assert left.key == two.key, "nothing tells that the file is another"
    with pytest.raises(Changed, match="changed while the run went on; submit again"):
        read_reference(left.payload.sample.reference, pair_spec("toy"), sha256=left.payload.reference_sha256)
    store.commit(record_of(left, "failed"))
    again = plan_generation(table, SETTINGS, store.url).todo
    assert [task.payload.reference_sha256 for task in again] == [file_digest(str(clip))] * 2
    for task in again:
        store.commit(record_of(task))
    assert plan_generation(table, SETTINGS, store.url).todo == ()


# --- whose fault it is


class Clips:
    """A server of clips that asks for a signature, which expires; without words it is in order."""

    def __init__(self) -> None:
        self.status = dict[str, int]()

    def __call__(self, method: str, path: str, login: str | None) -> Answer:
        name, _, query = path.strip("/").partition("?")
        status = self.status.get(name, 200 if "Signature=now" in query else 403)
        more = {200: {"ETag": f'"{name}"'}, 429: {"Retry-After": "600"}}
        return status, more.get(status, {}), name.encode()


@pytest.fixture
def clips() -> Clips:
    return Clips()


@pytest.fixture
def web(clips: Clips) -> Iterator[Server]:
    with served(clips) as server:
        yield server


def signed(tmp_path: Path, web: Server, *names: str, signature: str = "now") -> str:
    rows = [{"id": n, "reference": f"{web.url}/{n}?Signature={signature}", "prompt": "a cat"} for n in names]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(tmp_path / "m.jsonl")


def test_rows_whose_files_cannot_be_had_now_stay_to_be_done(
    tmp_path: Path, web: Server, clips: Clips
) -> None:
    store = RunStore(str(tmp_path / "out"))
    names = ("fine", "forbidden", "gone", "busy", "missing")
    clips.status = {"forbidden": 403, "gone": 410, "busy": 429, "missing": 404}
    work = plan_generation(signed(tmp_path, web, *names), SETTINGS, store.url)
    assert [task.payload.id for task in work.todo] == ["fine"]
    assert [(row.id, row.row, row.column) for row in work.unread] == [
        ("forbidden", 2, "reference"), ("gone", 3, "reference"), ("busy", 4, "reference")
    ]  # fmt: skip
    assert [row.reason.split(maxsplit=1)[1].split(" (status")[0].split(":")[0] for row in work.unread] == [
        "is forbidden", "is gone", "cannot be had now"
    ]  # fmt: skip
    assert [row.id for row in work.bad] == ["missing"]
    plan = work.plan
    assert plan.rows == plan.done + plan.failed_before + plan.todo + len(plan.bad) + len(plan.unread) == 5
    assert [record.id for record in commit_bad_rows(store, work)] == ["missing"], "no record of the others"
    clips.status = {}
    later = plan_generation(signed(tmp_path, web, *names), SETTINGS, store.url)
    assert [task.payload.id for task in later.todo] == [*names]


def test_a_table_of_which_nothing_can_be_had_now_is_no_mistake(tmp_path: Path, web: Server) -> None:
    table = signed(tmp_path, web, "one", "two", signature="past")
    work = plan_generation(table, SETTINGS, str(tmp_path / "out"))
    assert (len(work.unread), work.todo, work.bad) == (2, (), [])


def test_what_is_done_stays_done_when_its_signature_has_expired(tmp_path: Path, web: Server) -> None:
    store = RunStore(str(tmp_path / "out"))
    one, _ = plan_generation(signed(tmp_path, web, "one", "two"), SETTINGS, store.url).todo
    store.commit(record_of(one))
    later = plan_generation(signed(tmp_path, web, "one", "two", signature="past"), SETTINGS, store.url)
    assert (later.plan.done, later.todo, [row.id for row in later.unread]) == (1, (), ["two"])


def test_what_is_signed_again_is_not_read_again(tmp_path: Path, web: Server) -> None:
    store = RunStore(str(tmp_path / "out"))
    (one,) = plan_generation(signed(tmp_path, web, "one"), SETTINGS, store.url).todo
    store.commit(record_of(one))
    web.asked.clear()
    again = plan_generation(signed(tmp_path, web, "one", signature="now&Expires=2"), SETTINGS, store.url)
    assert (again.plan.done, again.todo) == (1, ())
    assert {method for method, _, _ in web.asked} == {"HEAD"}
    assert "now" not in json.dumps([record.to_dict() for record in store.records()])


def test_two_files_whose_urls_are_stored_alike_are_two(tmp_path: Path) -> None:
    with served(lambda method, path, login: (200, {}, path.encode())) as web:
        places = [Place(f"{web.url}/get?token={n}") for n in "ab"]
        assert places[0] == places[1]
        found = hash_references(places, [])
    assert len(found) == len({sha256 for sha256, _ in found.values()}) == 2


def test_a_silent_store_is_waited_for_once(
    clips: Clips, web: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr("pipelines.plan.HASHING_THREADS", 1)
    monkeypatch.setattr(files.patiently, "__defaults__", (180.0, naps.append, None, time.monotonic, ""))
    clips.status = {f"{n}": 503 for n in range(20)}
    places = [f"{web.url}/{n}" for n in range(20)]
    found = hash_references(places, [])
    assert all(isinstance(each, Unreachable) for each in found.values())
    assert 0 < sum(naps) <= files.HURRIED_S


def test_a_server_that_gives_no_answer_is_asked_for_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.plan.HASHING_THREADS", 1)
    monkeypatch.setattr("motionecho.runs.web.ANSWER_S", 0.2)
    monkeypatch.setattr(files, "HURRIED_S", 0.1)
    with raw(lambda connection: connection.recv(1)) as server:
        found = hash_references([f"{server.url}/{n}.mp4" for n in range(30)], [])
        assert len(server.asked) == 1
    assert all(isinstance(each, Unreachable) for each in found.values())
    assert str(found[f"{server.url}/7.mp4"]) == (
        f'"{server.url}/7.mp4" was not asked for: "{server.url}/0.mp4" cannot be had now: no answer in time'
    )


def test_a_driver_that_is_missing_here_is_not_the_row_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    problem = hash_references(["gs://bucket/a.mp4"], [])["gs://bucket/a.mp4"]
    assert isinstance(problem, Unreachable)
    assert str(problem) == 'cannot open "gs://bucket/a.mp4": Please install gcsfs to access Google Storage'


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_the_row_s_fault(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch(0)
    problem = hash_references([str(tmp_path / "a.mp4")], [])[str(tmp_path / "a.mp4")]
    assert isinstance(problem, Unreachable)
    assert "no permission to read" in str(problem)


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
    assert [each.names for each in apart] == [("invert", "train"), ("generate",), ("publish", "score")]
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
    assert (make.names, score.names) == (("invert", "train", "generate"), ("publish", "score"))
    assert (make.size, make.num_gpus, make.num_cpus) == makers
    assert (score.size, score.num_gpus, score.num_cpus) == scorers
    assert make.size + score.size * score.num_cpus <= sum(nodes), "a core is left to every GPU's worker"


def test_without_gpus_or_cores_to_spare_one_worker_does_all() -> None:
    assert len(pool_specs(0, [8], None, helped=True)) == 1
    assert len(pool_specs(2, [3], None, helped=True)) == 1


def test_a_setting_that_came_later_changes_no_key_unless_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("a clip")
    table = tmp_path / "m.csv"
    table.write_text("id,reference,prompt,background\none,a.mp4,a cat,\ntwo,a.mp4,a cat,white\n")
    (one, two) = plan_generation(str(table), SETTINGS, str(tmp_path / "run")).tasks.values()
    assert one.payload.config.reference.background == "black"
    assert not LATER.keys() & nested(identity(SETTINGS))
    everything = EchoConfig().to_dict()
    assert everything.items() >= LATER.items(), "what keys leave out is what all have that say nothing else"
    assert keyed(everything) == {name: everything[name] for name in everything if name not in LATER}
    assert one.shares != two.shares, "another background is another motion"


def nested(value: Any) -> set[str]:
    """Return the keys of all mappings within plain JSON values."""
    if isinstance(value, dict):
        return {*value, *(key for inner in value.values() for key in nested(inner))}
    return {key for inner in value for key in nested(inner)} if isinstance(value, list) else set()


def test_keys_of_before_the_strategies_are_keys_still() -> None:
    """Digests of all defaults as they were when there was MotionClone alone."""
    assert digest(keyed(EchoConfig().to_dict())).startswith("71f6647b895cb7d8")
    assert digest(keyed(EchoConfig().reference.to_dict())).startswith("06d2932f923a8394")
