"""The run store: whole or not at all, once, and the same on a disk, in memory and on S3."""

import json
import os
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from motionecho.errors import BadSample, Transient, UserError
from motionecho.runs import files
from motionecho.runs.files import fetch
from motionecho.runs.folder import Folder, Listed
from motionecho.runs.notes import Blob, ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.results import Entry, read_entries
from motionecho.runs.store import RunStore
from motionecho.runs.tables import as_row

IDENTITY = {"settings": {"pair": "toy", "echo": {"steps": 8}}}


@pytest.fixture
def store(url: str) -> RunStore:
    return RunStore(url, patience_s=1)


def k(short: str) -> str:
    """Make a key of a short name."""
    return (short * 32)[:32]


def record(key: str, name: str = "", status: str = "ok", attempt: str = "1", **fields: object) -> Record:
    inputs = {"id": name or key, "reference": "a.mp4"}
    return Record(key=key, id=name or key, status=status, inputs=inputs, attempt=attempt, **fields)  # type: ignore[arg-type]


def test_run_json_is_written_once_and_guards_the_run(store: RunStore) -> None:
    assert store.run() is None
    assert store.create(IDENTITY, {"created_at": "now"})
    assert not store.create(IDENTITY, {"created_at": "later"})
    assert (store.run() or {})["about"] == {"created_at": "now"}
    other = {"settings": {"pair": "toy", "echo": {"steps": 16}}}
    with pytest.raises(UserError, match=r"settings\.echo\.steps is 8 there and 16 now"):
        store.create(other, {})


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="one of its folders is a file"):
        RunStore(str(tmp_path / "file" / "run")).create(IDENTITY, {})
    with pytest.raises(UserError, match="which is not opened"):
        RunStore("gopher://old/run")


def test_blobs_arrive_whole_and_come_back(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"a video")
    uri = store.video_uri("abcd", "1-x")
    blob = store.put_blob(uri, str(tmp_path / "v.mp4"))
    assert blob.uri == uri == "videos/ab/abcd-1-x.mp4"
    assert blob.bytes == 7
    assert store.exists(uri)
    with store.fetch(uri) as local:
        assert Path(local).read_bytes() == b"a video"
    with pytest.raises(BadSample, match="does not exist"), store.fetch("videos/no.mp4"):
        pass


def test_a_shared_blob_is_named_by_its_first_maker_only(store: RunStore, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    uri = store.motion_uri("cafe")
    assert store.share_blob(uri, str(tmp_path / "one")).sha256
    assert store.share_blob(uri, str(tmp_path / "one")).sha256, "equal bytes are as good as first"
    assert store.share_blob(uri, str(tmp_path / "two")) == Blob(uri)
    with store.fetch(uri) as local:
        assert Path(local).read_text() == "one"


def test_motions_are_listed_by_key(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"m")
    store.put_blob(store.motion_uri("cafe"), str(tmp_path / "m"))
    assert store.motions() == {"cafe"}


def test_motions_shared_between_runs(url: str, tmp_path: Path) -> None:
    place = f"{url}-motions"
    one, two = RunStore(f"{url}/one", 1, place), RunStore(f"{url}/two", 1, place)
    for store in (one, two):
        assert store.create(IDENTITY, {})
    (tmp_path / "m").write_bytes(b"m" * 10**6)
    uri = one.motion_uri("cafe")
    with ThreadPoolExecutor(8) as pool:  # two runs, several workers each, make the same motion at one time
        made = list(pool.map(lambda n: (one, two)[n % 2].share_blob(uri, str(tmp_path / "m")), range(8)))
    assert any(blob.sha256 for blob in made)
    assert {blob.uri for blob in made} == {uri}
    worker = RunStore(f"{url}/two")  # knows the place from run.json, as a worker does
    assert worker.motion_uri("cafe") == uri
    assert worker.exists(uri)
    assert worker.motions() == {"cafe"}
    with worker.fetch(uri) as local:
        assert Path(local).read_bytes() == b"m" * 10**6
    assert not one.folder.find("motions")
    row = as_row(record(k("ee"), motion=Blob(uri)), one.url)
    assert row["result_motion"] == uri


def test_a_run_keeps_to_its_place_of_motions(tmp_path: Path) -> None:
    url, place = str(tmp_path / "run"), str(tmp_path / "motions")
    RunStore(url, motions=place).create(IDENTITY, {})
    assert not RunStore(url, motions=place).create(IDENTITY, {})
    assert not RunStore(url).create(IDENTITY, {}), "continuing needs no --motions"
    with pytest.raises(UserError, match=f'keeps its motions at "{place}"'):
        RunStore(url, motions=str(tmp_path / "other")).create(IDENTITY, {})


def test_first_commit_wins_and_is_not_overwritten(store: RunStore) -> None:
    assert store.commit(record(k("e1"), attempt="1-a"))
    assert not store.commit(record(k("e1"), attempt="2-b"))
    found = store.record(k("e1"))
    assert found is not None
    assert found.attempt == "1-a"


def test_a_commit_whose_answer_was_lost_counts_as_won(store: RunStore) -> None:
    same = record(k("e1"))
    assert store.commit(same)
    assert store.commit(same)


def test_racing_commits_have_one_winner(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.commit(record(k("ee"), attempt=str(n))), range(16)))
    assert sum(each is not None for each in won) == 1
    found = store.record(k("ee"))
    assert found is not None
    assert found in won
    assert not [p for p in (tmp_path / "run").rglob("*") if p.name.startswith(".part")]


def test_resuming_reads_parts_and_newer_records_alike(store: RunStore) -> None:
    old = [record(k(f"a{n}")) for n in range(5)] + [record(k("f1"), "fails", "failed")]
    for each in old:
        store.commit(each)
    assert {each.key for each in store.index().loose} == {each.key for each in old}
    store.compact(old)
    store.commit(record(k("b1")))
    assert [each.key for each in store.index().loose] == [k("b1")]
    index = store.index()
    assert set(index) == {k("a0"), k("a1"), k("a2"), k("a3"), k("a4"), k("f1"), k("b1")}
    assert index[k("f1")].failed
    assert {each.key: each for each in store.records()}[k("a3")] == old[3]


def test_a_deleted_record_is_forgotten_though_a_part_has_it(store: RunStore) -> None:
    for key in (k("a1"), k("a2")):
        store.commit(record(key))
    store.compact([record(k("a1")), record(k("a2"))])
    store.folder.remove_all([f"records/a1/{k('a1')}.json"])
    assert set(store.index()) == {k("a2")}
    assert [each.key for each in store.records()] == [k("a2")]
    store.tidy(store.index())
    store.commit(record(k("a1"), attempt="9"))
    assert {each.key: each.attempt for each in store.records()} == {k("a1"): "9", k("a2"): "1"}


def test_a_sample_made_again_has_a_record_of_the_next_generation(store: RunStore) -> None:
    failed, made = record(k("f1"), "one", "failed"), record(k("f1"), "one", attempt="2", generation=2)
    store.commit(failed)
    store.compact([failed])
    assert store.commit(made)
    assert not store.commit(record(k("f1"), "one", "failed", generation=2)), "someone else was faster"
    assert store.generations() == {k("f1"): 2}
    assert store.record(k("f1")) == made
    assert list(store.records()) == [made]
    assert store.index().loose == (made,)
    store.compact([made])
    store.tidy(store.index())
    assert [row.generation for part in store.folder.find("results")
            for row in read_entries(store.folder.read(part))] == [2]  # fmt: skip
    assert store.folder.find("records") == [f"records/f1/{k('f1')}-2.json", f"records/f1/{k('f1')}.json"], (
        "none is deleted"
    )


def test_what_is_requeued_is_to_be_made_again(store: RunStore) -> None:
    first = record(k("e1"), "one", video=Blob("videos/e1/e1-1.mp4"))
    store.commit(first)
    store.compact([first])
    why = ErrorNote(kind="infra", name="Damaged", message="other bytes", at="now")
    assert store.requeue(first, why)
    assert not store.requeue(first, ErrorNote(name="Damaged", at="later")), "it is already"
    entry = store.index()[k("e1")]
    assert (entry.ok, entry.failed, entry.to_do, store.index().next_generation(k("e1"))) == (
        False,
        False,
        True,
        3,
    )
    assert list(store.records()) == []
    assert store.commit(record(k("e1"), "one", generation=3))
    assert [each.generation for each in store.records()] == [3]


def test_a_listing_that_lags_hides_no_record(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts name four samples; the listing lacks one, and the latest record of another. One was deleted."""
    made = [record(k("a1")), record(k("b2")), record(k("c3")), record(k("c3"), generation=2), record(k("d4"))]
    for each in made:
        store.commit(each)
    store.compact(made)
    store.folder.remove_all([f"records/d4/{k('d4')}.json"])
    find = Folder.listed

    def lagging(self: Folder, folder: str = "") -> dict[str, Listed]:
        found = find(self, folder)
        return {
            path: file
            for path, file in found.items()
            if not path.endswith((f"{k('b2')}.json", f"{k('c3')}-2.json"))
        }

    monkeypatch.setattr(Folder, "listed", lagging)
    index = store.index()
    assert {key: entry.generation for key, entry in index.items()} == {k("a1"): 1, k("b2"): 1, k("c3"): 2}
    assert index.loose == ()
    store.tidy(index)
    assert {each.key for each in store.records()} == {k("a1"), k("b2"), k("c3")}


@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b'{"schema_version": 2}', b"PAR1 and no more"])
def test_a_damaged_record_or_part_is_named_and_made_up_for(store: RunStore, damage: bytes) -> None:
    kept, hurt = record(k("a1")), record(k("b2"))
    for each in (kept, hurt):
        store.commit(each)
    part = store.compact([kept])
    store.folder.overwrite(str(part), damage)
    store.folder.overwrite(f"records/b2/{k('b2')}.json", damage)
    index = store.index()
    assert [each.key for each in index.loose] == [k("a1")], "a part is a cache"
    assert (index[k("b2")].status, index[k("b2")].to_do) == ("damaged", True)
    assert len(index.damaged) == 2
    assert all(path in " ".join(index.damaged) for path in (str(part), f"records/b2/{k('b2')}.json"))
    assert list(store.records(index)) == [kept]
    store.tidy(index)
    assert store.folder.find("results") == []
    assert store.commit(record(k("b2"), generation=index.next_generation(k("b2"))))
    assert {each.key for each in store.records()} == {k("a1"), k("b2")}


def test_a_record_under_the_name_of_another_is_damaged(store: RunStore) -> None:
    store.folder.overwrite(f"records/a1/{k('a1')}.json", record(k("b2")).to_json().encode())
    assert store.index()[k("a1")].to_do
    assert f"is the record of {k('b2')}" in store.index().damaged[0]


def test_a_record_of_a_newer_version_stops_everything(store: RunStore) -> None:
    store.folder.overwrite(f"records/a1/{k('a1')}.json", b'{"key": "a1", "schema_version": 99}')
    with pytest.raises(UserError, match="update motionecho"):
        store.index()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"", "run.json is damaged"),
        (b"{", "run.json is damaged"),
        (b"[]", "no JSON object"),
        (b'{"identity": 5, "schema_version": 1}', "identity.* makes no sense"),
        (b'{"identity": {}, "schema_version": 9}', "update motionecho"),
    ],
)
def test_a_damaged_run_json_is_one_sentence_with_the_way_out(
    store: RunStore, words: bytes, said: str
) -> None:
    store.commit(record(k("a1")))
    store.folder.overwrite("run.json", words)
    for action in (store.run, lambda: store.create(IDENTITY, {}), lambda: store.refuse_other(IDENTITY)):
        with pytest.raises(UserError, match=said):
            action()
    store.folder.remove_all(["run.json"])
    assert store.create(IDENTITY, {})
    assert set(store.index()) == {k("a1")}, "what is finished is kept"


def test_rows_that_have_no_reference_do_not_spoil_a_part(store: RunStore) -> None:
    bad = Record(key=k("f1"), id="one", status="failed", inputs={"id": "one"})
    store.commit(bad)
    store.compact([bad])
    assert store.index()[k("f1")] == Entry(k("f1"), "one", "failed")
    assert list(store.records()) == [bad]


def test_a_failure_disappears_behind_the_success_of_its_id(store: RunStore) -> None:
    store.commit(record(k("f1"), "one", "failed"))
    store.commit(record(k("f2"), "two", "failed"))
    store.commit(record(k("e1"), "one"))
    assert {each.key for each in store.records()} == {k("e1"), k("f2")}


def test_strikes_are_kept_in_order_until_the_sample_is_finished(store: RunStore) -> None:
    for n in (2, 1):
        store.note_strike(k("e1"), f"{n}-x", ErrorNote(name="ValueError", at=str(n)))
    assert [note.at for note in store.strikes()[k("e1")]] == ["1", "2"]
    store.commit(record(k("e1"), strikes=[ErrorNote(name="ValueError")]))
    assert store.strikes() == {}


def test_results_parts_are_one_table(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path))
    uri = store.compact(
        [record(k("a1")), record(k("a2"), "two", "failed", error=ErrorNote(name="BadSample"))]
    )
    table = pq.read_table(str(tmp_path / str(uri)))
    assert table.column("id").to_pylist() == [k("a1"), "two"]
    assert table.column("result_status").to_pylist() == ["ok", "failed"]
    assert table.column("result_error_class").to_pylist() == [None, "BadSample"]


# --- files


def test_patience_waits_out_a_stumble_and_gives_up_in_the_end() -> None:
    naps: list[float] = []

    def failing(times: int) -> Callable[[], str]:
        left = iter(range(times))

        def action() -> str:
            if next(left, None) is not None:
                raise OSError(16, "SlowDown")
            return "done"

        return action

    assert files.patiently(failing(3), 60, naps.append) == "done"
    assert len(naps) == 3
    with pytest.raises(Transient, match="SlowDown"):
        files.patiently(failing(10**9), 60, naps.append)
    with pytest.raises(FileNotFoundError):
        files.patiently(lambda: (_ for _ in ()).throw(FileNotFoundError()), 60, naps.append)
    assert sum(naps) < 120


def test_references_are_fetched_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"local")
    with fetch(str(tmp_path / "a.mp4")) as path:
        assert path == str(tmp_path / "a.mp4")
    with fetch(f"file://{tmp_path}/a.mp4") as path:
        assert Path(path).read_bytes() == b"local"
    memory = fsspec.filesystem("memory")
    memory.pipe("/clips/b.mp4", b"remote")
    with fetch("memory://clips/b.mp4") as path:
        assert Path(path).read_bytes() == b"remote"
        assert path.endswith("b.mp4")
    assert not os.path.exists(path)
    for missing in (str(tmp_path / "no.mp4"), "memory://clips/no.mp4", str(tmp_path)):
        with pytest.raises(BadSample), fetch(missing):
            pass


def test_version_tells_a_changed_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    before = files.version_of(str(path))
    assert files.version_of(str(path)) == before
    path.write_bytes(b"three")
    assert files.version_of(str(path)) != before
    with pytest.raises(BadSample):
        files.version_of(str(tmp_path / "no.mp4"))


def test_local_files_obey_the_umask_of_readers(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path))
    store.create(IDENTITY, {})
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o644
    assert json.loads((tmp_path / "run.json").read_text())["identity"] == IDENTITY


def test_a_store_where_nobody_answers_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # a client of the tests above has their address
    with socket.socket() as free:  # bound, not listening: connections are refused
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(UserError, match="nobody answers at the store's address"):
            RunStore("s3://bucket/nobody").run()
    naps: list[float] = []

    def refused() -> None:
        raise ConnectionRefusedError("no one here")

    with pytest.raises(Transient):  # a run that has begun waits an outage out
        files.patiently(refused, 60, naps.append)
    assert len(naps) > 3
    naps.clear()
    with pytest.raises(UserError):
        files.patiently(refused, files.HURRIED_S, naps.append)
    assert naps == []
