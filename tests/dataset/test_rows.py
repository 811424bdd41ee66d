"""The table that an export begins with: rows that are done, of several runs, moved runs and later scores."""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from motionecho.dataset.carried import carried
from motionecho.dataset.rows import gather, samples_of
from motionecho.errors import UserError
from motionecho.metrics.compare import read_scores
from motionecho.metrics.headline import headline_of
from motionecho.runs import layout
from motionecho.runs.keys import digest
from motionecho.runs.records import Record
from motionecho.runs.state import look
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


Judge = Callable[[RunStore, str, float], None]


@pytest.fixture
def judge() -> Judge:
    """Commit a figure taken later of a video, each a day after the one before."""
    days = itertools.count(1)

    def one(run: RunStore, video: str, value: float) -> None:
        scores, day = RunStore(run.scores_url), next(days)
        if scores.run() is None:
            scores.create({"scoring": {}}, {})
        scores.commit(
            Record(
                key=f"{day:032x}", id="named anew", status="ok", inputs={"id": "named anew", "video": video},
                scores={"text_alignment": {"text_alignment": value}},
                committed_at=f"2026-02-{day:02}T00:00:00.000+00:00",
            )
        )  # fmt: skip

    return one


def video_at(run: RunStore, id: str) -> list[str]:
    return [run.absolute(record.video.uri) for record in run.records() if record.id == id and record.video]


def test_figures_taken_later_count_as_the_run_s_own(run: RunStore, judge: Judge) -> None:
    (video,) = video_at(run, "a/0")
    for place, value in ((video, 0.1), (video, 0.8), ("v.mp4", 0.3)):
        judge(run, place, value)
    scores = RunStore(run.scores_url)
    rows = {row["id"]: row for row in gather([run]).to_pylist()}
    assert (rows["a/0"]["result_text_alignment"], rows["b/1"]["result_text_alignment"]) == (0.8, None)
    assert rows["a/0"]["result_committed_at"].month == 1
    assert rows["a/0"]["result_key"] != f"{2:032x}"
    with pytest.raises(UserError, match="holds scores, not videos"):
        gather([scores])


def test_figures_are_a_video_s_and_not_an_id_s(fill: Fill, tmp_path: Path, judge: Judge) -> None:
    """Two samples may have an id in common, and a sample made again has another video: as reports see it."""
    twins = [{"id": "x", "key": letter * 32, "clip": n} for n, letter in enumerate("ab")]
    store = fill(str(tmp_path / "twins"), [*twins, {"id": "again", "clip": 2}])
    for video, value in zip(sorted(video_at(store, "x")), (0.9, 0.1), strict=True):
        judge(store, video, value)
    judge(store, *video_at(store, "again"), 0.5)
    (old,) = (record for record in store.records() if record.id == "again")
    made = store.put_blob(layout.video(old.key, "2-b"), store.absolute(old.video.uri if old.video else ""))
    assert store.commit(replace(old, video=made, generation=2))
    rows = gather([store]).to_pylist()
    found = {(row["id"], row["result_key"][0]): row.get("result_text_alignment") for row in rows}
    assert (found["x", "a"], found["x", "b"]) == (0.9, 0.1)
    assert found["again", old.key[0]] is None
    told = {(each.id, each.figures.get("text_alignment")) for each in read_scores(store.url)}
    assert told == {("x", 0.9), ("x", 0.1), ("again", None)}
    mean = headline_of(store)[1].figures["text_alignment"]
    assert (mean.mean, mean.n) == (0.5, 2)


def test_what_a_manifest_has_no_more_does_not_count(run: RunStore) -> None:
    """As in reports: `a/0` was edited out of the manifest that was submitted last."""
    keys = sorted(record.key for record in run.records() if record.id != "a/0")
    lines = "\n".join(keys) + "\n"
    run.put_text(layout.rows(digest(lines)), lines)
    source = {"manifest": "m.parquet", "rows": digest(lines), "total": len(keys)}
    word = {"role": "driver", "life": "l", "sources": [source], "ended": True, "schema_version": 1}
    run.put_text(layout.lease("l"), json.dumps(word))
    assert look(run, run.index())[0].total == 11, "the driver is understood"
    ids = {row["id"] for row in gather([run]).to_pylist()}
    assert "a/0" not in ids
    assert len(ids) == 10


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
