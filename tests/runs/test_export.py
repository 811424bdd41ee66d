"""A run handed on: one pass over its records, several copies at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from motionecho.runs import results
from motionecho.runs.export import COPIES, FILE, collect_folder
from motionecho.runs.notes import ErrorNote
from motionecho.runs.records import Record
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
    assert sorted(got) == sorted((f"s{n}.mp4", True) for n in range(20))
    assert len(read) == len(set(read)) == 2
    assert (folder / "s13.mp4").read_text() == "video 13"
    table = {row["id"]: row for row in pq.read_table(folder / "results.parquet").to_pylist()}
    assert len(table) == 21
    assert (table["s3"][FILE], table["bad"][FILE]) == ("s3.mp4", None)
    assert all(not fresh for _, fresh in collect_folder(store, str(folder)))


def test_a_copy_that_fails_ends_the_collection(store: RunStore, tmp_path: Path) -> None:
    store.folder.remove_all([store.video_uri(f"{3:032x}", "1-a")])
    with pytest.raises(Exception, match="does not exist"):
        list(collect_folder(store, str(tmp_path / "got")))
    assert not (tmp_path / "got" / "results.parquet").exists()
