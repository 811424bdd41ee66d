"""Data sets as they come out: read back by the libraries they are for, continued, damaged, elsewhere."""

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from motionecho.dataset import shards as sharding
from motionecho.dataset.export import Wanted, export
from motionecho.dataset.loose import COPIES
from motionecho.errors import Transient, UserError
from motionecho.runs import layout
from motionecho.runs.folder import Folder
from motionecho.runs.notes import Blob
from motionecho.runs.store import RunStore
from tests.dataset.conftest import Fill
from tests.patience import patience

FORMS = ("folder", "webdataset", "hf")
SPLIT = {"train": 0.7, "val": 0.3}
Flip = Callable[[RunStore, str], Blob]
each_form = pytest.mark.parametrize("form", FORMS)


def wanted(form: str, **more: Any) -> Wanted:
    return Wanted(**{"form": form, "shares": SPLIT, "shard_size": 3} | more)


def held(place: str, form: str) -> dict[str, dict[str, dict[str, Any]]]:
    """All rows that an export holds, by split and id; each with a video that is what its row says."""
    folder, found = Folder.at(place), dict[str, dict[str, dict[str, Any]]]()
    for path in folder.find():
        if path.startswith("."):
            continue
        if path.endswith(".parquet"):
            split = path.split("/")[0] if form == "folder" else Path(path).name.split("-")[0]
            for row in pq.read_table(pa.BufferReader(folder.read(path))).to_pylist():
                name = row.get("file_name")
                data = folder.read(f"{split}/{name}") if form == "folder" else row["video"]["bytes"]
                assert hashlib.sha256(data).hexdigest() == row["result_video_sha256"]
                assert row["id"] not in found.get(split, {}), "nothing is twice there"
                found.setdefault(split, {})[row["id"]] = row
        elif path.endswith(".tar"):
            import tarfile

            split, by_key = path.split("-")[0], dict[str, dict[str, bytes]]()
            with tarfile.open(fileobj=io.BytesIO(folder.read(path))) as tar:
                for member in tar:
                    key, _, kind = member.name.partition(".")
                    stream = tar.extractfile(member)
                    assert stream is not None
                    assert kind not in by_key.setdefault(key, {})
                    by_key[key][kind] = stream.read()
            for its in by_key.values():
                row = json.loads(its["json"])
                assert hashlib.sha256(its["mp4"]).hexdigest() == row["result_video_sha256"]
                assert its["txt"].decode() == row["caption"]
                assert row["id"] not in found.get(split, {})
                found.setdefault(split, {})[row["id"]] = row
    return found


def ids(found: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {id for its in found.values() for id in its}


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Load a data set by Hugging Face's library; videos as bytes or files, as decoding takes torchcodec."""
    import datasets

    datasets.disable_progress_bars()

    def load(*where: str, **more: Any) -> Any:
        found = datasets.load_dataset(*where, cache_dir=str(tmp_path / "cache"), **more)
        return {name: its.cast_column("video", datasets.Video(decode=False)) for name, its in found.items()}

    return load


def digest_of(video: Mapping[str, Any]) -> str:
    return hashlib.sha256(video["bytes"] or Path(video["path"]).read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["folder", "hf"])
def test_load_dataset_reads_every_column(
    run: RunStore, tmp_path: Path, form: str, loaded: Callable[..., Any]
) -> None:
    out = str(tmp_path / "out")
    export([run], out, wanted(form))
    found = [loaded(out)]
    if form == "folder":
        found.append(loaded("videofolder", data_dir=out))
        assert found[1].keys() == {"train", "validation"}, "as the library calls what is in val/"
    for splits in found:
        rows = {row["id"]: row for its in splits.values() for row in its}
        assert rows.keys() == ids(held(out, form))
        assert len(rows) == 11
        for row in rows.values():
            assert digest_of(row["video"]) == row["result_video_sha256"]
        assert (rows["d/3"]["take"], rows["d/3"]["note"], rows["d/3"]["result_follows"]) == (3, "first", 0.3)
        assert rows["d/3"]["caption"] == "prompt 3"
        references = [{row["reference"] for row in its} for its in splits.values()]
        assert len(references) == 2
        assert not references[0] & references[1], "no reference in two splits"


def test_webdataset_s_library_reads_it_back(run: RunStore, tmp_path: Path) -> None:
    import webdataset

    export([run], str(tmp_path / "out"), wanted("webdataset"))
    found = {}
    for path in sorted((tmp_path / "out").glob("*.tar")):
        its = list(webdataset.WebDataset(str(path), shardshuffle=False))
        assert 0 < len(its) <= 3
        for each in its:
            row = json.loads(each["json"])
            assert hashlib.sha256(each["mp4"]).hexdigest() == row["result_video_sha256"]
            assert each["txt"].decode() == row["prompt"]
            found[row["id"]] = each["__key__"]
    assert len(found) == 11
    assert found["d/3"] == "d_3"


@pytest.mark.parametrize("form", FORMS)
def test_any_place_will_do_and_the_same_again_copies_nothing(run: RunStore, place: str, form: str) -> None:
    first = export([run], place, wanted(form))
    assert (first.done, first.copied, first.already_there, first.left_out) == (11, 11, 0, [])
    assert sum(its["videos"] for its in first.splits.values()) == len(ids(held(place, form))) == 11
    folder = Folder.at(place)
    before = {path: folder.read(path) for path in folder.listed()}
    again = export([run], place, wanted(form))
    assert (again.copied, again.already_there) == (0, 11)
    after = {path: folder.read(path) for path in folder.listed()}
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert changed == {"export.json"}, "which says how much was copied"


@each_form
def test_an_export_that_is_killed_goes_on(
    run: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Nothing is twice there and nothing half, wherever it stopped; and the result is as if it had not."""
    whole = str(tmp_path / "whole")
    export([run], whole, wanted(form))
    writes = last = 0

    def counting(inner: Callable[..., None]) -> Callable[..., None]:
        def write(self: Folder, path: str, data: Any) -> None:
            nonlocal writes
            writes += 1
            if writes == last:
                raise KeyboardInterrupt
            inner(self, path, data)

        return write

    for nth in (1, 2, 3, 5, 8):
        out = tmp_path / f"out {nth}"
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "overwrite", counting(Folder.overwrite))
            patch.setattr(Folder, "put_whole", counting(Folder.put_whole))
            writes, last = 0, nth
            with pytest.raises(KeyboardInterrupt):
                export([run], str(out), wanted(form))
        assert nth == 1 or not json.loads((out / "export.json").read_text())["finished"]
        assert not (out / "README.md").exists()
        if nth > 1:
            (out / ".part-ab12cd34").touch()
        result = export([run], str(out), wanted(form))
        assert result.copied + result.already_there == 11
        assert nth < 5 or result.already_there > 0
        assert held(str(out), form) == held(whole, form)
        assert {*Folder.at(str(out)).listed()} == {*Folder.at(whole).listed()}


@each_form
@pytest.mark.parametrize("near", [None, 6.0])
def test_a_flipped_bit_is_noticed(
    run: RunStore, tmp_path: Path, form: str, near: float | None, flipped: Flip, fill: Fill
) -> None:
    """And a video that is gone; both are named, and handed on once they are whole again."""
    out, hurt = str(tmp_path / "out"), flipped(run, "d/3")
    gone = next(record.video for record in run.records() if record.id == "c/2")
    assert gone is not None
    data = run.folder.read(gone.uri)
    run.folder.remove_all([gone.uri])
    result = export([run], out, wanted(form, near=near))
    problems = dict(result.left_out)
    assert problems["d/3"] == f'"{run.absolute(hurt.uri)}" is not what its record says'
    assert "does not exist" in problems["c/2"]
    assert len(problems) == 2
    assert "d/3" not in (found := ids(held(out, form)))
    assert len(found) == result.copied == 9
    run.folder.overwrite(gone.uri, data)
    assert [id for id, _ in export([run], out, wanted(form, near=near)).left_out] == ["d/3"]
    assert len(ids(held(out, form))) == 10


@each_form
def test_of_two_that_are_equal_the_whole_one_is_exported(
    fill: Fill, tmp_path: Path, form: str, flipped: Flip
) -> None:
    """Also where the other was damaged between two exports."""
    store = fill(str(tmp_path / "run"), [{"id": "a", "clip": 0}, {"id": "b", "clip": 0}])
    out = str(tmp_path / "out")
    assert export([store], out, wanted(form)).near_duplicates == 1
    flipped(store, "a")
    result = export([store], out, wanted(form))
    assert ([id for id, _ in result.left_out], result.near_duplicates) == (["a"], 0)
    assert ids(held(out, form)) == {"b"}


def test_where_all_of_a_split_is_damaged_its_table_goes_too(
    run: RunStore, tmp_path: Path, flipped: Flip
) -> None:
    """A loader would ask for the files that it names."""
    out = tmp_path / "out"
    export([run], str(out), wanted("folder"))
    splits = held(str(out), "folder")
    for row in splits["val"].values():
        (out / "val" / row["file_name"]).unlink()
        flipped(run, row["id"])
    result = export([run], str(out), wanted("folder"))
    assert {id for id, _ in result.left_out} == splits["val"].keys()
    assert held(str(out), "folder") == {"train": splits["train"]}
    assert [*(out / "val").iterdir()] == []


@each_form
def test_what_an_export_made_is_mended_where_it_was_changed(run: RunStore, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    export([run], str(out), wanted(form))
    kind = {"folder": "*/*.mp4", "webdataset": "*.tar", "hf": "data/*.parquet"}[form]
    path = min(out.glob(kind))
    data = path.read_bytes()
    path.write_bytes(data[:-9] + b"x" + data[-8:])
    result = export([run], str(out), wanted(form))
    assert path.read_bytes() == data
    assert result.copied == (1 if form == "folder" else len(ids(held(str(out), form))) - result.already_there)
    assert 0 < result.copied < 11


@each_form
def test_a_run_that_grows_moves_no_reference(run: RunStore, fill: Fill, tmp_path: Path, form: str) -> None:
    """What it had is there under the same names, or new ones, and under no old one."""
    out = str(tmp_path / "out")
    export([run], out, wanted(form))
    before = {row["reference"]: split for split, its in held(out, form).items() for row in its.values()}
    new = ("A/0", "e/1", "f/2", "g/3")
    more = [{"id": id, "reference": id[0], "clip": 20 + n} for n, id in enumerate(new)]
    fill(run.url, more)
    export([run], out, wanted(form))
    found = held(out, form)
    after = {row["reference"]: split for split, its in found.items() for row in its.values()}
    assert len(ids(found)) == 15
    assert before.items() <= after.items()
    if form == "folder":
        names = {path.stem for path in Path(out).rglob("*.mp4")}
        assert len(names) == 15
        assert {"a_0", "A_0"} & names == set(), "two ids of one name each have a piece of their keys"


@each_form
def test_others_files_and_other_exports_are_left_alone(run: RunStore, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".gitattributes").write_text("of a repository that is new")
    export([run], str(out), wanted(form))
    held_before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for other, name in (
        (wanted(form, where="follows > .5"), "where is null there"),
        (wanted(form, near=2.0), "near is 6.0 there and 2.0 now"),
        (wanted(form, shares={"train": 1.0}), "shares.train is 0.7 there"),
        (wanted("folder" if form != "folder" else "hf"), f'form is "{form}" there'),
    ):
        with pytest.raises(UserError, match="holds an export with other settings") as refused:
            export([run], str(out), other)
        assert name in str(refused.value)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == held_before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r'holds "notes\.txt", and is no export'):
        export([run], str(tmp_path / "mine"), wanted(form))
    assert os.listdir(tmp_path / "mine") == ["notes.txt"]


def test_a_file_of_someone_else_s_in_an_export_is_not_written_over(
    run: RunStore, fill: Fill, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export([run], str(out), wanted("folder", shares={"train": 1.0}))
    (out / "train" / "new.mp4").write_text("mine")
    fill(run.url, [{"id": "new", "clip": 30}])
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"train/new\.mp4"):
        export([run], str(out), wanted("folder", shares={"train": 1.0}))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_hidden_files_of_others_stay(run: RunStore, tmp_path: Path) -> None:
    """Also those whose names begin like what a killed process leaves."""
    out = tmp_path / "out"
    export([run], str(out), wanted("folder"))
    (out / "notes").mkdir()
    mine = {".part-1", "notes/.part-ab12cd34", "train/.hidden.mp4"}
    for name in (*mine, "train/.part-ab12cd34"):
        (out / name).touch()
    export([run], str(out), wanted("folder"))
    assert {str(path.relative_to(out)) for path in out.rglob(".*") if path.is_file()} == mine


def test_a_video_that_is_made_again_with_as_many_bytes_is_copied(run: RunStore, place: str) -> None:
    """Of a remote file only the size is seen; what it was is noted."""
    asked = wanted("folder", near=None)
    export([run], place, asked)
    (old,) = (record for record in run.records() if record.id == "d/3")
    assert old.video is not None
    data = bytearray(run.folder.read(old.video.uri))
    data[-1] ^= 1
    run.folder.overwrite(uri := layout.video(old.key, "2-b"), bytes(data))
    sha256 = hashlib.sha256(data).hexdigest()
    assert run.commit(replace(old, video=replace(old.video, uri=uri, sha256=sha256), generation=2))
    result = export([run], place, asked)
    assert (result.copied, result.already_there, result.left_out) == (1, 10, [])
    (row,) = (its["d/3"] for its in held(place, "folder").values() if "d/3" in its)
    assert row["result_video_sha256"] == sha256
    assert export([run], place, asked).already_there == 11


def test_what_a_killed_export_copied_is_not_copied_again(
    run: RunStore, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, videos = Folder.overwrite, list[str]()

    def dying(self: Folder, path: str, data: bytes) -> None:
        if path.endswith(".mp4"):
            if len(videos) == 5:
                raise KeyboardInterrupt
            videos.append(path)
        inner(self, path, data)

    monkeypatch.setattr("motionecho.dataset.loose.COPIES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "overwrite", dying)
        with pytest.raises(KeyboardInterrupt):
            export([run], place, wanted("folder"))
    result = export([run], place, wanted("folder"))
    assert (result.copied, result.already_there) == (6, 5)


def test_where_and_several_runs_together(run: RunStore, fill: Fill, tmp_path: Path) -> None:
    other = fill(str(tmp_path / "two"), [{"id": "d/7", "reference": "d", "prompt": "prompt 7", "clip": 7}])
    asked = wanted("folder", where="follows >= .5 and take is null or take = 7")
    result = export([run, other], str(tmp_path / "out"), asked)
    assert (result.done, result.chosen, result.near_duplicates, result.copied) == (12, 2, 1, 1)
    with pytest.raises(
        UserError, match="is true of none of 12 done samples; none of them has a value of text_alignment"
    ):
        export([run, other], str(tmp_path / "none"), wanted("folder", where="text_alignment > 0"))
    assert not (tmp_path / "none").exists()


def test_videos_are_copied_together(run: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch, together, under_way = RunStore.fetch, threading.Barrier(COPIES), list[str]()

    @contextmanager
    def waiting(self: RunStore, uri: str) -> Iterator[str]:
        if len(under_way) < COPIES:
            under_way.append(uri)
            together.wait(timeout=patience(30))  # passes once so many copies are under way
        with fetch(self, uri) as path:
            yield path

    monkeypatch.setattr(RunStore, "fetch", waiting)
    assert export([run], str(tmp_path / "out"), wanted("folder", near=None)).copied == 11


def test_what_is_hashed_is_what_is_copied(
    run: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes while it is copied is left out, or copied as it was."""
    read, out = Path.read_bytes, str(tmp_path / "out")

    def changing(path: Path) -> bytes:
        data = read(path)
        path.write_bytes(b"changed behind the reader")
        return data

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", changing)
        assert export([run], out, wanted("folder")).left_out == []
    assert len(ids(held(out, "folder"))) == 11


@each_form
def test_a_store_that_fails_ends_the_export(
    run: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Nothing is said of videos that were not reached; the same again continues."""
    fetch, out = RunStore.fetch, str(tmp_path / "out")
    bad = next(record.video for record in run.records() if record.id == "d/3" and record.video)

    @contextmanager
    def failing(self: RunStore, uri: str) -> Iterator[str]:
        if uri == bad.uri:
            raise Transient("the store kept failing for 180 s: 503")
        with fetch(self, uri) as path:
            yield path

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "fetch", failing)
        with pytest.raises(Transient, match="503"):
            export([run], out, wanted(form))
    assert not (tmp_path / "out" / "README.md").exists()
    assert export([run], out, wanted(form)).left_out == []
    assert len(ids(held(out, form))) == 11


def test_shards_are_bounded_by_bytes_too(
    run: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharding, "LARGEST", 1)
    export([run], str(tmp_path / "out"), wanted("webdataset", shard_size=256))
    assert len([*(tmp_path / "out").glob("*.tar")]) == 11


def test_on_the_hub_a_folder_is_refused(run: RunStore) -> None:
    with pytest.raises(UserError, match="use --to hf or --to webdataset"):
        export([run], "hf://datasets/someone/name", wanted("folder"))


def test_nothing_done_is_nothing_to_export(tmp_path: Path, fill: Fill) -> None:
    store = fill(str(tmp_path / "run"), [{"id": "a", "failed": True}])
    with pytest.raises(UserError, match="no sample is done in"):
        export([store], str(tmp_path / "out"), Wanted())


@each_form
def test_a_run_may_be_in_any_place_too(fill: Fill, tmp_path: Path, form: str) -> None:
    store = fill(f"memory://{tmp_path.name}-run", [{"id": str(n), "clip": n % 2} for n in range(4)])
    result = export([store], str(tmp_path / "out"), wanted(form))
    assert (result.copied, result.near_duplicates, result.left_out) == (2, 2, [])
    assert len(ids(held(str(tmp_path / "out"), form))) == 2
