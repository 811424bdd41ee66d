"""`motionecho batch`: a small real run on local Ray from the first submit to the last question about it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motionecho.cli.exits import Exit
from motionecho.runs.store import RunStore
from tests.cli.conftest import Cli

QUICK = ("--set", "steps=2", "--set", "inversion_steps=2", "--metric", "sanity", "--workers", "1")
PROMPT = "a red star on a blue background"


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def manifest(tmp_path: Path, clip: Path) -> Path:
    """Two rows on one clip, and one whose clip is a text file."""
    (tmp_path / "text.mp4").write_text("not a video")
    return write(
        tmp_path / "m.jsonl",
        {"id": "one", "reference": str(clip), "prompt": PROMPT, "moves": "object"},
        {"id": "two", "reference": str(clip), "prompt": "a white heart on a black background"},
        {"id": "bad", "reference": "text.mp4", "prompt": PROMPT},
    )


@pytest.fixture
def _ray() -> Iterator[None]:
    """Leave no Ray behind for the next test."""
    yield
    import ray

    ray.shutdown()


def test_dry_run_and_plan_say_what_is_left_and_touch_nothing(
    cli: Cli, manifest: Path, tmp_path: Path
) -> None:
    where = (manifest, "--out", tmp_path / "run", "--json", *QUICK)
    done = cli("batch", "submit", *where, "--dry-run")
    assert done.code == Exit.OK
    assert (done.json["plan"]["rows"], done.json["plan"]["motions"], done.json["estimate"]) == (3, 2, None)
    assert cli("batch", "plan", *where).json == done.json
    assert not (tmp_path / "run").exists()
    table = cli("batch", "plan", manifest, "--out", tmp_path / "run").out
    assert "3 samples, 2 motions of which 0 cached" in table
    assert "--pilot 3" in table
    mistake = cli("batch", "plan", *where, "--like", "x", "--pilot", "1")
    assert mistake.code == Exit.USAGE
    assert "give one of them" in mistake.sentence()


@pytest.mark.usefixtures("_ray")
def test_a_run_from_submit_to_failures_and_again(cli: Cli, manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    submit = ("batch", "submit", manifest, "--out", run, "--json", *QUICK)
    first = cli(*submit)
    assert first.code == Exit.FAILED_SAMPLES, first.err
    assert (first.json["exit_code"], first.json["committed"], first.json["failed"]) == (3, 2, 1)
    assert Path(first.json["sheet"]).is_file()
    assert f"motionecho batch failures {run}" in first.err
    assert "\r" not in first.err

    status = cli("batch", "status", run, "--json").json
    assert (status["total"], status["done"], status["failed"], status["finished"]) == (3, 2, 1, True)
    assert "2 of 3 done, 1 failed, finished" in cli("batch", "status", run, "--watch").out

    table = cli("batch", "failures", run)
    assert "BadSample" in table.out
    assert "text.mp4" in table.out
    (failure,) = cli("batch", "failures", run, "--json").json["failures"]
    assert (failure["id"], failure["error"]["class"]) == ("bad", "BadSample")

    before = {record.key: record.committed_at for record in RunStore(str(run)).records()}
    plan = cli("batch", "plan", manifest, "--out", run, "--json", *QUICK).json
    assert (plan["plan"]["done"], plan["plan"]["todo"], plan["estimate"]["n"]) == (2, 0, 2)
    other = cli("batch", "plan", manifest, "--out", tmp_path / "new", "--like", run, "--json", *QUICK).json
    assert other["estimate"]["hours"] > 0
    assert other["estimate"]["bytes"] > 1000
    assert f"2 samples of {run} on cpu" in other["estimate"]["basis"]

    again = cli(*submit, "--allow-failures")
    assert again.code == Exit.OK
    assert (again.json["committed"], again.json["already_done"]) == (0, 2)
    assert {record.key: record.committed_at for record in RunStore(str(run)).records()} == before

    others = ("--out", run, *QUICK, "--set", "steps=3")
    other = cli("batch", "submit", manifest, *others)
    assert other.code == Exit.USAGE
    assert "steps is 2 there and 3 now" in other.sentence(), "nothing is announced that is refused"
    assert "steps is 2 there and 3 now" in cli("batch", "plan", manifest, *others, "--json").json["refused"]
    assert "refused    " in cli("batch", "submit", manifest, *others, "--dry-run").out


def test_a_place_that_cannot_be_written_is_a_mistake_in_the_command(
    cli: Cli, manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = cli("batch", "submit", manifest, "--out", tmp_path / "file" / "run", *QUICK)
    assert done.code == Exit.USAGE
    assert str(tmp_path / "file" / "run") in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"reference": "a.mp4"}, '"prompt"'),
        ({"reference": "a", "prompt": "b", "negative_promt": "c"}, '"negative_prompt"'),
    ],
)
def test_a_manifest_of_the_wrong_shape_is_one_sentence(
    cli: Cli, tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    done = cli("batch", "submit", write(tmp_path / "m.jsonl", row), "--out", tmp_path / "run")
    assert done.code == Exit.USAGE
    assert said in done.sentence()
    assert not (tmp_path / "run").exists()
