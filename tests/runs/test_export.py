"""A run handed on: one pass over its records, several copies at a time."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from motionecho.errors import Transient
from motionecho.runs import results
from motionecho.runs.export import COPIES, FILE, Collected, collect_folder, readable_names
from motionecho.runs.folder import Folder
from motionecho.runs.notes import ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.results import Entry
from motionecho.runs.store import RunStore


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
            together.wait(timeout=30)  # passes once so many copies are under way
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
    hurt, gone = (store.video_uri(f"{n:032x}", "1-a") for n in (3, 17))
    store.folder.overwrite(hurt, b"video 4")
    store.folder.remove_all([gone])
    Folder.at(target).overwrite("s3.mp4", b"video 4, as collected before")
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
