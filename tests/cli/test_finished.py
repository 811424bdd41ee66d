"""What one does with a run that has ended: gather it, sweep it, make a sample again, start over."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from served import served

from motionecho.cli.batch import start_over
from motionecho.cli.exits import Exit
from motionecho.errors import UserError
from motionecho.runs.export import readable_names
from motionecho.runs.notes import ErrorNote
from motionecho.runs.places import Place
from motionecho.runs.records import Record
from motionecho.runs.results import Entry
from motionecho.runs.store import RunStore
from pipelines.machines.upload import ship, ship_engine
from tests.cli.conftest import Cli

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


def test_collecting_continues_where_it_stopped(cli: Cli, store: RunStore, tmp_path: Path) -> None:
    folder = tmp_path / "got"
    assert cli("batch", "collect", store.url, "-o", folder, "--json").json["copied"] == 2
    assert (folder / "first_take.mp4").read_text() == "video of first/take"
    (folder / "second.mp4").write_text("cut shor")
    again = cli("batch", "collect", store.url, "-o", folder, "--json").json
    assert (again["copied"], again["already_there"]) == (1, 1)
    assert (folder / "second.mp4").read_text() == "video of second"
    table = pq.read_table(folder / "results.parquet").to_pylist()
    assert {row["id"]: row["result_file"] for row in table} == {
        "first/take": "first_take.mp4", "second": "second.mp4", "third": None
    }  # fmt: skip
    assert cli("batch", "collect", store.url, "-o", tmp_path / "t.parquet", "--json").json["rows"] == 3
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 3


def test_ids_that_collide_get_names_of_their_own() -> None:
    made = [Entry(key * 32, name, True, "", None, None) for key, name in (("a", "x/1"), ("b", "X_1"))]
    assert readable_names(made) == {"a" * 32: "x_1-aaaaaaaa.mp4", "b" * 32: "X_1-bbbbbbbb.mp4"}


def test_only_what_no_record_names_is_swept(cli: Cli, store: RunStore, tmp_path: Path) -> None:
    def files() -> set[str]:
        return {str(path.relative_to(store.url)) for path in Path(store.url).rglob("*") if path.is_file()}

    before = files()
    for uri in (store.video_uri("a" * 32, "2-b"), store.stats_uri("d" * 32, "1-b")):
        store.put_blob(uri, str(tmp_path / "blob"))
    store.note_strike("a" * 32, "1-x", ErrorNote(name="X", at="x"))  # of a finished sample
    store.note_strike("d" * 32, "1-x", ErrorNote(name="X", at="x"))  # of one that will be tried again
    (Path(store.url) / "videos" / "aa" / ".part-1").touch()
    listed = cli("batch", "gc", store.url, "--json").json
    assert len(listed["orphans"]) == 4
    assert not listed["removed"]
    assert cli("batch", "gc", store.url, "--yes").code == Exit.OK
    assert files() == before | {f"attempts/dd/{'d' * 32}-1-x.json"}


def test_a_driver_at_work_keeps_its_run(cli: Cli, store: RunStore, tmp_path: Path) -> None:
    store.put_blob(store.video_uri("d" * 32, "1-b"), str(tmp_path / "blob"))
    word = {"at": datetime.now(UTC).isoformat(), "total": 4}
    store.note_progress(word | {"ended": False})
    assert "a driver may be at work" in cli("batch", "gc", store.url, "--yes").sentence()
    store.note_progress(word | {"ended": True})
    assert cli("batch", "gc", store.url, "--yes", "--json").json["bytes"] > 0


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
    start_over(store.url, yes=True, dry_run=False)
    assert not store.keys()
    assert (Path(store.url) / "motions" / "m.safetensors").exists()
    assert (Path(store.url) / "mine.txt").exists()


def test_retry_and_replay(cli: Cli, tmp_path: Path, clip: Path) -> None:
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
        retried = cli("batch", "retry", run, "--json")
        assert (retried.code, retried.json["committed"]) == (Exit.OK, 1), retried.err
        assert {r.id: r.committed_at for r in RunStore(str(run)).records()}["one"] == before["one"]
        assert "there is nothing to retry" in cli("batch", "retry", run).sentence()
    finally:
        import ray

        ray.shutdown()
    done = cli("batch", "replay", run, "one", "--json", "-o", tmp_path / "again.mp4")
    assert (done.code, done.json["equal"]) == (Exit.OK, True), done.out
    assert (tmp_path / "again.mp4").stat().st_size > 0
    assert "no record has that id" in cli("batch", "replay", run, "none").sentence()
    path = next((run / "records").rglob(f"{done.json['key']}.json"))
    changed: dict[str, Any] = json.loads(path.read_text()) | {"latent_sha256": "0" * 64}
    path.write_text(json.dumps(changed))
    for part in (run / "results").iterdir():
        part.unlink()
    other = cli("batch", "replay", run, changed["id"])
    assert other.code == Exit.FAILED_SAMPLES
    assert "the frames of the two videos are equal" in other.out


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
