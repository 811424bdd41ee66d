"""A folder: paths within it, files whole or not at all, and the same on a disk, in memory and on S3."""

import os
import stat
import threading
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from motionecho.errors import Transient, UserError
from motionecho.runs import local
from motionecho.runs.folder import Folder
from motionecho.runs.parallel import in_order


@pytest.fixture
def folder(url: str) -> Folder:
    return Folder.at(url, patience_s=1)


def test_paths_are_within_the_folder(folder: Folder, url: str, tmp_path: Path) -> None:
    assert folder.find() == []
    assert not folder.exists("a/one.txt")
    assert folder.look("a/one.txt") is None
    (tmp_path / "file").write_bytes(b"three")
    folder.put_whole("b/three.bin", str(tmp_path / "file"))
    folder.overwrite("a/one.txt", b"one")
    folder.overwrite("a/.part-1", b"unfinished")
    assert folder.find() == ["a/one.txt", "b/three.bin"]
    assert folder.find("b") == ["b/three.bin"]
    assert {path: file.bytes for path, file in folder.listed("a").items()} == {
        "a/one.txt": 3,
        "a/.part-1": 10,
    }
    there = folder.look("b/three.bin")
    assert there is not None
    assert (folder.read("a/one.txt"), there.bytes) == (b"one", 5)
    with folder.fetch("b/three.bin") as path:
        assert Path(path).read_bytes() == b"three"
    beside, name = Folder.holding(f"{url}/a/one.txt")
    assert (beside.url, name, beside.read(name)) == (f"{folder.url}/a", "one.txt", b"one")
    folder.remove_all(["a/one.txt", "a/never.txt"])
    assert folder.find() == ["b/three.bin"]
    with pytest.raises(FileNotFoundError):
        folder.read("a/one.txt")


def test_a_file_is_created_once_and_may_be_overwritten(folder: Folder) -> None:
    assert folder.create_once("a", b"first")
    assert folder.create_once("a", b"first"), "our own, whose answer was lost"
    assert not folder.create_once("a", b"second")
    assert folder.read("a") == b"first"
    folder.overwrite("a", b"third")
    assert folder.read("a") == b"third"


class Unconditional(MemoryFileSystem):
    """A store that knows no conditional writes, and says so in one of the ways of stores."""

    protocol = "unconditional"
    store: ClassVar[dict[str, Any]] = {}
    problem: Exception = NotImplementedError("mode")

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **how: object) -> None:
        if mode == "create":
            raise self.problem
        super().pipe_file(path, value, **how)


def _answer(status: int) -> Exception:
    problem, cause = OSError(5, "A header you provided implies functionality that is not"), Exception("S3")
    cause.response = {"ResponseMetadata": {"HTTPStatusCode": status}}  # type: ignore[attr-defined]
    problem.response = cause.response  # type: ignore[attr-defined]
    return problem


@pytest.mark.parametrize(
    "problem",
    [_answer(501), NotImplementedError("mode"), OSError(5, "An error occurred (NotImplemented)"),
     ValueError("create mode is not implemented")],
    ids=repr,
)  # fmt: skip
def test_a_store_without_conditional_writes_takes_records_too(
    problem: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fsspec.register_implementation("unconditional", Unconditional, clobber=True)
    monkeypatch.setenv("MOTIONECHO_PROTOCOLS", "unconditional")
    monkeypatch.setattr(Unconditional, "problem", problem)
    folder = Folder.at(f"unconditional://{tmp_path.name}", patience_s=1)
    assert folder.create_once("a", b"first")
    assert not folder.create_once("a", b"second")
    assert folder.read("a") == b"first"
    monkeypatch.setattr(Unconditional, "problem", PermissionError("no"))
    with pytest.raises(PermissionError):
        folder.create_once("b", b"first")


def test_what_others_write_is_seen(folder: Folder, url: str) -> None:
    folder.overwrite("x/a", b"1")
    assert folder.find("x") == ["x/a"]
    Folder.at(url).overwrite("x/b", b"2")
    assert folder.find("x") == ["x/a", "x/b"]


def test_wherever_a_file_is_it_has_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, name = Folder.holding("/table.csv")
    assert (folder.url, name, folder.absolute(name)) == ("/", "table.csv", "/table.csv")
    folder, name = Folder.holding("memory://table.csv")
    folder.overwrite(name, b"x")
    assert Folder.holding("memory://table.csv")[0].read("table.csv") == b"x"
    monkeypatch.chdir(tmp_path)
    folder, name = Folder.holding("t.csv")
    assert (folder.url, name) == (str(tmp_path), "t.csv")
    (tmp_path / "there").mkdir()
    for url in ("there/../run/", f"file://{tmp_path}/run"):
        Folder.at(url).overwrite("a/b", b"x")
        assert Folder.at(url).find() == ["a/b"]
    assert Folder.at("run").find("a") == ["a/b"]


def test_a_local_file_is_never_seen_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder.at(str(tmp_path / "deep" / "run"), patience_s=0)
    folder.overwrite("a", b"before")
    assert stat.S_IMODE((tmp_path / "deep" / "run" / "a").stat().st_mode) == 0o644

    def full(path: str, data: bytes) -> None:
        Path(path).write_bytes(data[:1])
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(local, "write", full)
    with pytest.raises(OSError, match="no space"):
        folder.overwrite("a", b"after")
    with pytest.raises(OSError, match="no space"):
        folder.create_once("b", b"after")
    assert {path: file.bytes for path, file in folder.listed().items()} == {"a": 6}, "no trace of what failed"


def test_a_disk_without_hard_links_takes_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: str, target: str) -> None:
        raise OSError(1, "operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    folder = Folder.at(str(tmp_path))
    assert folder.create_once("a", b"one")
    assert {path: file.bytes for path, file in folder.listed().items()} == {"a": 3}


def test_patience_is_the_folder_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="which is not opened"):
        Folder.at("gopher://old/run")
    folder = Folder.at(str(tmp_path))
    hurried = folder.within(0)
    assert (folder.url, folder.fs) == (hurried.url, hurried.fs)
    monkeypatch.setattr(folder.fs.fs, "info", lambda path: (_ for _ in ()).throw(OSError(16, "SlowDown")))
    with pytest.raises(Transient, match="SlowDown"):
        hurried.exists("a")


# --- several at a time


def test_results_come_in_order_and_few_are_held() -> None:
    taken: list[int] = []
    lock, most, now = threading.Lock(), 0, 0

    def items() -> object:
        for n in range(100):
            taken.append(n)
            yield n

    def action(n: int) -> int:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.001 * (n % 3))
        with lock:
            now -= 1
        return n * n

    results = in_order(action, items(), threads=4)  # type: ignore[arg-type]
    assert next(results) == 0
    assert len(taken) <= 10, "the rest is taken when its turn comes"
    assert [0, *results] == [n * n for n in range(100)]
    assert 1 < most <= 4


def test_a_failure_ends_it() -> None:
    done: list[int] = []

    def action(n: int) -> int:
        if n == 3:
            raise ValueError("the third")
        done.append(n)
        return n

    with pytest.raises(ValueError, match="the third"):
        list(in_order(action, range(1000), threads=2))
    assert len(done) < 20
