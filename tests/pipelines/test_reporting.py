"""A report as files: what is in it, what older runs lack, and what hostile or damaged ones cannot do."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_run import ATTEMPT, CLIPS, COUNT, FAILED, HOSTILE, IDENTITY, draw

from motionecho.errors import UserError
from motionecho.metrics import METRICS
from motionecho.metrics.compare import Scored
from motionecho.report.pages import shown
from motionecho.report.preview import side_by_side, write_preview
from motionecho.runs.cleanup import orphans
from motionecho.runs.layout import preview
from motionecho.runs.notes import Blob
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.runs.verify import verify
from motionecho.video import probe, read_clip
from pipelines.reporting.facts import way_between
from pipelines.reporting.samples import Shape, limits
from pipelines.reporting.write import publish_report, write_report


def taken(folder: Path, name: str) -> Any:
    """What a script of a report hands to the page."""
    text = (folder / "data" / f"{name}.js").read_text()
    assert text.isascii()
    assert "<" not in text
    return json.loads(json.loads(text.split("], ", 1)[1].removesuffix(");\n")))


def of(record: Record) -> Blob:
    """The preview of a sample that has one."""
    assert record.preview
    return record.preview


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    place = tmp_path_factory.mktemp("runs") / "run"
    return place, draw(str(place))


def test_samples_come_in_readable_order_with_what_the_page_needs(run: tuple[Path, list[Record]]) -> None:
    place, records = run
    written = write_report([RunStore(str(place))])
    assert (written.page, written.samples, written.without_preview) == (
        f"{place}/report/index.html",
        COUNT,
        0,
    )
    head, rows = taken(place / "report", "head"), taken(place / "report", "samples-000")
    assert (head["count"], head["shards"], head["roles"]["motion"], head["roles"]["text"]) == (
        COUNT,
        1,
        "follows",
        "toy_text",
    )
    assert head["headlines"][:2] == ["follows", "toy_text"]
    assert [row["id"] for row in rows if row["id"].startswith("arc")] == [
        "arc-4",
        "arc-8",
        "arc-12",
        "arc-16",
        "arc-20",
        "arc-24",
        "arc-28",
    ]
    by = {record.key: record for record in records}
    for row, more in zip(rows, taken(place / "report", "details-000"), strict=True):
        record = by[row["key"]]
        assert row["ok"] == record.ok
        assert row["seed"] == str(record.inputs["seed"]), "a browser's numbers end before it"
        if record.ok:
            assert (place / "report" / row["preview"]).resolve() == place / of(record).uri
            assert row["strip"]["limits"] == [100, 80]
            assert more["steps"] == shown(record.steps)
    hostile = next(row for row in rows if row["id"].startswith("first"))
    assert hostile["prompt"] == HOSTILE.replace("\u2028", "\\u2028").replace("\u202e", "\\u202e")


def test_an_older_run_is_shown_and_gets_previews_where_they_are_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "run"
    records = draw(str(place), older=True)
    store, before = RunStore(str(place)), sorted(p.read_bytes() for p in (place / "records").rglob("*.json"))
    assert write_report([store]).without_preview == COUNT - FAILED
    rows = taken(place / "report", "samples-000")
    assert all(
        row["strip"]["active"] and row["preview"] is None and row["video"] for row in rows if row["ok"]
    )

    Path(store.absolute(records[1].video.uri)).write_bytes(b"no video")  # type: ignore[union-attr]
    made = write_report([store], previews=True)
    assert made.without_preview == 1
    assert len(made.problems) == 1
    assert records[1].id in made.problems[0]
    key = records[0].key
    file = place / "report" / preview(key, ATTEMPT)
    assert (probe(str(file)).width, probe(str(file)).height) == (512, 256)
    assert write_report([store]).without_preview == 1, "those that were made are found again"
    assert sorted(p.read_bytes() for p in (place / "records").rglob("*.json")) == before
    assert not any(orphan.uri.startswith("report") for orphan in orphans(store, young_s=0))


def test_published_previews_that_are_lost_or_cut_are_counted_and_made_again(tmp_path: Path) -> None:
    place = tmp_path / "run"
    records = draw(str(place))
    store, lost, cut = RunStore(str(place)), *(place / of(record).uri for record in records[:2])
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    assert write_report([store]).without_preview == 2
    assert write_report([store], previews=True).without_preview == 0
    for record in records[:2]:
        assert probe(str(place / "report" / preview(record.key, ATTEMPT))).width == 512
    elsewhere = tmp_path / "out"
    assert write_report([store], str(elsewhere)).without_preview == 2
    said = taken(elsewhere, "head")["runs"][0]["commands"]["previews"]
    assert said == f"motionecho batch report {place} -o {elsewhere} --previews"


def test_previews_are_files_of_their_record(run: tuple[Path, list[Record]]) -> None:
    place, records = run
    store = RunStore(str(place))
    assert [orphan.uri for orphan in orphans(store, young_s=0) if "previews" in orphan.uri] == []
    file = place / of(records[0]).uri
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    found = verify(store, lambda path, key: None).findings
    file.write_bytes(whole)
    assert [(each.what, each.file) for each in found] == [("damaged", of(records[0]).uri)]
    stray = place / preview(records[0].key, "2-dead")
    stray.write_bytes(whole)
    assert [orphan.uri for orphan in orphans(store, young_s=0)] == [preview(records[0].key, "2-dead")]
    stray.unlink()


def test_a_record_names_no_file_but_its_own(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    store.create(IDENTITY, {})
    bad = {
        "one": "../../secret.mp4",
        "two": "javascript:alert(1)",
        "three": "/etc/passwd",
        "four": "https://x/y.mp4",
    }
    for number, (id, uri) in enumerate(bad.items()):
        blob, key = Blob(uri), f"{number:032x}"
        store.commit(
            Record(
                key=key,
                id=id,
                status="ok",
                inputs={},
                attempt="../../../up",
                video=blob,
                stats=blob,
                preview=blob,
            )
        )
    out = tmp_path / "out"
    assert write_report([store], str(out), previews=True).without_preview == len(bad)
    rows, more = taken(out, "samples-000"), taken(out, "details-000")
    assert [(row["preview"], row["video"]) for row in rows] == [(None, None)] * len(bad)
    assert [each["files"]["stats"] for each in more] == [None] * len(bad)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "out"}


def test_values_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    store.create({}, {})
    steps = {"loss": ["high", None, True], "active": [1], "teacher_steps": [{"a": 1}]}
    odd = Record(
        key="0" * 32,
        id="odd",
        status="ok",
        inputs={"prompt": ["a"], "reference": 3},
        steps={"loss": ["x"]},
        scores={"motion_fidelity": {"follows": "much", "mf_dmt": [1]}},
        trace={"evaluations": {}},
    )
    store.commit(odd)
    store.commit(
        replace(
            odd,
            key="1" * 32,
            id="other",
            steps=steps,
            echo={"activation": "adaptive", "activation_threshold": "no"},
        )
    )
    assert write_report([store]).samples == 2
    assert limits(
        [None, 2.0], {"activation": "adaptive", "threshold_unit": "first_loss", "activation_threshold": 0.5}
    ) == [1.0, None]


def test_a_report_that_cannot_be_written_fails_nothing(
    run: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    said: list[str] = []
    store = RunStore(str(run[0]))
    page = publish_report(store, True, said.append)
    assert page is not None
    before = Path(page).stat().st_mtime_ns
    assert publish_report(store, False, said.append) == page
    assert Path(page).stat().st_mtime_ns == before, "one that is there is kept unless something is new"
    other = RunStore(str(tmp_path / "run"))
    other.create({}, {})
    (tmp_path / "run" / "report").write_text("in the way")
    assert said == []
    assert publish_report(other, True, said.append) is None
    assert len(said) == 1
    assert said[0].startswith("no report: ")


def test_a_driver_that_writes_it_at_its_end_is_not_at_work(tmp_path: Path) -> None:
    place = tmp_path / "run"
    keys = [record.key for record in draw(str(place))]
    store = RunStore(str(place))
    lease = store.take_lease("driver", {"m.csv": keys})
    assert publish_report(store, True, pytest.fail)
    mine = taken(place / "report", "head")["runs"][0]["state"]
    write_report([RunStore(str(place))])
    others = taken(place / "report", "head")["runs"][0]["state"]
    lease.end({})
    assert (mine["total"], mine["finished"]) == (COUNT, True)
    assert (others["total"], others["finished"], others["drivers"]) == (COUNT, False, 1)


def test_what_has_no_page_is_refused_in_a_sentence(run: tuple[Path, list[Record]], tmp_path: Path) -> None:
    store, scores = RunStore(str(run[0])), RunStore(str(tmp_path / "scores"))
    scores.create({"scoring": {}}, {})
    with pytest.raises(UserError, match="add --out FOLDER"):
        write_report([store, store])
    with pytest.raises(UserError, match="holds scores and no videos"):
        write_report([scores])


def test_the_halves_of_a_preview_are_of_one_moment(tmp_path: Path) -> None:
    one, two = (read_clip(str(CLIPS / f"{name}.mp4"), 16, 64, 64).frames for name in ("arc", "bounce"))
    write_preview(tmp_path / "p.mp4", one, two, 8)
    back = read_clip(str(tmp_path / "p.mp4"), 16, 256, 512).frames
    for number in (0, 7, 15):
        for half, clip in ((back[number][:, :256], one), (back[number][:, 256:], two)):
            errors = [np.abs(half[2::4, 2::4].astype(int) - frame).mean() for frame in clip]
            assert np.argmin(errors) == number
            assert errors[number] < 6
    assert (tmp_path / "p.mp4").stat().st_size < 80_000


@pytest.mark.parametrize(
    ("reference", "result", "size"),
    [
        ((16, 64, 64), (16, 64, 64), (256, 512)),
        ((8, 90, 160), (16, 320, 512), (256, 820)),
        ((1, 33, 47), (5, 33, 47), (232, 656)),
    ],
)
def test_previews_are_small_and_even(
    reference: tuple[int, ...], result: tuple[int, ...], size: tuple[int, int]
) -> None:
    made = side_by_side(np.zeros((*reference, 3), np.uint8), np.zeros((*result, 3), np.uint8))
    assert made.shape == (result[0], *size, 3)
    assert not any(side % 2 for side in made.shape[1:3])


@pytest.mark.parametrize(
    ("page", "run", "way"),
    [
        ("/a/run/report", "/a/run", ".."),
        ("/b", "/a/run", "../a/run"),
        ("s3://bucket/run/report", "s3://bucket/run", ".."),
        ("s3://bucket/out", "s3://bucket/runs/one", "../runs/one"),
        ("s3://bucket/out", "s3://other/run", None),
        ("/out", "s3://bucket/run", None),
    ],
)
def test_the_way_from_a_page_to_its_run(page: str, run: str, way: str | None) -> None:
    assert way_between(page, run) == way


def test_motion_comes_first_and_what_is_added_last() -> None:
    figures = ("toy_text", "cost_forward_equivalents", "mf_dmt", "follows", "mine")
    shape = Shape.of([Scored("a", {}, dict.fromkeys(figures, 1.0))], ["r"])
    assert shape.figures == ("follows", "toy_text", "mf_dmt", "mine", "cost_forward_equivalents")
    assert shape.roles() == {
        "motion": "follows",
        "text": "toy_text",
        "cost": "cost_forward_equivalents",
        "seconds": None,
    }
    assert "follows" in METRICS["motion_fidelity"].headlines
