"""What `motionecho doctor` finds, what mends it, and that it leaves nothing behind."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from motionecho.cli import checkup
from motionecho.cli.exits import Exit
from motionecho.errors import UserError
from pipelines.machines import examined
from tests.cli.conftest import Cli


def test_a_machine_that_is_well(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "not" / "made" / "yet"
    done = cli("doctor", "--no-ray", "--store", place, "--json")
    found = {check["name"]: check for check in done.json["checks"]}
    for name in ("python", "torch", "codecs", "weights", "pairs", "store"):
        assert found[name]["state"] == "ok", found[name]
    assert "toy" in found["weights"]["found"]
    assert not [*tmp_path.iterdir()], "nothing is left behind"
    assert done.code == Exit.OK
    assert done.json["ok"] is True
    plain = cli("doctor", "--no-ray")
    assert [line.split()[:2] for line in plain.out.splitlines()][:2] == [
        ["ok", "python"],
        ["ok", "variables"],
    ]


def test_what_is_missing_fails_with_what_mends_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ("--pair", "turbo-v2", "--weights", tmp_path, "--store", tmp_path / "file" / "run")
    done = cli("doctor", "--no-ray", *words, "--json")
    assert done.code == Exit.UNEXPECTED
    found = {check["name"]: check for check in done.json["checks"]}
    assert found["weights"]["state"] == found["store"]["state"] == "fail"
    assert "teacher, student" in found["weights"]["found"]
    assert "models pull turbo-v2" in found["weights"]["mend"]
    assert "Credentials" in found["store"]["mend"]
    assert cli("doctor", "--pair", "tvrbo-v2").code == Exit.USAGE
    remark = checkup.ray("http://127.0.0.1:9")
    assert (remark.state, "cannot reach a Ray job server" in remark.found) == ("fail", True)


def test_a_store_without_conditional_writes_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = fsspec.filesystem("memory")
    assert checkup.store("memory://doctor/run").state == "ok"
    plainly: Callable[..., None] = fs.pipe_file

    def unconditional(path: str, value: bytes, mode: str = "overwrite", **more: object) -> None:
        plainly(path, value)

    monkeypatch.setattr(fs, "pipe_file", unconditional)
    remark = checkup.store("memory://doctor/run")
    assert (remark.state, "one driver at a time" in remark.mend) == ("warn", True)
    assert not fs.find("/doctor")

    def forbidden(path: str, value: bytes, **more: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(fs, "pipe_file", forbidden)
    remark = checkup.store("memory://doctor/run")
    assert (remark.state, "written to: Access Denied" in remark.found) == ("fail", True)


def test_disks_that_are_full_or_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert checkup.tmpdir().state == "fail"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert checkup.tmpdir().found.startswith(str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    assert (checkup.tmpdir().state, "TMPDIR" in checkup.tmpdir().mend) == ("fail", True)
    if Path("/dev/shm").is_dir():
        assert "--shm-size" in checkup.shared_memory().mend


def test_what_is_said_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"version": "2.60.0", "seconds": 3.2, "cores": [2.0], "gpus": 0.0, "listens": ["127.0.0.1"]}
    monkeypatch.setattr(examined, "started", lambda address: seen)
    assert checkup.ray(None).found.endswith("2 cores, 0 GPUs; listens on 127.0.0.1 alone")
    monkeypatch.setattr(examined, "started", lambda address: seen | {"listens": ["0.0.0.0"]})
    assert (checkup.ray(None).state, "0.0.0.0" in checkup.ray(None).found) == ("warn", True)

    def refused(address: str | None) -> None:
        raise UserError(f'cannot reach Ray at "{address}": Version mismatch')

    monkeypatch.setattr(examined, "started", refused)
    remark = checkup.ray("ray://head:10001")
    assert (remark.state, "the same Ray and Python" in remark.mend) == ("fail", True)
    broken = checkup.guarded(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert (broken.state, broken.found) == ("fail", "ZeroDivisionError: division by zero")
