"""The files of a run against its records: each kind of damage is told, and nothing else is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from motionecho.errors import Damaged, Transient
from motionecho.runs import verify as library
from motionecho.runs.notes import Blob, ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.runs.verify import GIVE_UP, VERIFIED, Finding, Verified, requeue, verify

COUNT = 6


def name(n: int) -> str:
    return f"{n:032x}"


def read_motion(path: str, key: str | None) -> None:
    """Stands for the reader of motions, whose files say what they hold."""
    if Path(path).read_text() != f"motion {key}":
        raise Damaged("it is not a whole motion")


def make(store: RunStore, folder: Path, count: int = COUNT) -> list[Record]:
    """Make samples, two of which share a motion each; the first of them made it."""
    made = []
    for n in range(count):
        key, motion = name(n), f"m{n // 2}"
        uris = [store.video_uri(key, "1-a"), store.stats_uri(key, "1-a"), store.motion_uri(motion)]
        for text, uri in zip((f"video {n}", f"stats {n}", f"motion {motion}"), uris, strict=True):
            (folder / "blob").write_text(text)
            store.put_blob(uri, str(folder / "blob"))
        video, stats, shared = (
            Blob.of(uri, path) for uri, path in zip(uris, _local(store, uris), strict=True)
        )
        record = Record(key=key, id=f"s{n}", status="ok", inputs={"id": f"s{n}"}, video=video, stats=stats,
                        motion=Blob(shared.uri) if n % 2 else shared, motion_key=motion)  # fmt: skip
        store.commit(record)
        made.append(record)
    return made


def _local(store: RunStore, uris: list[str]) -> Iterator[str]:
    for uri in uris:
        with store.fetch(uri) as path:
            yield path


@pytest.fixture
def store(url: str, tmp_path: Path) -> RunStore:
    """A run of six samples, half of them in a results part, and a failed one."""
    store = RunStore(url)
    store.create({}, {})
    store.compact(make(store, tmp_path)[:3])
    store.commit(Record(key="f" * 32, id="bad", status="failed", inputs={}, error=ErrorNote(name="X")))
    return store


@pytest.fixture
def disk(tmp_path: Path) -> RunStore:
    """The same on a disk."""
    store = RunStore(str(tmp_path / "run"))
    store.create({}, {})
    make(store, tmp_path)
    return store


def found(state: Verified) -> list[tuple[str, str, str]]:
    return [(each.what, each.id, each.file) for each in state.findings]


def test_a_run_that_is_whole_has_no_findings(store: RunStore) -> None:
    state = verify(store, read_motion)
    assert (state.findings, state.absent, state.finished) == ([], 0, True)
    assert (state.records, state.files) == (COUNT + 1, 2 * COUNT + COUNT // 2), "each motion once"


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a flipped bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "cut short": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("kind", ["video", "stats"])
def test_every_damaged_file_is_found(disk: RunStore, kind: str, damage: Callable[[bytes], bytes]) -> None:
    uri = getattr(disk, f"{kind}_uri")(name(2), "1-a")
    disk.folder.overwrite(uri, damage(disk.folder.read(uri)))
    (finding,) = verify(disk, read_motion).findings
    assert (finding.what, finding.id, finding.file, finding.key) == ("damaged", "s2", uri, name(2))


def test_damage_is_told_from_what_is_missing(store: RunStore) -> None:
    hurt, gone = store.video_uri(name(1), "1-a"), store.stats_uri(name(4), "1-a")
    store.folder.overwrite(hurt, b"video 7")
    store.folder.remove_all([gone])
    state = verify(store, read_motion)
    assert found(state) == [("damaged", "s1", hurt), ("missing", "s4", gone)]
    assert (state.records, state.number("damaged"), state.number("missing")) == (COUNT + 1, 1, 1)


def test_a_damaged_motion_is_found_by_its_own_digest_and_needs_no_sample_again(disk: RunStore) -> None:
    """One was made again elsewhere, with other bytes than its maker recorded; of one no record knows them."""
    first, second = disk.record(name(0)), disk.record(name(2))
    assert first
    assert second
    assert first.motion
    disk.requeue(first, ErrorNote(name="X", at="now"))
    disk.commit(replace(first, generation=3, motion=replace(first.motion, sha256="0" * 64, bytes=1)))
    disk.requeue(second, ErrorNote(name="X", at="now"))
    disk.commit(replace(second, generation=3, motion=Blob(disk.motion_uri("m1"))))
    assert verify(disk, read_motion).findings == []
    for key in ("m0", "m1", "m2"):
        disk.folder.overwrite(disk.motion_uri(key), b"motion of another")
    state = verify(disk, read_motion)
    assert sorted(found(state)) == [("damaged", f"s{2 * n}", disk.motion_uri(f"m{n}")) for n in range(3)]
    assert not any(finding.key for finding in state.findings)
    assert requeue(disk, state) == 0


def test_motions_that_are_not_there_are_no_damage(disk: RunStore) -> None:
    disk.folder.remove_all([disk.motion_uri("m0"), disk.motion_uri("m2")])
    state = verify(disk, read_motion)
    assert (state.findings, state.absent, state.files) == ([], 2, 2 * COUNT + 1)


def test_motions_that_runs_share_are_looked_at_where_they_are(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"), motions=str(tmp_path / "shared"))
    store.create({}, {})
    make(store, tmp_path)
    assert verify(store, read_motion).files == 2 * COUNT + COUNT // 2
    (tmp_path / "shared" / "m1" / "m1.safetensors").write_text("another's")
    assert found(verify(store, read_motion)) == [("damaged", "s2", store.motion_uri("m1"))]


def test_records_and_parts_that_cannot_be_read_are_a_line_each(store: RunStore) -> None:
    path, (part,) = store.record_uri(name(5)), store.folder.find("results")
    for each in (path, part):
        store.folder.overwrite(each, b"{")
    state = verify(store, read_motion)
    assert state.records == COUNT, "the others are looked at"
    assert [(finding.what, finding.key) for finding in state.findings] == [("damaged", "")] * 2
    assert all(each in " ".join(f.problem for f in state.findings) for each in (path, part))


def test_what_was_requeued_has_no_files(disk: RunStore) -> None:
    disk.folder.remove_all([disk.video_uri(name(3), "1-a")])
    record = disk.record(name(3))
    assert record
    disk.requeue(record, ErrorNote(name="X", at="now"))
    assert verify(disk, read_motion).findings == []


# --- a store that fails


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """URIs that the store does not give, for now."""
    failing, fetch = set[str](), RunStore.fetch

    @contextmanager
    def broken(self: RunStore, uri: str) -> Iterator[str]:
        if uri in failing:
            raise Transient("the store kept failing for 180 s: 503")
        with fetch(self, uri) as path:
            yield path

    monkeypatch.setattr(RunStore, "fetch", broken)
    return failing


def test_a_store_that_fails_for_a_file_is_no_damage(disk: RunStore, fails: set[str]) -> None:
    uri = disk.video_uri(name(1), "1-a")
    fails.add(uri)
    state = verify(disk, read_motion)
    assert state.findings == [
        Finding("unread", uri, "it could not be read: the store kept failing for 180 s: 503", "s1")
    ]
    assert requeue(disk, state) == 0
    fails.clear()
    assert verify(disk, read_motion).findings == []


def test_a_disk_that_cannot_read_a_file_is_no_damage(disk: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: str) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(library, "file_digest", broken)
    assert {finding.what for finding in verify(disk, read_motion).findings} == {"unread"}


def test_a_store_that_fails_throughout_ends_it_and_no_record_is_passed_over(
    tmp_path: Path, fails: set[str]
) -> None:
    store = RunStore(str(tmp_path / "run"))
    store.create({}, {})
    count = GIVE_UP + 6
    make(store, tmp_path, count)
    fails |= {store.stats_uri(name(n), "1-a") for n in range(3, count)}
    with pytest.raises(Transient, match=r"the store keeps failing: of stats/.*: 503"):
        verify(store, read_motion)
    assert (Verified.read(store).records, Verified.read(store).findings) == (3, [])
    fails.clear()
    store.folder.remove_all([store.stats_uri(name(4), "1-a")])
    state = verify(store, read_motion)
    assert (state.records, found(state)) == (count, [("missing", "s4", store.stats_uri(name(4), "1-a"))])


# --- stopped and taken up


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """URIs that were fetched, until the test has one stop it: `interrupt` in front of it."""
    seen, fetch = list[str](), RunStore.fetch

    @contextmanager
    def counted(self: RunStore, uri: str) -> Iterator[str]:
        seen.append(uri)
        with fetch(self, uri) as path:
            yield path

    monkeypatch.setattr(RunStore, "fetch", counted)
    return seen


def stopped(store: RunStore, after: int) -> None:
    """Verify until Ctrl-C, which comes when so many records are looked at."""

    def tell(state: Verified, total: int) -> None:
        if state.records == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(store, read_motion, tell)


def test_one_that_was_stopped_goes_on_where_it_was(store: RunStore, looked: list[str]) -> None:
    first, last = store.video_uri(name(0), "1-a"), store.video_uri(name(5), "1-a")
    store.folder.overwrite(first, b"video 9")
    store.folder.overwrite(last, b"video 9")
    stopped(store, after=4)
    looked.clear()
    state = verify(store, read_motion)
    own = {store.video_uri(name(n), "1-a") for n in (4, 5)} | {
        store.stats_uri(name(n), "1-a") for n in (4, 5)
    }
    assert {*looked} == own | {store.motion_uri("m2")}
    assert found(state) == [("damaged", "s0", first), ("damaged", "s5", last)]
    assert (state.records, state.files, state.finished) == (COUNT + 1, 2 * COUNT + COUNT // 2, True)


def test_a_finished_one_begins_anew(store: RunStore, looked: list[str]) -> None:
    verify(store, read_motion)
    looked.clear()
    uri = store.video_uri(name(0), "1-a")
    store.folder.overwrite(uri, b"video 9")
    assert found(verify(store, read_motion)) == [("damaged", "s0", uri)]
    assert len(looked) == 2 * COUNT + COUNT // 2


@pytest.mark.parametrize(
    "change", ["made again", "deleted", "the note is damaged", "the note is of another kind"]
)
def test_it_begins_anew_where_it_cannot_go_on(disk: RunStore, looked: list[str], change: str) -> None:
    stopped(disk, after=3)
    note = disk.folder.read(VERIFIED)
    if change == "made again":
        record = disk.record(name(1))
        assert record
        disk.requeue(record, ErrorNote(name="X", at="now"))
        disk.commit(replace(record, generation=3))
    elif change == "deleted":
        disk.folder.remove_all([disk.record_uri(name(1))])
    elif change == "the note is damaged":
        disk.folder.overwrite(VERIFIED, note.replace(b'"records": 3', b'"records": 2'))
    else:
        disk.folder.overwrite(VERIFIED, b"[]")
    looked.clear()
    state = verify(disk, read_motion)
    samples = COUNT - (change == "deleted")
    assert (state.records, state.findings) == (samples, [])
    assert len(looked) == 2 * samples + COUNT // 2


def test_how_far_it_is_is_kept_now_and_then(disk: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, put_text = [], RunStore.put_text
    monkeypatch.setattr(library, "EVERY", 2)
    monkeypatch.setattr(
        RunStore, "put_text", lambda self, uri, text: kept.append(uri) or put_text(self, uri, text)
    )
    verify(disk, read_motion)
    assert kept == [VERIFIED] * (COUNT // 2 + 1)


def test_a_place_that_cannot_be_written_to_is_verified(
    disk: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: RunStore, uri: str, text: str) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(RunStore, "put_text", refused)
    disk.folder.overwrite(disk.video_uri(name(0), "1-a"), b"video 9")
    state = verify(disk, read_motion)
    assert (len(state.findings), state.unkept) == (1, "read-only")


def test_no_more_records_are_held_than_are_looked_at(disk: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    record, taken = disk.record(name(0)), []

    def endless(self: RunStore, index: object) -> Iterator[Record]:
        while True:
            taken.append(1)
            yield record

    monkeypatch.setattr(RunStore, "records", endless)
    stopped(disk, after=50)
    assert len(taken) < 50 + 100


# --- made again


def test_just_the_samples_of_such_files_are_requeued(store: RunStore) -> None:
    store.folder.overwrite(store.video_uri(name(1), "1-a"), b"video 9")
    store.folder.remove_all([store.video_uri(name(4), "1-a"), store.stats_uri(name(4), "1-a")])
    state = verify(store, read_motion)
    assert len(state.findings) == 3
    assert requeue(store, state) == 2
    assert {key for key, entry in store.index().items() if entry.to_do} == {name(1), name(4)}
    void = store.record(name(1))
    assert void
    assert void.error
    uri, why = store.video_uri(name(1), "1-a"), "its bytes are not those that were written"
    assert (void.error.kind, void.error.message) == ("infra", f"{uri} was damaged: {why}")
    assert requeue(store, state) == 0, "it is done"
    assert verify(store, read_motion).findings == []


def test_what_was_made_again_since_is_left_alone(store: RunStore, tmp_path: Path) -> None:
    store.folder.overwrite(store.video_uri(name(1), "1-a"), b"video 9")
    state, record = verify(store, read_motion), store.record(name(1))
    assert record
    store.requeue(record, ErrorNote(name="X", at="now"))
    (tmp_path / "blob").write_text("video 1")
    new = store.put_blob(store.video_uri(name(1), "1-b"), str(tmp_path / "blob"))
    store.commit(replace(record, generation=3, video=new))
    assert requeue(store, state) == 0
    assert store.index()[name(1)].ok


def test_requeueing_looks_again_at_what_a_finished_one_has_found(store: RunStore, looked: list[str]) -> None:
    for n in (1, 4):
        store.folder.overwrite(store.video_uri(name(n), "1-a"), b"video 9")
    verify(store, read_motion)
    store.folder.overwrite(store.video_uri(name(4), "1-a"), b"video 4")  # someone has mended it
    looked.clear()
    state = verify(store, read_motion, again=True)
    assert {uri for uri in looked if uri.startswith("videos")} == {
        store.video_uri(name(n), "1-a") for n in (1, 4)
    }
    assert found(state) == [("damaged", "s1", store.video_uri(name(1), "1-a"))]
    assert requeue(store, state) == 1
    assert verify(store, read_motion, again=True).records == COUNT, (
        "a full one is next: that one was dealt with"
    )
