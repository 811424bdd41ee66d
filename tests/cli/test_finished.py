"""What one does with a run that has ended: gather it, sweep it, make a sample again, start over."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pyarrow.parquet as pq
import pytest
import torch
from served import served

from motionecho.cli import retry as cli_retry
from motionecho.cli import verify as cli_verify
from motionecho.cli.batch import start_over
from motionecho.cli.exits import Exit
from motionecho.cli.settings import resolve
from motionecho.config import ReferenceSettings
from motionecho.errors import Transient, UserError
from motionecho.guidance.strategy import Carried
from motionecho.inversion import Motion
from motionecho.runs.notes import Blob, ErrorNote
from motionecho.runs.places import Place
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.execution import Execution
from pipelines.machines.upload import ship, ship_engine
from pipelines.plan import plan_generation
from pipelines.replay import find
from tests.cli.conftest import ROOT, Cli

CLIP = ROOT / "manifests" / "clips" / "bounce.mp4"
PROMPT = "a red star on a blue background"
QUICK = ("--set", "steps=1", "--set", "inversion_steps=1", "--set", "activation=never", "--metric", "sanity")


def record(store: RunStore, tmp_path: Path, key: str, name: str) -> Record:
    (tmp_path / "blob").write_text(f"video of {name}")
    blobs = {
        "video": store.put_blob(store.video_uri(key * 32, "1-a"), str(tmp_path / "blob")),
        "stats": store.put_blob(store.stats_uri(key * 32, "1-a"), str(tmp_path / "blob")),
    }
    made = Record(key=key * 32, id=name, status="ok", inputs={"id": name, "reference": "r"}, **blobs)
    store.commit(made)
    return made


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Two finished samples and a failed one."""
    store = RunStore(str(tmp_path / "run"))
    store.create({}, {})
    record(store, tmp_path, "a", "first/take")
    record(store, tmp_path, "b", "second")
    store.commit(
        Record(key="c" * 32, id="third", status="failed", inputs={"id": "third"}, error=ErrorNote(name="X"))
    )
    return store


def test_records_are_collected_in_a_table(cli: Cli, store: RunStore, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    assert cli("batch", "collect", store.url, "-o", path, "--json").json["rows"] == 3
    assert {row["id"] for row in pq.read_table(path).to_pylist()} == {"first/take", "second", "third"}
    assert "add --force" in cli("batch", "collect", store.url, "-o", path).sentence()
    assert cli("batch", "collect", store.url, "-o", path, "--force").code == Exit.OK


def test_for_videos_another_command_is_named(cli: Cli, store: RunStore, tmp_path: Path) -> None:
    refused = cli("batch", "collect", store.url, "-o", tmp_path / "got")
    assert refused.code == Exit.USAGE
    assert refused.sentence().endswith(f"for videos: motionecho export {store.url} --out {tmp_path}/got")


def test_a_run_that_is_whole_is_verified_in_a_line(cli: Cli, store: RunStore) -> None:
    done = cli("batch", "verify", store.url)
    assert (done.code, done.out, done.err) == (Exit.OK, "", "4 files of 3 records: 0 damaged, 0 missing\n")
    assert cli("batch", "verify", store.url, "--json").json["findings"] == []
    assert "there is no run at" in cli("batch", "verify", store.url + "-other").sentence()


def test_what_is_damaged_or_missing_is_a_table_and_exit_code_3(cli: Cli, store: RunStore) -> None:
    hurt, gone = store.video_uri("a" * 32, "1-a"), store.stats_uri("b" * 32, "1-a")
    store.folder.overwrite(hurt, b"video")
    store.folder.remove_all([gone])
    record = store.record_uri("c" * 32)
    store.folder.overwrite(record, b"{")
    done = cli("batch", "verify", store.url)
    assert done.code == Exit.FAILED_SAMPLES
    heading, *lines = (line.split(None, 2) for line in done.out.splitlines())
    assert heading == ["id", "file", "problem"]
    assert lines[:2] == [
        ["first/take", hurt, "damaged: it has 5 bytes and not 19"],
        ["second", gone, "missing: it is not there"],
    ]
    assert lines[2][:2] == ["-", "-"]
    assert f"damaged: {store.absolute(record)} cannot be read" in lines[2][2]
    *ways_out, last = done.err.splitlines()
    assert last == "4 files of 2 records: 2 damaged, 1 missing"
    assert ways_out == [
        "samples without a record that can be read are made again by submitting again",
        f"to have 2 samples made again: motionecho batch verify {store.url} --requeue",
    ]
    found = cli("batch", "verify", store.url, "--json")
    assert (found.code, found.json["exit_code"], found.json["damaged"], found.json["missing"]) == (3, 3, 2, 1)
    assert [each["key"] for each in found.json["findings"]] == ["a" * 32, "b" * 32, ""]


def test_requeueing_names_the_command_that_makes_them_again(cli: Cli, store: RunStore) -> None:
    store.folder.overwrite(store.video_uri("a" * 32, "1-a"), b"video")
    done = cli("batch", "verify", store.url, "--requeue")
    assert done.code == Exit.FAILED_SAMPLES
    assert f"1 sample requeued; to make them again: motionecho batch retry {store.url}" in done.err
    assert {key for key, entry in store.index().items() if entry.to_do} == {"a" * 32}
    assert cli("batch", "verify", store.url, "--requeue").code == Exit.OK, "it is void, and to be made again"


def test_a_motion_s_own_digest_is_read(cli: Cli, store: RunStore) -> None:
    """As it is of a real motion, whose maker may have been another run."""
    motion = Motion(torch.zeros(2, 3), Carried({}), Carried({}), ReferenceSettings(), "toy")
    file = Path(store.absolute(store.motion_uri("m" * 32)))
    file.parent.mkdir(parents=True)
    motion.save(file, key="m" * 32)
    made = record(store, file.parent, "d", "fourth")
    store.requeue(made, ErrorNote(name="X", at="now"))
    blob = Blob(store.motion_uri("m" * 32))
    store.commit(replace(made, generation=3, motion=blob, motion_key="m" * 32))
    assert cli("batch", "verify", store.url, "--json").json["files"] == 7
    motion.save(file, key="n" * 32)
    found = cli("batch", "verify", store.url)
    assert (found.code, "fourth" in found.out, "--requeue" in found.err) == (Exit.FAILED_SAMPLES, True, False)
    assert "made again when it is next used" in found.out
    file.unlink()
    gone = cli("batch", "verify", store.url)
    assert (gone.code, gone.out) == (Exit.OK, "")
    assert "note: 1 motion not there" in gone.err


def test_a_store_that_fails_is_told_from_damage(
    cli: Cli, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, bad = RunStore.fetch, store.video_uri("a" * 32, "1-a")

    @contextmanager
    def failing(self: RunStore, uri: str) -> Iterator[str]:
        if uri == bad:
            raise Transient("the store kept failing for 180 s: 503")
        with fetch(self, uri) as path:
            yield path

    monkeypatch.setattr(RunStore, "fetch", failing)
    done = cli("batch", "verify", store.url)
    assert (done.code, "unread: it could not be read: the store kept failing" in done.out) == (
        Exit.UNEXPECTED,
        True,
    )
    assert done.err.splitlines()[-1] == "4 files of 3 records: 0 damaged, 0 missing, 1 could not be read"
    store.folder.remove_all([store.video_uri("b" * 32, "1-a")])
    assert cli("batch", "verify", store.url).code == Exit.FAILED_SAMPLES


def test_an_interrupted_verification_goes_on(
    cli: Cli, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, fetch = list[str](), RunStore.fetch

    @contextmanager
    def counted(self: RunStore, uri: str) -> Iterator[str]:
        fetched.append(uri)
        with fetch(self, uri) as path:
            yield path

    monkeypatch.setattr(RunStore, "fetch", counted)
    with monkeypatch.context() as patch:
        patch.setattr(cli_verify, "TELL_EVERY_S", 0.0)
        patch.setattr(cli_verify, "say", Mock(side_effect=[None, None, KeyboardInterrupt]))
        assert cli("batch", "verify", store.url).code == Exit.INTERRUPTED
    fetched.clear()
    done = cli("batch", "verify", store.url)
    assert (done.code, done.err) == (Exit.OK, "4 files of 3 records: 0 damaged, 0 missing\n")
    assert fetched == [], "both records were looked at before"


def test_only_what_no_record_names_is_swept(cli: Cli, store: RunStore, tmp_path: Path) -> None:
    def files() -> set[str]:
        return {str(path.relative_to(store.url)) for path in Path(store.url).rglob("*") if path.is_file()}

    before = files()
    for uri in (store.video_uri("a" * 32, "2-b"), store.stats_uri("d" * 32, "1-b")):
        store.put_blob(uri, str(tmp_path / "blob"))
    store.note_strike("a" * 32, "1-x", ErrorNote(name="X", at="x"))  # of a finished sample
    store.note_strike("d" * 32, "1-x", ErrorNote(name="X", at="x"))  # of one that will be tried again
    (Path(store.url) / "videos" / "aa" / ".part-1").touch()
    assert cli("batch", "gc", store.url, "--json").json["orphans"] == [], "they may be someone's at work"
    listed = cli("batch", "gc", store.url, "--older-than", "0", "--json").json
    assert len([each for each in listed["orphans"] if not each["uri"].startswith("progress/")]) == 4
    assert not listed["removed"]
    assert cli("batch", "gc", store.url, "--yes", "--older-than", "0").code == Exit.OK
    assert {f for f in files() if not f.startswith("progress/")} == before | {
        f"attempts/dd/{'d' * 32}-1-x.json"
    }


def test_what_was_made_again_is_swept_with_its_record(cli: Cli, store: RunStore, tmp_path: Path) -> None:
    old = store.record("a" * 32)
    assert old is not None
    store.requeue(old, ErrorNote(name="Damaged", at="now"))
    sweep = ("batch", "gc", store.url, "--yes", "--older-than", "0", "--json")
    assert not {each["uri"] for each in cli(*sweep).json["orphans"] if "/aa/" in each["uri"]}, (
        "it may be needed"
    )
    new = store.put_blob(store.video_uri("a" * 32, "1-c"), str(tmp_path / "blob"))
    store.commit(replace(old, generation=3, video=new, stats=None))
    key = "a" * 32
    gone = {f"videos/aa/{key}-1-a.mp4", f"stats/aa/{key}-1-a.parquet", f"records/aa/{key}.json",
            f"records/aa/{key}-2.json"}  # fmt: skip
    assert {each["uri"] for each in cli(*sweep).json["orphans"] if "/aa/" in each["uri"]} == gone
    assert store.record(key) == replace(old, generation=3, video=new, stats=None)


def test_a_driver_at_work_keeps_its_run(cli: Cli, store: RunStore, tmp_path: Path) -> None:
    store.put_blob(store.video_uri("d" * 32, "1-b"), str(tmp_path / "blob"))
    sweep = ("batch", "gc", store.url, "--yes", "--older-than", "0")
    first, second = (store.take_lease("driver") for _ in range(2))
    first.end({})
    refused = cli(*sweep)
    assert refused.code == Exit.USAGE
    assert f"driver {second.life} (process {os.getpid()} on " in refused.sentence(), "the one that works"
    over = ("batch", "submit", clip_manifest(tmp_path), "--out", store.url, "--fresh", "--yes")
    assert "nothing was deleted" in cli(*over).sentence()
    assert len(store.keys()) == 3
    second.end({})
    assert cli(*sweep, "--json").json["bytes"] > 0


def clip_manifest(folder: Path) -> Path:
    (folder / "m.csv").write_text(f"reference,prompt\n{CLIP},{PROMPT}\n")
    return folder / "m.csv"


def test_starting_over_is_confirmed_and_keeps_motions(cli: Cli, store: RunStore, clip: Path) -> None:
    (Path(store.url) / "motions").mkdir()
    (Path(store.url) / "motions" / "m.safetensors").touch()
    (Path(store.url) / "mine.txt").touch()
    manifest = Path(store.url).parent / "m.jsonl"
    manifest.write_text(json.dumps({"reference": str(clip), "prompt": PROMPT}))
    submit = ("batch", "submit", manifest, "--out", store.url, "--fresh")
    assert "3 finished samples" in cli(*submit).sentence()
    assert len(store.keys()) == 3
    manifest.write_text(json.dumps({"reference": "missing.mp4", "prompt": PROMPT}))
    refused = cli(*submit, "--yes")
    assert (refused.code, "does not exist" in refused.sentence()) == (Exit.USAGE, True)
    assert len(store.keys()) == 3, "nothing is deleted for a manifest that cannot run"
    start_over(store.url, yes=True)
    assert not store.keys()
    assert (Path(store.url) / "motions" / "m.safetensors").exists()
    assert (Path(store.url) / "mine.txt").exists()


def test_starting_over_is_planned_as_if_nothing_were_there(cli: Cli, store: RunStore, tmp_path: Path) -> None:
    manifest = clip_manifest(tmp_path)
    (key,) = plan_generation(str(manifest), resolve().settings, store.url).tasks
    store.commit(Record(key=key, id="one", status="ok", inputs={"id": "one"}))
    dry = ("batch", "submit", manifest, "--out", store.url, "--dry-run", "--json")
    done, left = (cli(*dry, *more).json["plan"] for more in ((), ("--fresh",)))
    assert (done["done"], done["todo"]) == (1, 0)
    assert (left["done"], left["todo"]) == (0, 1)
    assert len(store.keys()) == 4


def test_retry_and_replay(cli: Cli, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One good row and one whose clip comes later."""
    rows = [{"id": "one", "reference": str(clip), "prompt": PROMPT}]
    rows += [{"id": "late", "reference": "late.mp4", "prompt": PROMPT, "seed": 5}]
    manifest, run = tmp_path / "m.jsonl", tmp_path / "run"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    try:
        assert cli("batch", "submit", manifest, "--out", run, "--workers", "1", *QUICK).code == 3
        before = {r.id: r.committed_at for r in RunStore(str(run)).records()}
        assert "their rows are bad" in cli("batch", "retry", run).sentence()
        (tmp_path / "late.mp4").write_bytes(clip.read_bytes())
        with monkeypatch.context() as patch:
            carried = Mock(return_value=Exit.GUARD)
            patch.setattr(cli_retry, "execute", carried)
            guards = ("--max-failure-rate", "0.5", "--deadline", "60", "--no-canary")
            assert cli("batch", "retry", run, *guards).code == Exit.GUARD
            how: Execution = carried.call_args.args[4]
            assert (how.max_failure_rate, how.deadline_s, how.canary) == (0.5, 60, False)
        retried = cli("batch", "retry", run, "--json")
        assert (retried.code, retried.json["committed"]) == (Exit.OK, 1), retried.err
        assert {r.id: r.committed_at for r in RunStore(str(run)).records()}["one"] == before["one"]
        assert "there is nothing to retry" in cli("batch", "retry", run).sentence()

        late = next(made for made in RunStore(str(run)).records() if made.id == "late")
        video = run / str(late.video and late.video.uri)
        whole = video.read_bytes()
        video.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert cli("batch", "verify", run, "--requeue", "--json").json["requeued"] == 1
        again = cli("batch", "retry", run, "--json").json
        assert (again["exit_code"], again["committed"], again["already_done"]) == (Exit.OK, 1, 1)
        assert cli("batch", "verify", run).code == Exit.OK
        assert cli("export", run, "-o", tmp_path / "got").code == Exit.OK
        assert (tmp_path / "got" / "train" / "late.mp4").read_bytes() == whole
    finally:
        import ray

        ray.shutdown()
    done = cli("batch", "replay", run, "one", "--json", "-o", tmp_path / "again.mp4")
    assert (done.code, done.json["equal"]) == (Exit.OK, True), done.out
    assert (tmp_path / "again.mp4").stat().st_size > 0
    assert "no record has that id" in cli("batch", "replay", run, "none").sentence()
    path = next((run / "records").rglob(f"{done.json['key']}.json"))
    changed = replace(Record.from_json(path.read_text()), latent_sha256="0" * 64)
    path.write_text(changed.to_json())
    for part in (run / "results").iterdir():
        part.unlink()
    other = cli("batch", "replay", run, changed.id)
    assert other.code == Exit.FAILED_SAMPLES
    assert "the frames of the two videos are equal" in other.out


def test_a_sample_is_replayed_by_its_key_where_ids_are_shared(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "run"))
    for key in "ab":
        store.commit(Record(key=key * 32, id="one", status="ok", inputs={}))
    assert find(store, "b" * 32).key == "b" * 32
    with pytest.raises(UserError, match=f'2 samples of .* have the id "one": .*{"a" * 32}, {"b" * 32}'):
        find(store, "one")


def test_a_manifest_goes_to_a_remote_run_with_its_clips(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("clip a")
    manifest = tmp_path / "m.csv"
    manifest.write_text("reference,prompt\na.mp4,one\na.mp4,two\nmemory://x/y.mp4,three\na.mp4,\n")
    from motionecho.manifest import BadRow, read_manifest

    place = ship(str(manifest), RunStore("memory://shipped/run"))
    there, here = read_manifest(place), read_manifest(str(manifest))
    assert [row.id for row in there] == [row.id for row in here]
    assert [getattr(row, "seed", None) for row in there] == [getattr(row, "seed", None) for row in here]
    assert isinstance(there[3], BadRow)
    clips = [row.reference for row in there if not isinstance(row, BadRow)]
    assert clips[0] == clips[1]
    assert clips[0].startswith("memory://")
    assert clips[2] == "memory://x/y.mp4"
    with RunStore("memory://shipped/run").fetch(clips[0].split("shipped/run/")[1]) as path:
        assert Path(path).read_text() == "clip a"
    assert ship(str(manifest), RunStore("memory://shipped/run")) == place
    assert ship(str(manifest), RunStore(str(tmp_path / "run"))) == str(manifest)


@pytest.mark.parametrize("column", ["reference", "video"])
def test_what_opens_a_file_is_not_written_where_a_job_reads(tmp_path: Path, column: str) -> None:
    manifest, remote = tmp_path / "m.jsonl", RunStore("memory://shipped/signed")
    url = "https://me:word@host/b.mp4?Signature=f00"
    rows = [{"reference": "a.mp4", "video": "c.mp4", "prompt": prompt} for prompt in ("one", "two")]
    rows[1][column] = url
    manifest.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(
        UserError, match=r'^row 2 of manifest ".*m.jsonl": "https://\*\*\*@host/b.mp4'
    ) as said:
        ship(str(manifest), remote)
    assert "which a job is not told: name it as the cluster's own credentials open it" in str(said.value)
    assert "word" not in str(said.value)
    assert remote.folder.find() == []
    assert ship(str(manifest), RunStore(str(tmp_path / "run"))) == str(manifest), (
        "a shared disk has it as it is"
    )
    for what, send in (("the manifest", ship), ("the engine file", ship_engine)):
        with served(lambda method, path, login: (200, {}, manifest.read_bytes())) as web:
            place = Place(f"http://me:word@{web.host}/m.jsonl")
            with pytest.raises(UserError, match=f"^{what}: .* which a job is not told"):
                send(place, RunStore(str(tmp_path / "run")))
