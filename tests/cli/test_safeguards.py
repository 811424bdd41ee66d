"""What safeguards say to people: inspect, sign, denied prompts, forget."""

import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from certificates import Files, issue

from motionecho.cli.exits import Exit
from motionecho.runs.keys import digest, file_digest
from motionecho.runs.notes import Blob, ErrorNote, Host
from motionecho.runs.provenance import GENERATED, provenance
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from motionecho.video import write_video
from tests.cli.conftest import Cli

PROMPT = "a red star on a blue background"
KEY = digest(["sample"])[:32]


def make(path: Path, **more: object) -> Path:
    noted = provenance(sample_id="a", key=KEY, pair="toy", prompt=PROMPT, seed=7, settings="d1")
    write_video(path, np.zeros((2, 32, 32, 3), np.uint8), 8, noted | more)
    return path


@pytest.fixture
def run(tmp_path: Path, clip: Path) -> RunStore:
    """One sample of a clip, made, and one that failed."""
    store = RunStore(str(tmp_path / "run"))
    store.create({"settings": {}}, {})
    shutil.copyfile(clip, tmp_path / "lent.mp4")
    known = {"uri": str(tmp_path / "lent.mp4"), "sha256": file_digest(str(tmp_path / "lent.mp4"))}
    video = store.put_blob(store.video_uri(KEY, "1-a"), str(make(tmp_path / "made.mp4")))
    inputs = {"id": "a", "reference": known["uri"], "prompt": PROMPT, "seed": 7}
    record = Record(
        key=KEY, id="a", status="ok", inputs=inputs, reference=known, video=video,
        facts={"pair": "toy", "filters": {"deny": "d2"}}, scores={"motion_fidelity": {"follows": 0.875}},
        trace={"forward_equivalents": 32, "activated_steps": 2, "steps": 8}, seconds={"generate": 4.25},
        echo={"steps": 4}, where=Host(name="here", device="cpu", threads=2),
    )  # fmt: skip
    store.commit(record)
    why = ErrorNote(kind="bad", name="DeniedPrompt", message="its prompt is denied", stage="manifest")
    store.commit(Record(key=digest(["b"])[:32], id="b", status="failed", inputs={"id": "b"}, error=why))
    store.compact([*store.records()])
    return store


# --- inspect


def test_a_video_says_what_made_it(cli: Cli, tmp_path: Path) -> None:
    video = make(tmp_path / "made.mp4")
    done = cli("inspect", video)
    assert done.code == Exit.OK
    for words in ("AI-generated (trainedAlgorithmicMedia)", f"a ({KEY})", PROMPT, "toy", "unsigned: anybody"):
        assert words in done.out
    said = cli("inspect", video, "--json").json
    assert (said["generated"], said["source"], said["signature"]["state"]) == (True, GENERATED, "none")
    assert said["note"]["prompt"] == PROMPT
    assert "RANDOM WEIGHTS" in cli("inspect", make(tmp_path / "noise.mp4", weights="random")).out


def test_a_foreign_video_says_nothing(cli: Cli, clip: Path, tmp_path: Path) -> None:
    done = cli("inspect", clip)
    assert done.code == Exit.FAILED_SAMPLES
    assert done.out.strip().endswith("says nothing of what made it: no note of motionecho, no source type, "
                                     "no C2PA signature")  # fmt: skip
    assert cli("inspect", clip, "--json").json["generated"] is False
    assert "does not exist" in cli("inspect", tmp_path / "missing.mp4").sentence()
    assert "of a run name a SAMPLE as well" in cli("inspect", tmp_path).sentence()


def test_a_record_in_words(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    done = cli("inspect", run.url, "a")
    assert done.code == Exit.OK
    for words in (f"a ({KEY}), ok", str(tmp_path / "lent.mp4"), "follows 0.875", "32 forward equivalents",
                  "cpu, threads: 2 on here", "steps=4", "deny d2", "as recorded"):  # fmt: skip
        assert words in done.out
    by_key, at = cli("inspect", run.url, KEY), cli("inspect", f"{run.url}/{run.record_uri(KEY)}")
    assert by_key.out == at.out == done.out
    assert "DeniedPrompt in manifest: its prompt is denied" in cli("inspect", run.url, "b").out
    shutil.copyfile(f"{run.url}/{run.record_uri(KEY)}", tmp_path / "record.json")
    assert "not looked at: the record is not in its run" in cli("inspect", tmp_path / "record.json").out


def test_files_that_are_not_as_recorded(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    video = Path(run.url) / run.video_uri(KEY, "1-a")
    data = video.read_bytes()
    video.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = cli("inspect", run.url, "a", "--json")
    assert (done.code, done.json["as_recorded"]) == (Exit.FAILED_SAMPLES, False)
    assert [file["state"] for file in done.json["files"]] == ["damaged"]
    video.unlink()
    assert "missing" in cli("inspect", run.url, "a").out


def test_files_beside_the_run_s_own_are_not_looked_at(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    """A stranger's record may name any file; a motion that runs share has a place elsewhere."""
    (tmp_path / "secret.mp4").write_bytes(b"mine")
    made = next(record for record in run.records() if record.id == "a")
    for at, uri in enumerate((str(tmp_path / "secret.mp4"), "../secret.mp4", "videos/../../secret.mp4"), 2):
        secret = Blob(uri, file_digest(str(tmp_path / "secret.mp4")), 4)
        run.commit(replace(made, video=secret, motion=secret, motion_key="m", generation=at))
        done = cli("inspect", run.url, "a", "--json")
        assert [file["state"] for file in done.json["files"]] == ["foreign", "foreign"]
        assert done.code == Exit.FAILED_SAMPLES
    sharing = RunStore(str(tmp_path / "sharing"), motions=str(tmp_path / "shared"))
    sharing.create({"settings": {}}, {})
    motion = sharing.put_blob(sharing.motion_uri("c" * 32), str(tmp_path / "secret.mp4"))
    sharing.commit(replace(made, video=None, status="failed", motion=motion, motion_key="c" * 32))
    assert [f["state"] for f in cli("inspect", sharing.url, "a", "--json").json["files"]] == ["as recorded"]


def test_records_that_are_none(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    assert 'has the id or key "c"' in cli("inspect", run.url, "c").sentence()
    assert "there is no run at" in cli("inspect", tmp_path / "elsewhere", "c").sentence()
    (tmp_path / "other.json").write_text("{}")
    assert "is no record of motionecho" in cli("inspect", tmp_path / "other.json").sentence()
    assert "does not exist" in cli("inspect", tmp_path / "missing.json").sentence()


# --- sign


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    pytest.importorskip("c2pa", reason="c2pa-python is not installed")
    return issue(tmp_path_factory.mktemp("ca"))


def test_videos_are_signed_and_inspected(cli: Cli, tmp_path: Path, files: Files) -> None:
    (tmp_path / "videos" / "train").mkdir(parents=True)
    for name in ("one", "train/two"):
        make(tmp_path / "videos" / f"{name}.mp4")
    write_video(tmp_path / "videos" / "foreign.mp4", np.zeros((1, 32, 32, 3), np.uint8), 8)
    how = ("--c2pa", files.certificate, "--c2pa-key", files.key)
    done = cli("sign", tmp_path / "videos", "--out", tmp_path / "signed", *how)
    assert done.code == Exit.FAILED_SAMPLES
    assert "2 videos signed, 0 signed already" in done.err
    assert 'foreign.mp4" says nothing of motionecho' in done.err
    there = sorted(str(p.relative_to(tmp_path / "signed")) for p in (tmp_path / "signed").rglob("*.mp4"))
    assert there == ["one.mp4", "train/two.mp4"]
    again = cli("sign", tmp_path / "videos" / "one.mp4", "-o", tmp_path / "signed", *how, "--json")
    assert (again.code, again.json["signed"], again.json["already_signed"]) == (Exit.OK, [], 1)

    signed = tmp_path / "signed" / "one.mp4"
    assert "holds, by a tester, motionecho tests" in cli("inspect", signed).out
    assert "by a root that you trust" in cli("inspect", signed, "--trust", files.root).out
    data = signed.read_bytes()
    at = data.index(b"mdat") + 40
    signed.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    done = cli("inspect", signed)
    assert (done.code, "DOES NOT HOLD" in done.out) == (Exit.FAILED_SAMPLES, True)
    assert "cannot read --trust" in cli("inspect", signed, "--trust", tmp_path / "none.pem").sentence()


def test_signed_copies_are_kept_up(cli: Cli, tmp_path: Path, files: Files) -> None:
    """Within the folder of their videos, of one that was made again, of one that was signed before."""
    (tmp_path / "videos").mkdir()
    one, two = make(tmp_path / "videos" / "one.mp4"), make(tmp_path / "videos" / "two.mp4", seed=8)
    how = ("--c2pa", files.certificate, "--c2pa-key", files.key)
    out = tmp_path / "videos" / "signed"
    assert cli("sign", two, *how).code == Exit.OK
    first = cli("sign", tmp_path / "videos", "--out", out, *how, "--json")
    assert (first.code, first.json["signed"]) == (Exit.OK, [str(out / "one.mp4")])
    assert first.json["already_signed"] == 1
    assert (out / "two.mp4").read_bytes() == two.read_bytes()
    again = cli("sign", tmp_path / "videos", "--out", out, *how, "--json")
    assert (again.code, again.json["signed"], again.json["already_signed"]) == (Exit.OK, [], 2)
    make(one, key="f" * 32)
    anew = cli("sign", tmp_path / "videos", "--out", out, *how, "--json").json
    assert (anew["signed"], anew["already_signed"]) == ([str(out / "one.mp4")], 1)
    assert cli("inspect", out / "one.mp4", "--json").json["note"]["key"] == "f" * 32
    (out / "one.mp4").write_bytes((out / "one.mp4").read_bytes()[:-9])  # it holds no more
    assert cli("sign", one, "--out", out, *how, "--json").json["signed"] == [str(out / "one.mp4")]
    assert sorted(p.name for p in out.rglob("*")) == ["one.mp4", "two.mp4"]


def test_mistakes_in_signing(cli: Cli, tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    video = make(tmp_path / "made.mp4")
    assert "name what to sign with" in cli("sign", video).sentence()
    monkeypatch.setenv("MOTIONECHO_C2PA_CERT", str(files.certificate))
    assert "takes both" in cli("sign", video).sentence()
    monkeypatch.setenv("MOTIONECHO_C2PA_KEY", str(files.key))
    assert "is not there" in cli("sign", tmp_path / "missing.mp4").sentence()
    (tmp_path / "empty").mkdir()
    assert "there is no .mp4 in" in cli("sign", tmp_path / "empty").sentence()
    (tmp_path / "b").mkdir()
    twin = make(tmp_path / "b" / "made.mp4")
    assert "would have the name of another" in cli("sign", video, twin, "-o", tmp_path / "out").sentence()
    assert cli("sign", video, twin).code == Exit.OK


def test_generate_refuses_a_wrong_key_before_it_works(
    cli: Cli, clip: Path, tmp_path: Path, files: Files
) -> None:
    done = cli("generate", clip, PROMPT, "-o", tmp_path / "x.mp4", "--c2pa", files.certificate)
    assert (done.code, "takes both" in done.sentence()) == (Exit.USAGE, True)
    assert not (tmp_path / "x.mp4").exists()


# --- denied prompts


def test_denied_prompts_are_told_before_anything_is_made(cli: Cli, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "deny.txt").write_text("star\n")
    done = cli("generate", clip, PROMPT, "-o", tmp_path / "x.mp4", "--deny", tmp_path / "deny.txt")
    words = 'its prompt is denied by line 1 of the deny list "deny.txt"'
    assert (done.code, words in done.sentence()) == (Exit.USAGE, True)
    table = tmp_path / "m.csv"
    table.write_text(f"id,reference,prompt\na,{clip},{PROMPT}\nb,{clip},a red heart on a blue background\n")
    found = cli("manifest", "validate", table, "--deny", tmp_path / "deny.txt", "--json")
    assert found.code == Exit.USAGE
    assert [(each["id"], each["column"], each["problem"]) for each in found.json["problems"]] == [
        ("a", "prompt", words)
    ]
    plan = cli(
        "batch", "plan", table, "--out", tmp_path / "run", "--deny", tmp_path / "deny.txt", "--json"
    ).json["plan"]
    assert (plan["todo"], [row["kind"] for row in plan["bad"]]) == (1, ["DeniedPrompt"])
    assert "cannot read deny list" in cli("batch", "plan", table, "--deny", tmp_path / "no.txt").sentence()


# --- forget


def test_a_reference_is_listed_removed_and_left_out(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    lent = tmp_path / "lent.mp4"
    listed = cli("forget", run.url, lent)
    assert (listed.code, "--yes removes them" in listed.err) == (Exit.OK, True)
    assert f"not reached  the clip itself: {lent}" in listed.err
    listed_bytes = cli("forget", run.url, lent, "--json").json["bytes"]
    assert len(run.keys()) == 2
    done = cli("forget", run.url, lent, "--yes", "--json")
    assert (done.code, done.json["samples"], done.json["removed"]) == (Exit.OK, ["a"], 2)
    assert [record.id for record in run.records()] == ["b"]
    assert done.json["problem"] is None
    assert done.json["bytes"] == listed_bytes
    assert not (Path(run.url) / "report").exists()  # there was none
    assert "nothing of it is left" in cli("forget", run.url, lent, "--yes").err
    left = [path for path in Path(run.url).rglob("*") if path.is_file()]
    assert not any(file_digest(str(lent)).encode() in path.read_bytes() for path in left)
    for command in ("status", "failures", "verify"):
        assert cli("batch", command, run.url).code == Exit.OK


def test_a_report_is_written_again(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    assert cli("batch", "report", run.url).code == Exit.OK
    page = Path(run.url) / "report" / "data" / "details-000.js"
    assert "lent.mp4" in page.read_text()
    assert cli("forget", run.url, file_digest(str(tmp_path / "lent.mp4")), "--yes").code == Exit.OK
    assert "lent.mp4" not in "".join(p.read_text() for p in page.parent.glob("*.js"))
    assert page.exists()


def test_scores_beside_a_run_are_forgotten_too(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    scores = RunStore(run.scores_url)
    scores.create({"scoring": {}}, {})
    known = {"uri": str(tmp_path / "lent.mp4"), "sha256": file_digest(str(tmp_path / "lent.mp4"))}
    scores.commit(Record(key=digest(["s"])[:32], id="a", status="ok", inputs={"video": "v"}, reference=known))
    (tmp_path / "lent.mp4").unlink()  # its name is all that is known, and a record has its digest
    copy = replace(next(r for r in run.records() if r.id == "a"), key="c" * 32, id="c", inputs={})
    run.commit(replace(copy, reference=known | {"uri": "/elsewhere.mp4"}))
    done = cli("forget", run.url, tmp_path / "lent.mp4", "--yes", "--json")
    assert (done.code, done.json["samples"]) == (Exit.OK, ["a", "c"])
    assert scores.keys() == set()


def test_what_no_sample_came_of_and_what_cannot_be_removed(cli: Cli, run: RunStore, tmp_path: Path) -> None:
    assert "came of" in cli("forget", run.url, tmp_path / "other.mp4").sentence()
    lease = run.take_lease("driver", {})
    assert "nothing was deleted: driver" in cli("forget", run.url, tmp_path / "lent.mp4", "--yes").sentence()
    lease.end({})
    run.note_job({"address": str(tmp_path / "lent.mp4"), "id": "j"})
    assert f"{run.url}/job.json names it still" in cli("forget", run.url, tmp_path / "lent.mp4", "--yes").err


@pytest.mark.parametrize(
    "comment",
    [
        '{"motionecho": ["x"], "prompt": {"a": "\\ud800\\u001b[31m"}, "encoding": 3, "sample": 1}',
        '{"motionecho": 1, "prompt": NaN}',
        "[" * 100_000,
        '{"motionecho": "0", "digital_source_type": {"a": []}}',
    ],
    ids=["odd", "nan", "deep", "mapping"],
)
def test_notes_of_strangers(cli: Cli, tmp_path: Path, comment: str) -> None:
    with av.open(str(tmp_path / "odd.mp4"), "w") as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 32
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    done = cli("inspect", tmp_path / "odd.mp4")
    assert done.code in (Exit.OK, Exit.FAILED_SAMPLES)
    assert "\x1b" not in done.out
    assert "Traceback" not in done.err
    assert cli("inspect", tmp_path / "odd.mp4", "--json").json["signature"]["state"] == "none"
