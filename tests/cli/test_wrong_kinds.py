"""A folder where a file belongs in a run's place, or the reverse: one sentence that names it, and no harm."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from motionecho.cli.exits import Exit
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from tests.cli.conftest import Cli

COMMANDS = (
    ("status",), ("failures",), ("verify",), ("verify", "--requeue"), ("export", "-o", "got"),
    ("collect", "-o", "got.parquet"), ("gc", "--yes", "--older-than", "0"), ("logs",), ("cancel",),
    ("retry",),
)  # fmt: skip
FOLDERS = ("records", "results", "progress", "attempts", "report", "videos", "stats", "motions")
KEY = "a" * 32
FILES = (
    "run.json", "job.json", "canary.json", "report/verify.json", f"records/aa/{KEY}.json",
    f"records/aa/{KEY}-2.json", f"videos/aa/{KEY}-1-x.mp4", "progress/one.json",
    f"attempts/aa/{KEY}-1-x.json", "results/part-20260101T000000-abc123.parquet",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.chdir(tmp_path)
    store = RunStore(str(tmp_path / "run"))
    store.create({"settings": {"pair": "toy"}}, {})
    (tmp_path / "blob").write_text("video")
    video = store.put_blob(store.video_uri(KEY, "1-x"), str(tmp_path / "blob"))
    made = Record(key=KEY, id="one", status="ok", inputs={"id": "one"}, video=video)
    store.commit(made)
    store.compact([made])
    store.take_lease("driver", {"m.csv": [KEY]}).end({})
    return store


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_wrong_kind_is_a_surprise(
    cli: Cli, store: RunStore, tmp_path: Path, command: tuple[str, ...]
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(store.url, whole)
    for name in (*FILES, *FOLDERS):
        shutil.rmtree(store.url)
        shutil.copytree(whole, store.url)
        path = Path(store.absolute(name))
        if name in FOLDERS:
            shutil.rmtree(path, ignore_errors=True)
            path.write_text("mine")
        else:
            path.unlink(missing_ok=True)
            path.mkdir(parents=True)
        group = () if command[0] == "export" else ("batch",)
        done = cli(*group, command[0], store.url, *command[1:])
        assert "unexpected" not in done.err, (name, done.err)
        assert done.code in Exit, name
        assert name in FOLDERS or path.is_dir()
        if done.code not in (Exit.OK, Exit.FAILED_SAMPLES):
            assert done.sentence().count(". ") == 0
        shutil.rmtree(tmp_path / "got", ignore_errors=True)
        (tmp_path / "got.parquet").unlink(missing_ok=True)


@pytest.mark.parametrize("settings", [5, {"pair": 5}, {"echo": []}, {"unknown": 1}], ids=str)
def test_edited_settings_are_told_as_the_run_s(cli: Cli, store: RunStore, settings: Any) -> None:
    path = Path(store.absolute("run.json"))
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"identity": {"settings": settings}}))
    assert "run.json" in cli("batch", "retry", store.url, "m.csv").sentence()
