"""A run handed on: one pass over its records, several copies at a time."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from motionecho.errors import Transient, UserError
from motionecho.runs import results
from motionecho.runs.export import (
    COPIES,
    FILE,
    NOTE,
    TABLE,
    Collected,
    collect_folder,
    collect_table,
    readable_names,
)
from motionecho.runs.folder import Folder
from motionecho.runs.notes import ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.results import Entry
from motionecho.runs.store import RunStore
from tests.patience import patience


@pytest.fixture
def store(url: str, tmp_path: Path) -> RunStore:
    """Two parts of ten videos each, and a failure that no part names."""
    store = RunStore(url)
    for part in range(2):
        made = []
        for n in range(10 * part, 10 * part + 10):
            (tmp_path / "blob").write_text(f"video {n}")
            key = f"{n:032x}"
            video = store.put_blob(store.video_uri(key, "1-a"), str(tmp_path / "blob"))
            made.append(Record(key=key, id=f"s{n}", status="ok", inputs={"id": f"s{n}"}, video=video))
            store.commit(made[-1])
        store.compact(made)
    error = ErrorNote(name="X")
    store.commit(Record(key="f" * 32, id="bad", status="failed", inputs={"id": "bad"}, error=error))
    return store


def test_records_are_read_once_and_videos_copied_together(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    inner, fetch, together = results.read_records, RunStore.fetch, threading.Barrier(COPIES)

    def counted(part: bytes) -> Iterator[Record]:
        read.append(part)
        return inner(part)

    @contextmanager
    def waiting(self: RunStore, uri: str) -> Iterator[str]:
        if len(copied) < COPIES:
            copied.append(uri)
            together.wait(timeout=patience(30))  # passes once so many copies are under way
        with fetch(self, uri) as path:
            yield path

    copied: list[str] = []
    monkeypatch.setattr(results, "read_records", counted)
    monkeypatch.setattr(RunStore, "fetch", waiting)
    folder = tmp_path / "got"
    got = list(collect_folder(store, str(folder)))
    assert len(got) == 20
    assert {*got} == {Collected(f"s{n}.mp4", fresh=True) for n in range(20)}
    assert len(read) == len(set(read)) == 2
    assert (folder / "s13.mp4").read_text() == "video 13"
    table = {row["id"]: row for row in pq.read_table(folder / "results.parquet").to_pylist()}
    assert len(table) == 21
    assert (table["s3"][FILE], table["bad"][FILE]) == ("s3.mp4", None)
    assert not any(video.fresh for video in collect_folder(store, str(folder)))


@pytest.mark.parametrize("to", ["folder", "memory"])
def test_a_video_that_is_not_what_its_record_says_is_left_out(
    store: RunStore, tmp_path: Path, to: str
) -> None:
    """Nor does what an earlier collection made of it stay."""
    target = str(tmp_path / "got") if to == "folder" else f"memory://{tmp_path.name}-got"
    assert len(list(collect_folder(store, target))) == 20
    hurt = made_again(store, 3, tmp_path)
    store.folder.overwrite(hurt, b"video 4")
    store.folder.remove_all([store.video_uri(f"{17:032x}", "1-a")])
    Folder.at(target).remove_all(["s17.mp4"])
    got = {video.name: video for video in collect_folder(store, target)}
    problems = {name: video.problem for name, video in got.items() if video.problem}
    assert problems.keys() == {"s3.mp4", "s17.mp4"}
    assert problems["s3.mp4"] == f'"{store.absolute(hurt)}" is not what its record says'
    assert "does not exist" in problems["s17.mp4"]
    assert len(got) == 20
    there = Folder.at(target).find()
    assert {*there} == {*got, "results.parquet"} - problems.keys()
    table = pq.read_table(io.BytesIO(Folder.at(target).read("results.parquet"))).to_pylist()
    named = {row["id"]: row[FILE] for row in table}
    assert (named["s3"], named["s17"], named["s4"], len(named)) == (None, None, "s4.mp4", 21)


def made_again(store: RunStore, number: int, tmp_path: Path) -> str:
    """Commit another video of a sample, and return its URI."""
    key = f"{number:032x}"
    (tmp_path / "blob").write_text(f"video {number}, made again")
    video = store.put_blob(store.video_uri(key, "2-a"), str(tmp_path / "blob"))
    again = {"id": f"s{number}", "status": "ok", "inputs": {"id": f"s{number}"}, "generation": 2}
    assert store.commit(Record(key=key, video=video, **again))
    return video.uri


@pytest.mark.parametrize("name", ["s3.mp4", "results.parquet", ".collected.json"])
@pytest.mark.parametrize("before", ["nothing", "interrupted", "collected"])
def test_files_of_others_are_never_touched(store: RunStore, tmp_path: Path, name: str, before: str) -> None:
    """Whether the run was collected there before or not; only --force writes over them."""
    target = str(tmp_path / "got")
    folder = Folder.at(target)
    if before != "nothing":
        assert len(list(collect_folder(store, target))) == 20
    if before == "interrupted":
        folder.remove_all(["results.parquet", ".collected.json"])
    folder.overwrite(name, b"mine")
    folder.overwrite("notes.txt", b"mine, too")
    made_again(store, 3, tmp_path)
    held = {path: folder.read(path) for path in folder.listed()}
    if name != ".collected.json" or before == "collected":
        with pytest.raises(UserError, match="add --force to write over it"):
            list(collect_folder(store, target))
        assert {path: folder.read(path) for path in folder.listed()} == held
    assert len(list(collect_folder(store, target, force=True))) == 20
    assert folder.read("s3.mp4") == b"video 3, made again"
    assert folder.read("notes.txt") == b"mine, too"
    assert not any(video.fresh for video in collect_folder(store, target)), "it is this run's from now on"


def test_what_a_collection_left_is_brought_up_to_date(store: RunStore, tmp_path: Path) -> None:
    target = str(tmp_path / "got")
    assert len(list(collect_folder(store, target))) == 20
    made_again(store, 3, tmp_path)
    assert [video.name for video in collect_folder(store, target) if video.fresh] == ["s3.mp4"]
    assert Folder.at(target).read("s3.mp4") == b"video 3, made again"


@pytest.mark.parametrize("collections", [0, 1])
def test_a_collection_that_is_killed_at_its_end_continues(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collections: int
) -> None:
    """Between the two files that say what was collected, of the first collection as of a later one."""
    target, written = str(tmp_path / "got"), list[str]()
    for _ in range(collections):
        assert len(list(collect_folder(store, target))) == 20
        made_again(store, 3, tmp_path)
    overwrite = Folder.overwrite

    def killed(self: Folder, path: str, data: bytes) -> None:
        if path in (TABLE, NOTE):
            if written:
                raise KeyboardInterrupt
            written.append(path)
        overwrite(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "overwrite", killed)
        with pytest.raises(KeyboardInterrupt):
            list(collect_folder(store, target))
    if collections:
        made_again(store, 4, tmp_path)
    assert [video.name for video in collect_folder(store, target) if video.fresh] == ["s4.mp4"] * collections
    assert not any(video.fresh for video in collect_folder(store, target))


def test_another_run_is_not_collected_over_this_one(store: RunStore, tmp_path: Path) -> None:
    target, other = str(tmp_path / "got"), RunStore(f"memory://{tmp_path.name}-other")
    list(collect_folder(store, target))
    other.commit(Record(key="e" * 32, id="e", status="failed", inputs={"id": "e"}))
    with pytest.raises(UserError, match=r"results\.parquet"):
        list(collect_folder(other, target))


def test_a_table_is_not_written_over_one_that_is_there(store: RunStore, tmp_path: Path) -> None:
    path = tmp_path / "my.parquet"
    path.write_text("mine")
    with pytest.raises(UserError, match="add --force"):
        collect_table(store, str(path))
    assert path.read_text() == "mine"
    assert collect_table(store, str(path), force=True) == 21


def test_what_is_hashed_is_what_is_copied(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes while it is copied is left out, or copied as it was."""
    read, folder = Path.read_bytes, tmp_path / "got"

    def changing(path: Path) -> bytes:
        data = read(path)
        path.write_bytes(b"changed behind the reader")
        return data

    monkeypatch.setattr(Path, "read_bytes", changing)
    assert not any(video.problem for video in collect_folder(store, str(folder)))
    assert (folder / "s13.mp4").read_text() == "video 13"


def test_a_store_that_fails_ends_the_collection(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said of the videos that were not reached; the same again continues."""
    fetch, bad = RunStore.fetch, store.video_uri(f"{3:032x}", "1-a")

    @contextmanager
    def failing(self: RunStore, uri: str) -> Iterator[str]:
        if uri == bad:
            raise Transient("the store kept failing for 180 s: 503")
        with fetch(self, uri) as path:
            yield path

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "fetch", failing)
        with pytest.raises(Transient, match="503"):
            list(collect_folder(store, str(tmp_path / "got")))
    assert not (tmp_path / "got" / "results.parquet").exists()
    assert sum(video.fresh for video in collect_folder(store, str(tmp_path / "got"))) < 20
    assert (tmp_path / "got" / "s3.mp4").read_text() == "video 3"


def test_names_of_long_ids_fit_in_every_script() -> None:
    entries = [Entry(key * 32, key * 100, "ok") for key in ("海", "a")]
    names = readable_names(entries)
    assert all(len(name.encode()) <= 255 - len("-12345678") for name in names.values())
    assert names["海" * 32] == "海" * 66 + ".mp4"
