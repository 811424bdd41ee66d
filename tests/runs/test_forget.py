"""A reference forgotten: nothing of it is left, all else is, and a removal that was killed is finished."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from motionecho.errors import Transient, UserError
from motionecho.runs import forget as library
from motionecho.runs.cleanup import sweeping
from motionecho.runs.forgotten import Forgotten, forgotten, mark_of
from motionecho.runs.keys import digest, file_digest
from motionecho.runs.notes import ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.state import state_of
from motionecho.runs.store import RunStore
from motionecho.runs.tensor_file import write_tensors

OK: dict[str, Any] = {"status": "ok", "attempt": "1-abc"}


class Run:
    """A run of two clips, of which "mine.mp4" is asked back; a copy of it has another name."""

    def __init__(self, url: str, folder: Path) -> None:
        self.store, self.folder = RunStore(url), folder
        self.mine, self.copy, self.other = (str(folder / n) for n in ("mine.mp4", "copy.mp4", "other.mp4"))
        for path, data in ((self.mine, b"mine"), (self.copy, b"mine"), (self.other, b"other")):
            Path(path).write_bytes(data)
        self.sha256 = file_digest(self.mine)
        self.store.create({"settings": {}}, {})
        self.keys = {id: self.sample(id, clip) for id, clip in
                     (("a", self.mine), ("b", self.copy), ("c", self.other), ("d", self.other))}  # fmt: skip
        self.store.requeue(next(r for r in self.store.records() if r.id == "b"),
                           ErrorNote(name="Damaged", at="2026"))  # fmt: skip
        inputs = {"id": "bad", "reference": "mine.mp4", "prompt": ""}
        why = ErrorNote(kind="bad", name="BadRow", message="prompt is empty")
        self.store.commit(Record(key=self.key("bad"), id="bad", status="failed", inputs=inputs, error=why))
        self.store.compact([*self.store.records()])
        self.put("videos/ee/" + "e" * 32 + "-1-dead.mp4", b"of an attempt that died")
        self.put("records/aa/.part-half", self.mine.encode())
        self.put("report/index.html", self.mine.encode())
        self.put(self.store.motion_uri("f" * 32), self.motion("f" * 32, self.sha256))  # no record names it
        self.put(f"inputs/{self.sha256[:2]}/{self.sha256[:32]}.mp4", b"mine")
        self.put("inputs/manifest-1.jsonl", json.dumps({"reference": self.mine}).encode())
        self.put("inputs/settings-1.json", b"{}")
        strike = ErrorNote(name="Unreachable", message=f'"{self.mine}" cannot be read')
        self.store.note_strike("9" * 32, "1-dead", strike)
        self.store.note_strike("8" * 32, "1-dead", ErrorNote(name="Timeout", message="too slow"))
        lease = self.store.take_lease("driver", {"/m.csv": [*self.keys.values(), self.key("bad")]})
        lease.end({"message": f"it was {self.mine}", "total": 5})

    def key(self, id: str) -> str:
        return digest(["sample", id])[:32]

    def put(self, uri: str, data: bytes) -> None:
        (self.folder / "blob").write_bytes(data)
        self.store.put_blob(uri, str(self.folder / "blob"))

    def motion(self, key: str, sha256: str) -> bytes:
        write_tensors(self.folder / "m", {"key": key, "reference_sha256": sha256}, {"z": torch.zeros(1)})
        return (self.folder / "m").read_bytes()

    def sample(self, id: str, clip: str) -> str:
        key, store, sha256 = self.key(id), self.store, file_digest(clip)
        motion = digest(["motion", sha256])[:32]
        blobs = {}
        for name in ("video", "stats", "preview"):
            uri = getattr(store, f"{name}_uri")(key, "1-abc")
            (self.folder / "blob").write_text(f"{name} of {id}")
            blobs[name] = store.put_blob(uri, str(self.folder / "blob"))
        self.put(store.motion_uri(motion), self.motion(motion, sha256))
        known = {"uri": clip, "sha256": sha256, "version": "1"}
        inputs = {"id": id, "reference": clip, "prompt": f"prompt {id}", "seed": 1}
        record = Record(key=key, id=id, inputs=inputs, reference=known, motion_key=motion, **OK, **blobs)
        store.commit(record)
        return key

    def forget(self, *names: str) -> library.Traced:
        traced = library.trace(self.store, set().union(*map(library.names_of, names)))
        with sweeping(self.store) as lease:
            library.forget(self.store, lease, traced)
        return traced

    def contents(self) -> dict[str, bytes]:
        folder = self.store.folder
        return {path: folder.read(path) for path in folder.listed("")}


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    return Run(url, tmp_path)


def as_text(path: str, data: bytes) -> str:
    if path.endswith(".parquet") and path.startswith("results"):
        return str(pq.read_table(io.BytesIO(data)).to_pylist())
    return data.decode(errors="replace")


@pytest.mark.parametrize("by", ["path", "copy", "sha256"])
def test_nothing_of_it_is_left_and_all_else_is(tmp_path: Path, by: str) -> None:
    run = Run(str(tmp_path / "run"), tmp_path)
    before = run.contents()
    asked = {"path": run.mine, "copy": run.copy, "sha256": run.sha256}[by]
    traced = run.forget(asked)
    assert traced.samples == ("a", "b", "bad")
    left = run.contents()
    for path, data in left.items():
        for name in (run.sha256, run.mine, run.copy, "mine.mp4", run.key("a")):
            assert name not in path
            assert name not in as_text(path, data) or path.startswith(("forgotten/", "progress/")), path
        assert not any(name in as_text(path, data) for name in (run.sha256, "mine.mp4"))
    gone = before.keys() - left.keys()
    kept = {path for path in before if run.keys["c"] in path or run.keys["d"] in path}
    assert len(kept) == 8
    assert not gone & kept
    assert not gone & {"inputs/settings-1.json", "run.json", "attempts/88/" + "8" * 32 + "-1-dead.json"}
    assert sum(path.startswith("motions/") for path in left) == 1
    assert [record.id for record in run.store.records()] == ["c", "d"]
    state = state_of(run.store)
    assert (state.total, state.done, state.failed, state.finished) == (2, 2, 0, True)
    assert library.still_named(run.store, traced.names) == []


def test_on_every_kind_of_store(run: Run) -> None:
    run.forget(run.mine)
    assert not any(run.sha256.encode() in data for data in run.contents().values())
    out = forgotten(run.store)
    assert all(map(out.has, (run.sha256, run.mine, run.copy)))
    assert not out.has(run.other)
    assert not library.trace(run.store, library.names_of(run.mine)).found


class Stopped(Exception):
    pass


@pytest.mark.parametrize(("after", "told"), [(0, True), (1, True), (6, False), (9, False)])
def test_a_removal_that_was_killed_is_finished_by_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, told: bool
) -> None:
    run = Run(str(tmp_path / "run"), tmp_path)
    names = library.names_of(run.mine)

    def part_of(store: RunStore, lease: object, uris: list[str]) -> int:
        store.folder.remove_all(uris[:after])
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(library, "remove", part_of)
        with pytest.raises(Stopped):
            run.forget(run.mine)
    assert forgotten(run.store).has(run.copy)  # a submit in between makes nothing of it
    (note,) = (tmp_path / "run" / "forgotten").iterdir()
    assert not any(name in note.read_text() for name in (run.sha256[:32], "mine.mp4", "copy.mp4"))
    Path(run.mine).unlink()  # whose digest nobody can take any more
    traced = library.trace(run.store, {run.mine})
    assert traced.found
    with sweeping(run.store) as lease:
        library.forget(run.store, lease, traced)
    assert (names <= {*traced.names}) is told  # once no record tells its digest, the note knows the rest
    left = run.contents()
    assert not any(run.sha256.encode() in data for data in left.values())
    assert not any(run.sha256[:32] in path or run.key("a") in path for path in left)
    assert sum(path.startswith("motions/") for path in left) == 1
    assert [record.id for record in run.store.records()] == ["c", "d"]
    assert len(run.store.folder.find("forgotten")) == 1


def test_other_bytes_under_the_same_name_stay_where_a_digest_is_named(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"), tmp_path)
    Path(run.mine).write_bytes(b"another clip")
    later = run.sample("later", run.mine)
    run.forget(run.sha256)
    assert {record.key for record in run.store.records()} >= {later, run.keys["c"]}
    assert not {run.keys["a"], run.keys["b"]} & run.store.keys()
    assert forgotten(run.store).has(run.mine)  # for rows whose file is not there; its bytes are let in
    assert not forgotten(run.store).has(file_digest(run.mine))


def test_a_damaged_record_that_names_it_goes_too(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"), tmp_path)
    path = tmp_path / "run" / run.store.record_uri(run.keys["a"])
    path.write_bytes(path.read_bytes()[:-40])
    run.forget(run.mine)
    assert not path.exists()


def test_motions_of_several_runs_are_named_and_left(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"), motions=str(tmp_path / "shared"))
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    store.create({"settings": {}}, {})
    key, motion = digest(["sample"])[:32], digest(["motion"])[:32]
    (tmp_path / "blob").write_text("motion")
    store.put_blob(store.motion_uri(motion), str(tmp_path / "blob"))
    known = {"uri": str(tmp_path / "clip.mp4"), "sha256": file_digest(str(tmp_path / "clip.mp4"))}
    store.commit(Record(key=key, id="a", status="failed", inputs={}, reference=known, motion_key=motion))
    traced = library.trace(store, library.names_of(str(tmp_path / "clip.mp4")))
    assert traced.shared == (store.motion_uri(motion),)
    with sweeping(store) as lease:
        library.forget(store, lease, traced)
    assert store.exists(store.motion_uri(motion))


def test_features_that_others_name_stay(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"), tmp_path)
    scores = RunStore(run.store.scores_url)
    scores.create({"scoring": {}}, {})
    for uri in ("features/aa/one.npz", "features/bb/both.npz", "features/cc/two.npz", "run2.json"):
        (tmp_path / "blob").write_text(uri)
        scores.put_blob(uri, str(tmp_path / "blob"))
    for id, clip, feature in (("a", run.mine, "aa/one"), ("c", run.other, "cc/two")):
        figures = {"clip_video": f"features/{feature}.npz", "clip_reference": "features/bb/both.npz"}
        figures |= {"a": "features/../run.json", "b": "features/../../run.json", "c": "run2.json", "d": "/x"}
        known = {"uri": clip, "sha256": file_digest(clip)}
        scores.commit(
            Record(
                key=digest([id])[:32], id=id, status="ok", inputs={}, reference=known, scores={"c": figures}
            )
        )
    traced = library.trace(scores, library.names_of(run.mine))
    of_records = {uri for uri in traced.files if uri.startswith("records/")}
    assert {*traced.files} - of_records == {"features/aa/one.npz"}, "and nothing that a figure cannot name"


def test_a_note_of_a_stranger_has_nothing_else_removed(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"), tmp_path)
    (tmp_path / "beside").write_text("mine")
    files = ["run.json", "../beside", "../../x", str(tmp_path / "beside")]
    note = {"marks": [mark_of(run.mine)], "keys": [], "files": [*files, *map(mark_of, files)]}
    run.store.put_text("forgotten/aa.json", json.dumps(note))
    assert not {*run.forget(run.mine).files} & {*files}
    assert (tmp_path / "beside").exists()
    assert run.store.run()
    for odd in (3, None, [["x"]], {"a": 1}):
        run.store.put_text("forgotten/aa.json", json.dumps({**note, "keys": odd}))
        with pytest.raises(UserError, match=r'aa.json is damaged, .* \(its "keys" makes no sense\)'):
            library.trace(run.store, {run.mine})


@pytest.mark.parametrize("said", [{"reference": {"sha256": ["a"]}}, {"motion_key": {}}, {"reference": "x"}])
def test_a_record_that_makes_no_sense_is_in_no_way(tmp_path: Path, said: dict[str, Any]) -> None:
    run = Run(str(tmp_path / "run"), tmp_path)
    key = "ab" * 16
    run.store.put_text(run.store.record_uri(key), json.dumps({"key": key, "id": "odd", **said}))
    assert run.forget(run.mine).samples == ("a", "b", "bad")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"/data/clip1.mp4" cannot be read', True),
        ("cannot read /data/clip1.mp4.", True),
        ("/data/clip1.mp4: it is gone", True),
        ("file:///data/clip1.mp4", True),
        (json.dumps({"message": "cannot read:\n/data/clip1.mp4\n"}), True),
        (json.dumps({"reference": "/data/clip1.mp4"}), True),
        ("/data/clip1.mp4.bak.mp4", False),
        ("/data/clip1.mp4v", False),
        ("/data/clip1.mp4-old", False),
        ("/data/clip1.mp4~", False),
        ("/mnt/data/clip1.mp4", False),
        ("https://x/data/clip1.mp4", False),
        ("s3://b/é.mp4 is gone", True),
        (json.dumps("s3://b/é.mp4"), True),
        ("s3://b/é.mp4/é.mp4", False),
        ("a-" + "0" * 64, True),
    ],
)
def test_what_names_it_is_no_longer_name(tmp_path: Path, text: str, names: bool) -> None:
    Run(str(tmp_path / "run"), tmp_path).store.put_text("attempts/77/" + "7" * 32 + "-1-a.json", text)
    asked = {"/data/clip1.mp4", "s3://b/é.mp4", "0" * 64}
    assert bool(library.trace(RunStore(str(tmp_path / "run")), asked).files) is names


def test_a_driver_at_work_refuses_it_and_a_damaged_note_is_named(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"), tmp_path)
    lease = run.store.take_lease("driver", {})
    with pytest.raises(UserError, match="nothing was deleted: driver"):
        run.forget(run.mine)
    lease.end({})
    run.forget(run.mine)
    (note,) = (tmp_path / "run" / "forgotten").iterdir()
    note.write_text("{")
    with pytest.raises(UserError, match="is damaged, so that nothing tells which references are forgotten"):
        forgotten(run.store)


def test_a_lost_lease_stops_it(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"), tmp_path)
    traced = library.trace(run.store, library.names_of(run.mine))
    with sweeping(run.store) as lease:
        lease.lost = "a driver came"
        with pytest.raises(Transient, match="a driver came"):
            library.forget(run.store, lease, traced)
    assert len(run.store.keys()) == 5


def test_nothing_forgotten_has_no_mark() -> None:
    assert not Forgotten().has("/a.mp4")
