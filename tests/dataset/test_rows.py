"""The table that an export begins with: rows that are done, of several runs, moved runs and later scores."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from motionecho.dataset.carried import carried
from motionecho.dataset.rows import gather, samples_of
from motionecho.errors import UserError
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from tests.dataset.conftest import Fill


def test_rows_that_are_done_of_several_runs_are_one_table(run: RunStore, fill: Fill, tmp_path: Path) -> None:
    """Some in a part, some not; the columns of their manifests differ, and a kind too."""
    other = fill(
        str(tmp_path / "other"), [{"id": "z", "inputs": {"take": "two", "mood": 1.5}}], compact=False
    )
    table = gather([run, other])
    rows = {row["id"]: row for row in table.to_pylist()}
    assert len(rows) == 12
    assert "b/11" not in rows
    assert (rows["d/3"]["take"], rows["z"]["take"], rows["d/3"]["mood"], rows["z"]["mood"]) == (
        "3",
        "two",
        None,
        1.5,
    )
    assert {row["result_run"] for row in rows.values()} == {run.url, other.url}
    assert "result_record" not in table.column_names
    assert "video" not in table.column_names


def test_a_run_that_was_moved_is_read_where_it_is(run: RunStore, tmp_path: Path) -> None:
    moved = RunStore(str(shutil.move(run.url, tmp_path / "moved")))
    for row in gather([moved]).to_pylist():
        assert row["result_run"] == moved.url
        assert Path(row["result_video"]).is_relative_to(moved.url)
        assert Path(row["result_video"]).exists()


def test_figures_taken_later_count_as_the_run_s_own(run: RunStore) -> None:
    scores = RunStore(run.scores_url)
    scores.create({"scoring": {}}, {})
    for number, (key, value) in enumerate((("e" * 32, 0.1), ("f" * 32, 0.8))):
        at = f"2026-02-0{number + 1}T00:00:00.000+00:00"
        figures = {"text_alignment": {"text_alignment": value}}
        inputs = {"id": "a/0", "video": "v.mp4"}
        scores.commit(Record(key=key, id="a/0", status="ok", inputs=inputs, scores=figures, committed_at=at))
    rows = {row["id"]: row for row in gather([run]).to_pylist()}
    assert (rows["a/0"]["result_text_alignment"], rows["b/1"]["result_text_alignment"]) == (0.8, None)
    assert rows["a/0"]["result_committed_at"].month == 1
    assert rows["a/0"]["result_key"] != "f" * 32
    with pytest.raises(UserError, match="holds scores, not videos"):
        gather([scores])


def test_no_video_outside_of_its_run_is_one_of_it(run: RunStore, tmp_path: Path) -> None:
    """A stranger's record may name any file of the machine."""
    (tmp_path / "secret").write_text("mine")
    known = {record.id: record for record in run.records()}
    for id, uri in (("a/0", str(tmp_path / "secret")), ("b/1", "../secret")):
        made = known[id]
        assert made.video is not None
        video = replace(made.video, uri=uri, sha256=None)
        assert run.commit(replace(made, video=video, generation=2))
    found = {each.id: each.video for each in samples_of(gather([run]))}
    assert (found["a/0"], found["b/1"]) == (None, None)
    assert all(path for id, path in found.items() if id not in ("a/0", "b/1"))


def test_only_columns_that_are_asked_for_are_carried(run: RunStore) -> None:
    table = carried(gather([run]), ["follows", "take"], None)
    assert table.column_names == ["id", "prompt", "result_key", "result_reference_sha256", "result_follows",
                                  "take", "caption"]  # fmt: skip
    assert table.column("caption").to_pylist() == table.column("prompt").to_pylist()
    assert carried(gather([run]), None, "take").column("caption").to_pylist()[0] in map(str, range(12))
    with pytest.raises(UserError, match=r'--caption: there is no column "promt" \(did you mean "prompt"\?\)'):
        carried(gather([run]), None, "promt")
