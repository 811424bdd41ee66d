"""`motionecho export` as a person meets it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from motionecho.cli.exits import Exit
from motionecho.runs.notes import Blob
from motionecho.runs.store import RunStore
from tests.cli.conftest import Cli
from tests.dataset.conftest import clips as clips
from tests.dataset.conftest import fill as fill
from tests.dataset.conftest import flipped as flipped
from tests.dataset.conftest import run as run


def test_it_says_what_was_done_and_where_it_is(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    words = ("export", run.url, "-o", tmp_path / "out", "--where", "text >= .6", "--split", "train=.7,val=.3")
    done = cli(*words)
    assert (done.code, done.out) == (Exit.OK, f"{tmp_path / 'out'}\n")
    lines = done.err.splitlines()
    assert lines[0] == "samples    11 done, 9 chosen, 0 near-duplicates left out"
    assert [line.split()[0] for line in lines[1:]] == ["train", "val", "copied"]
    assert lines[-1] == "copied     9, already there 0"
    again = cli(*words, "--json").json
    assert (again["copied"], again["already_there"], again["exit_code"]) == (0, 9, 0)
    note = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (note["finished"], note["settings"]["where"]) == (True, "text >= .6")
    command = f"motionecho export {run.url} --out {tmp_path}/out --to folder --where 'text >= .6'"
    assert command in (tmp_path / "out" / "README.md").read_text()


def test_damage_is_named_and_the_mend_too(
    cli: Cli, run: RunStore, tmp_path: Path, flipped: Callable[[RunStore, str], Blob]
) -> None:
    flipped(run, "d/3")
    done = cli("export", run.url, "-o", tmp_path / "out")
    assert done.code == Exit.FAILED_SAMPLES
    assert "left out   d/3: " in done.err
    assert f"motionecho batch verify {run.url} --requeue" in done.err
    found = cli("export", run.url, "-o", tmp_path / "out", "--json")
    assert (found.code, [each["id"] for each in found.json["left_out"]]) == (Exit.FAILED_SAMPLES, ["d/3"])


def test_columns_captions_and_duplicates(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    """The same run twice is one run; the record as JSON comes along where it is asked for."""
    more = ("--column", "follows", "--column", "result_record", "--caption", "note", "--keep-duplicates")
    assert cli("export", run.url, run.url, "-o", tmp_path / "out", *more, "--json").json["copied"] == 11
    table = pq.read_table(tmp_path / "out" / "train" / "metadata.parquet")
    assert table.column_names == ["file_name", "id", "prompt", "result_key", "result_reference_sha256",
                                  "result_follows", "result_record", "caption"]  # fmt: skip
    row = next(row for row in table.to_pylist() if row["id"] == "d/3")
    assert (row["file_name"], row["caption"], json.loads(row["result_record"])["id"]) == (
        "d_3.mp4",
        "first",
        "d/3",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "hub"), '--to "hub" is no form'),
        (("--to", "webdatset"), 'did you mean "webdataset"?'),
        (("--near", "3", "--keep-duplicates"), "use one"),
        (("--shard-size", "5"), "a folder has no shards"),
        (("--where", "folows > 1"), 'did you mean "follows"?'),
        (("--split", "train=.9"), "0.9 together"),
        (("--caption", "promt"), 'did you mean "prompt"?'),
    ],
)
def test_a_mistake_is_a_sentence_and_nothing_is_written(
    cli: Cli, run: RunStore, tmp_path: Path, words: tuple[Any, ...], said: str
) -> None:
    refused = cli("export", run.url, "-o", tmp_path / "out", *words)
    assert refused.code == Exit.USAGE
    assert said in refused.sentence()
    assert not (tmp_path / "out").exists()


def test_a_place_without_a_run_is_named(cli: Cli, tmp_path: Path) -> None:
    assert "there is no run at" in cli("export", tmp_path / "none", "-o", tmp_path / "out").sentence()
