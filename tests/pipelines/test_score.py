"""Scoring what exists: every kind of source and of bad row, resuming by score key, a run's cost."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motionecho.errors import Changed, UserError
from motionecho.manifest import BadRow, Sample
from motionecho.metrics import Item, Scores
from motionecho.metrics.compare import gather, summarize, tally
from motionecho.runs.keys import digest
from motionecho.runs.notes import Blob, ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.runs.tables import to_parquet
from motionecho.video import write_video
from pipelines.execution import Execution, Summary
from pipelines.scoring import run as scoring_run
from pipelines.scoring import stage
from pipelines.scoring.run import Scoring, default_place, make_record, plan_scoring, run
from pipelines.scoring.sets import score_sets
from pipelines.scoring.source import ScoredSource, read_source
from pipelines.scoring.stage import Scorer, read_features
from pipelines.tasks import Job, Task

EXECUTION = Execution(workers=1, max_failure_rate=1.0)


def film(path: Path, frames: int = 8, size: tuple[int, int] = (64, 64), step: float = 2.0) -> Path:
    """A textured strip that slides sideways."""
    world = np.random.default_rng(0).integers(0, 255, (size[0] // 8, 64, 3), np.uint8)
    world = world.repeat(8, 0).repeat(8, 1)
    shown = [world[:, 200 + int(k * step) : 200 + int(k * step) + size[1]] for k in range(frames)]
    write_video(path, np.stack(shown), 8.0, None)
    return path


def table(path: Path, *rows: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    film(tmp_path / "reference.mp4")
    film(tmp_path / "same.mp4")
    film(tmp_path / "short_wide.mp4", frames=4, size=(48, 96))
    film(tmp_path / "long.mp4", frames=30)
    (tmp_path / "text.mp4").write_text("no video at all")
    return tmp_path


def score(source: str, out: Path, *names: str) -> tuple[Summary, dict[str, Record]]:
    found = read_source(source)
    summary, records = run(found, Scoring.of(names, "crop", "cpu"), str(out), EXECUTION)
    return summary, {record.id: record for record in records}


def test_a_run_is_scored_as_it_is_counted(folder: Path) -> None:
    """A sample whose row was mended since is none of it; two that share an id are both scored."""
    store = RunStore(str(folder / "run"))
    store.create({"settings": {}}, {})
    lines = ""
    for key in "abc":
        uri = f"videos/{key * 2}/{key * 32}-1-0abc.mp4"
        inputs = {"id": "a", "reference": str(folder / "reference.mp4"), "prompt": f"a strip {key}"}
        store.commit(Record(key=key * 32, id="a", status="ok", inputs=inputs, video=Blob(uri, key * 64, 1)))
        lines += f"{key * 32}\n" if key != "a" else ""
    named = digest(lines)[:32]
    store.put_text(f"progress/{named}.keys", lines)
    sources = [{"manifest": "m.csv", "rows": named, "total": 2}]
    store.put_text("progress/one.json", json.dumps({"role": "driver", "ended": True, "sources": sources}))
    found = read_source(store.url)
    assert [(row.id, row.prompt) for row in found.rows if isinstance(row, Sample)] == [
        (f"a-{'b' * 8}", "a strip b"), (f"a-{'c' * 8}", "a strip c"),
    ]  # fmt: skip
    assert [record.key for record in found.records()] == ["b" * 32, "c" * 32]


@pytest.mark.usefixtures("embedded_ray")
def test_bad_rows_are_named_and_the_others_scored(folder: Path) -> None:
    """Other lengths and sizes than the reference's are figures, not failures."""
    rows = [
        {"id": "same", "video": "same.mp4", "reference": "reference.mp4", "prompt": "a strip"},
        {"id": "short", "video": "short_wide.mp4", "reference": "reference.mp4"},
        {"id": "long", "video": "long.mp4", "reference": "reference.mp4"},
        {"id": "alone", "video": "same.mp4"},
        {"id": "gone", "video": "gone.mp4", "reference": "reference.mp4"},
        {"id": "text", "video": "text.mp4", "reference": "reference.mp4"},
        {"id": "no reference file", "video": "same.mp4", "reference": "gone.mp4"},
        {"id": "no video", "reference": "reference.mp4"},
    ]
    summary, records = score(
        table(folder / "t.csv", *rows), folder / "out", "motion_fidelity", "text_alignment"
    )
    assert (summary.committed, summary.failed, summary.left) == (4, 4, 0)
    assert records["same"].scores["motion_fidelity"]["mf_traj"] > 0.99
    assert records["short"].scores["motion_fidelity"]["mf_frames"] == 4
    assert records["long"].scores["motion_fidelity"]["mf_frames"] == 8, "no frame of the reference twice"
    assert records["alone"].scores["motion_fidelity"]["motion_fidelity_status"] == "no_reference"
    assert "text_alignment" in records["same"].skipped
    failed = {r.id: r.error.message for r in RunStore(str(folder / "out")).records() if r.error}
    assert failed["no video"] == "video is empty: name the video to score"
    assert "gone.mp4" in failed["gone"]
    assert "text.mp4" in failed["text"]
    assert "gone.mp4" in failed["no reference file"]


@pytest.mark.usefixtures("embedded_ray")
def test_only_what_is_new_is_scored(folder: Path) -> None:
    rows = [{"id": name, "video": "same.mp4", "reference": "reference.mp4"} for name in ("one", "two")]
    first, _ = score(table(folder / "t.csv", *rows[:1]), folder / "out", "sanity")
    more, _ = score(table(folder / "t.csv", *rows), folder / "out", "sanity")
    assert (first.committed, more.committed, more.already_done) == (1, 1, 1)

    place = RunStore(str(folder / "out"))
    sanity = {r.id: r.scores["sanity"] for r in place.records()}
    source = read_source(str(folder / "t.csv"))
    work, known = plan_scoring(source, Scoring.of(["sanity", "motion_fidelity"], "crop", "cpu"), place.url)
    assert {task.payload.metrics for task in work.todo} == {("motion_fidelity",)}, (
        "sanity is known by its score key"
    )
    assert len(known) == 1, "both rows show the same video: one figure"
    _, both = score(str(folder / "t.csv"), folder / "out", "sanity", "motion_fidelity")
    assert {name: r.scores["sanity"] for name, r in both.items()} == sanity
    (again, _), (rows_now) = score(str(folder / "t.csv"), folder / "out", "sanity"), gather(place.records())
    assert (again.committed, again.already_done) == (0, 2)
    assert [set(row.statuses) for row in rows_now] == [{"sanity", "motion_fidelity"}] * 2


def test_a_changed_video_prompt_or_fit_is_another_score(folder: Path) -> None:
    rows = [{"id": "one", "video": "same.mp4", "reference": "reference.mp4", "prompt": "a strip"}]
    scoring = Scoring.of(["sanity"], "crop", "cpu")

    def key(scoring: Scoring = scoring, **changes: str) -> str:
        source = read_source(table(folder / "t.csv", *[row | changes for row in rows]))
        return plan_scoring(source, scoring, str(folder / "out"))[0].todo[0].key

    same = key()
    assert key(licence="CC0") == same
    others = [
        key(video="long.mp4"),
        key(prompt="a band"),
        key(start="0.2"),
        key(Scoring.of(["sanity"], "pad", "cpu")),
    ]
    assert len({same, *others}) == 5
    film(folder / "same.mp4", step=3.0)
    assert key() not in {same, *others}


@pytest.fixture
def made(folder: Path) -> RunStore:
    """A run with one video and one failure."""
    store = RunStore(str(folder / "run"))
    store.create({"settings": {"fit": "pad"}}, {})
    blob = store.put_blob(store.video_uri("ab" * 16, "1-a"), str(folder / "same.mp4"))
    inputs = {"id": "one", "reference": str(folder / "reference.mp4"), "prompt": "a strip", "seed": 7}
    good = Record(
        key="ab" * 16,
        id="one",
        status="ok",
        inputs=inputs,
        video=blob,
        scores={"x": {"x": 0.5}},
        metrics={"x": {"version": "1", "key": "k"}},
        trace={"forward_equivalents": 9},
        seconds={"generate_sample": 2.0, "generate_decode": 0.5, "invert": 4.0},
    )
    error = ErrorNote(name="BadSample")
    bad = Record(key="cd" * 16, id="two", status="failed", inputs=inputs | {"id": "two"}, error=error)
    store.commit(good)
    store.commit(bad)
    store.compact([good, bad])
    return store


@pytest.mark.usefixtures("embedded_ray")
def test_a_run_and_its_results_table_are_sources(made: RunStore, folder: Path) -> None:
    source = read_source(made.url)
    assert (len(source.rows), source.without, source.fit) == (1, 1, "pad")
    place = default_place(source, "ignored")
    assert place == f"{made.url}/scores"
    summary, records = run(source, Scoring.of(["motion_fidelity"], "pad", "cpu"), place, EXECUTION)
    assert (summary.committed, records[0].inputs["seed"]) == (1, 7)
    assert len(list(made.records())) == 2, "the run's own records are not touched"

    part = next(Path(made.url, "results").glob("*.parquet"))
    assert _rows(read_source(str(part))) == _rows(source)
    with pytest.raises(UserError, match="holds scores, not videos"):
        read_source(place)


def _rows(source: ScoredSource) -> list[tuple[str | None, str, str, int]]:
    return [(r.video, r.reference, r.prompt, r.seed) for r in source.rows if not isinstance(r, BadRow)]


def test_what_cannot_be_a_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='lacks "video"; its columns are: reference, prompt'):
        read_source(table(tmp_path / "m.csv", {"reference": "a.mp4", "prompt": "b"}))
    with pytest.raises(UserError, match="neither a run nor a"):
        read_source(str(tmp_path / "nothing"))
    failed = tmp_path / "failed.parquet"
    failed.write_bytes(to_parquet([{"id": "a", "result_status": "failed"}]))
    assert read_source(str(failed)) == ScoredSource([], str(failed), without=1)


def test_figures_of_a_run_its_cost_and_what_no_metric_could_say(made: RunStore) -> None:
    rows = gather(made.records())
    means = summarize(rows)
    assert {name: means[name].mean for name in means} == {
        "x": 0.5,
        "cost_seconds": 2.5,
        "cost_seconds_generate_sample": 2.0,
        "cost_seconds_generate_decode": 0.5,
        "cost_forward_equivalents": 9.0,
    }, "the motion was in the store: no inversion"
    assert (means["x"].low, means["x"].n) == (None, 1)
    assert tally(rows) == {"x": {"ok": 1}}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The metrics that were taken, one entry a measurement."""
    taken: list[str] = []

    class Counted:
        def __init__(self, name: str) -> None:
            self.name, self.version = name, "1"

        def __call__(self, item: Item) -> Scores:
            taken.append(self.name)
            return {self.name: 0.25, f"{self.name}_status": "ok"}

    monkeypatch.setattr(stage, "load_metrics", lambda names, **how: ([Counted(name) for name in names], {}))
    return taken


@pytest.mark.parametrize(
    ("wanted", "fit", "background", "taken"),
    [
        ({"x": "1"}, "pad", "black", []),
        ({"x": "1", "y": "1"}, "pad", "black", ["y"]),
        ({"x": "2"}, "pad", "black", ["x"]),
        ({"x": "1"}, "crop", "black", ["x"]),
        ({"x": "1"}, "pad", "white", ["x"]),
    ],
    ids=["all known", "one new", "another version", "another fit", "another background"],
)
def test_what_a_run_has_measured_is_not_measured_again(
    made: RunStore, measured: list[str], wanted: dict[str, str], fit: str, background: str, taken: list[str]
) -> None:
    source = read_source(made.url)
    scoring, place = Scoring(wanted, {}, fit, "cpu", background), RunStore(made.scores_url)
    work, known = plan_scoring(source, scoring, place.url)
    scorer = Scorer(replace(scoring, metrics=dict.fromkeys(wanted, "1")), place)
    rows = [make_record(Job(task, result=scorer(task)), None, scoring, known, {}) for task in work.todo]
    assert measured == taken
    assert len(rows) == bool(taken)
    for row in rows:
        expected = {name: 0.25 if name in taken else 0.5 for name in wanted}
        assert {name: row.scores[name][name] for name in wanted} == expected


def test_a_run_with_every_figure_needs_no_ray_and_no_place(
    made: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_run, "drive", None)  # which would start Ray
    summary, records = run(read_source(made.url), Scoring({"x": "1"}, {}, "pad"), made.scores_url, EXECUTION)
    assert (summary.total, summary.already_done, summary.left, records) == (1, 1, 0, [])
    assert not Path(made.scores_url).exists()


class Brightness:
    """An embedding that a test can follow: the mean of each frame."""

    name, version = "clip", "1 brightness"

    def __init__(self) -> None:
        self.calls = 0

    def embed(self, frames: np.ndarray) -> np.ndarray:
        self.calls += 1
        return frames.mean((1, 2)).astype(np.float32)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> Brightness:
    made = Brightness()
    monkeypatch.setattr(stage, "load_embedders", lambda names, shared: ([made], {}))
    return made


def scored(folder: Path) -> tuple[list[Task], list[Record]]:
    """Score what is left of three videos, two of them the same, here and not in an actor."""
    rows = [{"id": name, "video": f"{video}.mp4", "reference": "reference.mp4"}
            for name, video in (("one", "same"), ("two", "same"), ("three", "long"))]  # fmt: skip
    place = RunStore(str(folder / "out"))
    work, known = plan_scoring(read_source(table(folder / "t.csv", *rows)), SETS_ONLY, place.url)
    scorer = Scorer(SETS_ONLY, place)
    for task in work.todo:
        place.commit(make_record(Job(task, result=scorer(task)), None, SETS_ONLY, known, {}))
    return list(work.todo), list(place.records())


SETS_ONLY = Scoring({"clip": Brightness.version}, {}, device="cpu")
FLIPS: dict[str, int | None] = {"head": 40, "data": -200, "directory": -60, "end": -10, "cut": None}


@pytest.mark.parametrize("flip", FLIPS.values(), ids=FLIPS.keys())
def test_damaged_features_are_made_again(folder: Path, embedder: Brightness, flip: int | None) -> None:
    (tasks, records), place = scored(folder), RunStore(str(folder / "out"))
    whole = score_sets(["cmmd"], records, SETS_ONLY, place.url, False)
    assert (whole["cmmd"]["status"], len(tasks)) == ("ok", 3)
    assert (whole["cmmd"]["videos"], whole["cmmd"]["references"], embedder.calls) == (2, 2, 4)

    file = folder / "out" / records[0].scores["clip"]["clip_video"]
    before, data = read_features(place, records[0].scores["clip"]["clip_video"]), bytearray(file.read_bytes())
    data[flip or 0] ^= 32
    file.write_bytes(data if flip else data[: len(data) // 2])
    lost = score_sets(["cmmd"], records, SETS_ONLY, place.url, False)["cmmd"]
    assert (lost["status"], lost["reason"][:10]) == ("damaged", "1 of 4 fil")

    tasks, again = scored(folder)
    assert {task.payload.id for task in tasks} == {r.id for r in records if r.scores == records[0].scores}
    np.testing.assert_array_equal(read_features(place, records[0].scores["clip"]["clip_video"]), before)
    assert score_sets(["cmmd"], again, SETS_ONLY, place.url, False) == whole
    assert scored(folder)[0] == []


def test_features_of_an_older_place_are_read(folder: Path, embedder: Brightness) -> None:
    place = RunStore(str(folder / "out"))
    place.folder.overwrite("features/ab/x.npy", b"")
    assert read_features(place, "features/ab/x.npy") is None
    np.save(folder / "out/features/ab/x.npy", np.ones((2, 3)))
    assert read_features(place, "features/ab/x.npy").shape == (2, 3)
    assert read_features(place, "features/ab/gone.npy") is None


@pytest.mark.parametrize("hurt", ["same.mp4", "reference.mp4"])
def test_a_file_with_other_bytes_than_were_recorded_is_not_scored(
    folder: Path, embedder: Brightness, hurt: str
) -> None:
    rows = [{"id": "one", "video": "same.mp4", "reference": "reference.mp4"}]
    work, _ = plan_scoring(read_source(table(folder / "t.csv", *rows)), SETS_ONLY, str(folder / "out"))
    data = bytearray((folder / hurt).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / hurt).write_bytes(data)
    with pytest.raises(Changed, match=rf"{hurt}\" is not what was recorded of it"):
        Scorer(SETS_ONLY, RunStore(str(folder / "out")))(work.todo[0])
    assert embedder.calls == 0 or hurt == "reference.mp4"
