"""File names out of ids."""

from pathlib import Path

from motionecho.dataset.names import readable_names, told_apart
from motionecho.manifest import Sample
from pipelines.scoring.source import read_source
from tests.dataset.conftest import Fill


def test_ids_that_collide_get_names_of_their_own() -> None:
    pairs = [("x/1", "a" * 32), ("X_1", "b" * 32), ("x_1-aaaaaaaa", "c" * 32), ("y.2.mp4", "d" * 32)]
    assert readable_names(pairs) == ["x_1-aaaaaaaa", "X_1-bbbbbbbb", "x_1-aaaaaaaa-2", "y_2_mp4"]


def test_a_sample_that_is_in_two_runs_has_two_names() -> None:
    assert readable_names([("a", "k" * 32)] * 2) == ["a-kkkkkkkk", "a-kkkkkkkk-2"]


def test_ids_that_are_no_files_differ_by_capitals_too() -> None:
    """One may be called what another gets in the place of an id that it shares."""
    pairs = [("a.b", "a" * 32), ("A.b", "b" * 32), ("x", "c" * 32), ("x", "d" * 32), ("x-cccccccc", "e" * 32)]
    assert told_apart(pairs) == ["a.b", "A.b", "x-cccccccc", "x-dddddddd", "x-cccccccc-2"]


def test_every_video_of_a_run_can_be_scored(fill: Fill, tmp_path: Path) -> None:
    """Whatever the ids of several manifests: a name that is twice there would be no row."""
    ids = {"c": "x", "d": "x", "e": "x-cccccccc"}
    store = fill(str(tmp_path / "run"), [{"id": id, "key": letter * 32} for letter, id in ids.items()])
    rows = read_source(store.url).rows
    assert {row.id for row in rows if isinstance(row, Sample)} == {"x-cccccccc", "x-dddddddd", "x-cccccccc-2"}


def test_names_of_long_ids_fit_in_every_script() -> None:
    names = readable_names((key * 100, key * 32) for key in ("海", "a", "../"))
    assert all(len(name.encode()) <= 255 - len("-12345678-10.mp4") for name in names)
    assert names == ["海" * 66, "a" * 100, "sample"]
