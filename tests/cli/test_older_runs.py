"""A run that an older version made is read as it is, and not continued: its videos are others."""

import json
import shutil
from pathlib import Path

import pytest

from motionecho.cli.exits import Exit
from motionecho.runs.keys import CODE_EPOCH, file_digest
from tests.cli.conftest import ROOT, Cli

CLIP = ROOT / "manifests" / "clips" / "bounce.mp4"
KEY = "ab" * 16


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A run as version 0.1.0 left it, epoch 4: one video, one failed sample."""
    run, manifest = tmp_path / "run", tmp_path / "m.csv"
    manifest.write_text(
        f"id,reference,prompt\none,{CLIP},a red star on a blue background\ntwo,gone.mp4,a red moon\n"
    )
    echo = {"steps": 8, "layers": [], "reference_timestep": 400}
    settings = {"pair": "toy", "echo": echo, "metrics": [], "fit": "crop", "dtype": "auto", "gate": None}
    identity = {"settings": settings, "weights": {}, "code_epoch": 4}
    (run / "videos").mkdir(parents=True)
    (run / "records" / "ab").mkdir(parents=True)
    about = {"created_at": "2026-11-01T00:00:00.000+00:00", "weights_at": []}
    words = {"schema_version": 1, "identity": identity, "motions": None, "about": about}
    (run / "run.json").write_text(json.dumps(words))
    (run / "progress.json").write_text(json.dumps({"ended": True, "manifest": str(manifest)}))
    shutil.copy(CLIP, run / "videos" / "one.mp4")
    shared = {"schema_version": 1, "committed_at": "2026-11-01T00:00:00.000+00:00"}
    video = {"uri": "videos/one.mp4", "sha256": file_digest(str(CLIP)), "bytes": CLIP.stat().st_size}
    where = {"host": "here", "node": "n", "pid": 1, "device": "cpu, threads: 2", "stages": ["generate"]}
    inputs = {"id": "one", "reference": str(CLIP), "prompt": "a red star on a blue background", "seed": 3}
    made = {"key": KEY, "id": "one", "status": "ok", "inputs": inputs, "video": video, "where": where}
    (run / "records" / "ab" / f"{KEY}.json").write_text(json.dumps(shared | made))
    error = {"kind": "bad", "class": "BadSample", "message": "gone", "stage": "invert", "traceback": ""}
    failed = {"key": "abcd" * 8, "id": "two", "status": "failed", "inputs": {"id": "two"}, "error": error}
    (run / "records" / "ab" / f"{'abcd' * 8}.json").write_text(json.dumps(shared | failed))
    return run


def test_it_is_still_read(cli: Cli, old: Path, tmp_path: Path) -> None:
    state = cli("batch", "status", old, "--json")
    assert state.code == Exit.OK, state.err
    done = cli("export", old, "-o", tmp_path / "all")
    assert done.code == Exit.OK, done.err
    assert (tmp_path / "all" / "train" / "one.mp4").read_bytes() == CLIP.read_bytes()
    scored = cli("score", old, "--metric", "sanity", "--json")
    assert scored.code == Exit.OK, scored.err
    assert scored.json["statuses"]["sanity"] == {"ok": 1}
    assert "gone" in cli("batch", "failures", old).out


@pytest.mark.parametrize("command", ["submit", "plan", "retry", "replay"])
def test_it_is_not_continued(cli: Cli, old: Path, tmp_path: Path, command: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in old.rglob("*")}
    rest = {
        "submit": (tmp_path / "m.csv", "--out", old),
        "plan": (tmp_path / "m.csv", "--out", old),
        "retry": (old,),
        "replay": (old, "one"),
    }[command]
    done = cli("batch", command, *rest)
    assert done.code == Exit.USAGE
    assert f"epoch 4 there, {CODE_EPOCH} here" in done.sentence()
    assert {path: path.stat().st_mtime_ns for path in old.rglob("*")} == before


def test_starting_over_takes_its_place(cli: Cli, old: Path, tmp_path: Path) -> None:
    refused = cli("batch", "submit", tmp_path / "m.csv", "--out", old, "--fresh")
    assert refused.code == Exit.USAGE
    assert "--yes" in refused.err
    over = ("--out", old, "--fresh", "--yes")
    missing = cli("batch", "submit", tmp_path / "m.csv", *over, "--engine", "no.yaml")
    assert missing.code == Exit.USAGE
    assert (old / "videos" / "one.mp4").exists(), "a mistake is told before anything is deleted"


def test_a_damaged_run_is_one_sentence(cli: Cli, old: Path, tmp_path: Path) -> None:
    (old / "run.json").write_text("{")
    done = cli("batch", "submit", tmp_path / "m.csv", "--out", old)
    assert (done.code, "delete that one file and submit again" in done.sentence()) == (Exit.USAGE, True)
