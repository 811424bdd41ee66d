"""Whatever a sample does, the others are made and it is named with its reason."""

import dataclasses
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import fake_stages as fakes
import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.manifest.prompts import prompt_filters
from motionecho.runs.notes import ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.generate import Execution, Progress, Summary, plan_generation, run
from pipelines.machines import ray_cluster
from pipelines.tasks import STAGES, StageSpec
from tests.patience import patience

Manifest = Callable[..., str]
SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
EXECUTION = Execution(workers=2, backoff_s=0.01, deadline_s=patience(20))

pytestmark = pytest.mark.usefixtures("embedded_ray")


def go(
    manifest: str, out: Path, execution: Execution = EXECUTION, settings: RunSettings = SETTINGS
) -> Summary:
    return run(manifest, settings, str(out), execution, factory=fakes.FACTORY)


def by_id(out: Path) -> dict[str, Record]:
    return {record.id: record for record in RunStore(str(out)).records()}


def error_of(record: Record) -> ErrorNote:
    assert record.error is not None
    return record.error


def test_every_kind_of_sample_ends_as_it_should(manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    table = manifest(
        ("fine one", "a.mp4"), ("bad one", "a.mp4"), ("raises always", "a.mp4"),
        ("stumbles once", "b.mp4"), ("down once", "b.mp4"), ("dies always", "b.mp4"),
        ("poisons once", "a.mp4"), ("fine two", "missing.mp4"), ("fine three", "b.mp4"),
    )  # fmt: skip
    summary = go(table, out)
    records, count = by_id(out), fakes.calls(str(out))

    assert summary.stopped is None
    assert (summary.total, summary.committed, summary.failed, summary.left) == (9, 5, 4, 0)
    assert summary.stopped is None
    assert not summary.interrupted
    assert {name for name, record in records.items() if record.ok} == {
        "fine-one", "stumbles-once", "down-once", "poisons-once", "fine-three"
    }  # fmt: skip

    assert error_of(records["bad-one"]).name == "BadSample"
    assert count["generate-bad-one"] == 1, "a bad sample is never retried"
    raised = records["raises-always"]
    assert raised.attempts == 3
    assert [strike.name for strike in raised.strikes] == ["ValueError"] * 3
    assert error_of(raised).stage == "generate"
    assert "out of luck" in error_of(raised).traceback
    died = records["dies-always"]
    assert count["generate-dies-always"] == 3
    assert error_of(died).name == "WorkerDied"
    assert error_of(died).node
    assert "does not exist" in error_of(records["fine-two"]).message

    assert records["stumbles-once"].attempts == 2
    assert len(records["stumbles-once"].strikes) == 1
    assert records["down-once"].strikes == [], "a failing store is no strike against the sample"
    assert records["poisons-once"].strikes[0].kind == "poisoned"
    assert sorted(name for name in count if name.startswith("invert")) == sorted(
        f"invert-{key}" for key in {r.motion_key for r in records.values() if r.motion_key}
    )
    assert not list((out / "attempts").rglob("*.json"))  # the record has them now


def test_a_sample_that_hangs_is_killed_at_its_deadline(manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    execution = dataclasses.replace(EXECUTION, deadline_s=2.0, max_attempts=2)
    summary = go(manifest(("hangs always", "a.mp4"), ("fine one", "a.mp4")), out, execution)
    assert (summary.committed, summary.failed) == (1, 1)
    assert error_of(by_id(out)["hangs-always"]).name == "DeadlineExceeded"


def test_records_name_whole_blobs_and_carry_inputs(manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(manifest(("fine one", "a.mp4")), out)
    record = by_id(out)["fine-one"]
    store = RunStore(str(out))
    for blob in (record.video, record.stats):
        assert blob is not None
        with store.fetch(blob.uri) as path:
            assert len(Path(path).read_bytes()) == blob.bytes
    assert record.inputs["licence"] == "CC0"
    assert record.inputs["reference"] == str(tmp_path / "a.mp4")
    assert record.video is not None
    assert record.scores["size"]["size_bytes"] == record.video.bytes
    assert record.skipped == {"clip": "no weights here"}
    assert set(record.seconds) == {"invert", "generate", "generate_sample", "publish", "score"}


def test_submitting_again_makes_nothing_twice(manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = [("fine one", "a.mp4"), ("raises always", "a.mp4"), ("fine two", "b.mp4")]
    first = go(manifest(*rows), out)
    before = fakes.calls(str(out))
    again = go(manifest(*rows), out)
    assert fakes.calls(str(out)) == before
    assert (again.committed, again.already_done, again.failed) == (0, 2, 1)
    assert (first.committed, first.failed) == (2, 1)

    next((out / "records").rglob(f"{by_id(out)['fine-one'].key}.json")).unlink()
    third = go(manifest(*rows), out)
    assert (third.committed, third.already_done) == (1, 1), "deleting a record makes its sample run again"
    assert fakes.calls(str(out))["generate-fine-one"] == 2
    assert len(by_id(out)) == 3

    retried = go(manifest(*rows), out, dataclasses.replace(EXECUTION, retry_failed=True))
    assert (retried.already_done, retried.failed) == (2, 1)
    assert fakes.calls(str(out))["generate-raises-always"] == 6


def test_shuffled_and_split_manifests_are_the_same_samples(manifest: Manifest, tmp_path: Path) -> None:
    rows = [("fine one", "a.mp4"), ("fine two", "b.mp4"), ("fine three", "a.mp4"), ("fine four", "b.mp4")]
    go(manifest(*rows), tmp_path / "whole")
    go(manifest(*reversed(rows[2:]), name="second.csv"), tmp_path / "split")
    go(manifest(*reversed(rows[:2]), name="first.csv"), tmp_path / "split")
    whole, split = by_id(tmp_path / "whole"), by_id(tmp_path / "split")
    assert {n: (r.key, r.latent_sha256) for n, r in whole.items()} == {
        n: (r.key, r.latent_sha256) for n, r in split.items()
    }


def test_too_many_failures_stop_the_run_early(manifest: Manifest, tmp_path: Path) -> None:
    rows = [(f"{'bad' if n % 2 else 'fine'} {n}", "a.mp4") for n in range(80)]
    summary = go(manifest(*rows), tmp_path / "out")
    assert summary.stopped is not None
    why = r'BadSample x \d+\), more than 5%; sample "bad-\d+": this one can never be'
    assert re.search(why, summary.stopped)
    assert summary.left > 0
    assert 50 <= summary.committed + summary.failed < 80


def test_a_file_that_vanishes_leaves_its_samples_to_be_done(manifest: Manifest, tmp_path: Path) -> None:
    out, said = tmp_path / "out", set[str]()
    table = manifest(("fine one", "stays.mp4"), ("fine two", "goes.mp4"), ("fine three", "goes.mp4"))
    work = plan_generation(table, SETTINGS, str(out))
    (tmp_path / "goes.mp4").rename(tmp_path / "elsewhere.mp4")
    execution = dataclasses.replace(EXECUTION, backoff_s=0.4, infra_attempts=2)
    summary = run(
        table, SETTINGS, str(out), execution, lambda now: said.add(now.message or ""), work, fakes.FACTORY
    )
    assert (summary.committed, summary.failed, summary.left, summary.put_off) == (1, 0, 2, 2)
    assert "goes.mp4" in str(summary.put_off_for)
    assert any("to be tried again in a while" in text and "goes.mp4" in text for text in said)
    assert set(by_id(out)) == {"fine-one"}, "no record says that they failed"
    (tmp_path / "elsewhere.mp4").rename(tmp_path / "goes.mp4")
    assert go(table, out).committed == 2


def test_surroundings_that_fail_everything_stop_the_run(manifest: Manifest, tmp_path: Path) -> None:
    rows = [(f"fine {n}", f"{n}.mp4") for n in range(55)]
    table, out = manifest(*rows), tmp_path / "out"
    work = plan_generation(table, SETTINGS, str(out))
    for n in range(55):
        (tmp_path / f"{n}.mp4").unlink()
    execution = dataclasses.replace(EXECUTION, infra_attempts=1)
    summary = run(table, SETTINGS, str(out), execution, lambda now: None, work, fakes.FACTORY)
    assert "50 of the first 50 samples failed (NotThere x 50)" in str(summary.stopped)
    assert summary.left == 55


def test_separate_pools_make_the_same_records(manifest: Manifest, tmp_path: Path) -> None:
    rows = [("fine one", "a.mp4"), ("fine two", "a.mp4"), ("stumbles once", "b.mp4")]
    go(manifest(*rows), tmp_path / "fused")
    execution = dataclasses.replace(EXECUTION, workers=1, separate=True)
    assert go(manifest(*rows), tmp_path / "apart", execution).committed == 3
    fused, apart = by_id(tmp_path / "fused"), by_id(tmp_path / "apart")
    assert {n: r.latent_sha256 for n, r in fused.items()} == {n: r.latent_sha256 for n, r in apart.items()}
    count = fakes.calls(str(tmp_path / "apart"))
    assert all(number == 1 for name, number in count.items() if name.startswith("invert"))


def test_one_more_stage_is_a_line_and_a_callable(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune = StageSpec("tune", needs_models=True, shared=True)
    monkeypatch.setattr(ray_cluster, "STAGES", (STAGES[0], tune, *STAGES[1:]))
    rows = [("fine one", "a.mp4"), ("fine two", "a.mp4"), ("fine three", "b.mp4"), ("fine four", "a.mp4")]
    execution = dataclasses.replace(EXECUTION, separate=True)
    assert go(manifest(*rows), tmp_path / "out", execution).committed == 4
    assert {"invert", "tune", "generate"} < set(by_id(tmp_path / "out")["fine-two"].seconds)
    count = fakes.calls(str(tmp_path / "out"))
    tuned = [number for name, number in count.items() if name.startswith("tune")]
    assert tuned == [1, 1], "once per reference, although two could have begun"


def test_a_record_says_where_its_video_was_made(manifest: Manifest, tmp_path: Path) -> None:
    execution = dataclasses.replace(EXECUTION, workers=1, separate=True)
    go(manifest(("fine one", "a.mp4")), tmp_path / "out", execution)
    record = by_id(tmp_path / "out")["fine-one"]
    assert record.where is not None
    assert record.where.stages == ("generate",)
    assert record.spent("invert", "generate", "score") == record.seconds["generate"]


def test_no_pool_runs_far_ahead_of_the_next(manifest: Manifest, tmp_path: Path) -> None:
    execution = dataclasses.replace(EXECUTION, workers=1, separate=True)
    go(manifest(*[(f"lags {n}", "a.mp4") for n in range(12)]), tmp_path / "out", execution)
    marks = [(path.stat().st_mtime, path.name) for path in Path(f"{tmp_path / 'out'}.calls").iterdir()]
    lead, most = 0, 0
    for _, name in sorted(marks):
        lead += name.startswith("generate-") - name.startswith("score-")
        most = max(most, lead)
    assert most <= 2, "one waits for its scores, one is being made"


def test_runs_share_motions(manifest: Manifest, tmp_path: Path) -> None:
    rows = [("fine one", "a.mp4"), ("fine two", "b.mp4")]
    execution = dataclasses.replace(EXECUTION, motions=str(tmp_path / "motions"))
    go(manifest(*rows), tmp_path / "first", execution)
    assert not (tmp_path / "first" / "motions").exists()
    table = manifest(("fine three", "a.mp4"), ("fine four", "c.mp4"))
    plan = plan_generation(table, SETTINGS, str(tmp_path / "second"), motions=execution.motions).plan
    assert (plan.motions, plan.motions_cached) == (2, 1)
    go(table, tmp_path / "second", execution)
    inverted = [name for name in fakes.calls(str(tmp_path / "second")) if name.startswith("invert")]
    assert inverted == [f"invert-{by_id(tmp_path / 'second')['fine-four'].motion_key}"]


def test_workers_that_cannot_load_stop_the_run(manifest: Manifest, tmp_path: Path) -> None:
    table = manifest(("fine one", "a.mp4"))
    summary = run(table, SETTINGS, str(tmp_path / "out"), EXECUTION, factory="fake_stages:build_broken")
    assert "the weights are damaged" in (summary.stopped or "")
    assert summary.left == 1


WATCHED = "fake_stages:build_watched"


def test_the_next_sample_is_read_while_one_computes(manifest: Manifest, tmp_path: Path) -> None:
    table = manifest(*[(f"fine {name}", f"{name}.mp4") for name in "abcd"])
    execution = dataclasses.replace(EXECUTION, workers=1)
    assert run(table, SETTINGS, str(tmp_path / "out"), execution, factory=WATCHED).committed == 4
    read = {name: n for name, n in fakes.calls(str(tmp_path / "out")).items() if name.startswith("prefetch")}
    assert read == {f"prefetch-fine-{name}": 1 for name in "bcd"}, "all but the first, once each, in time"


def test_workers_that_disagree_are_retired_and_the_rest_goes_on(manifest: Manifest, tmp_path: Path) -> None:
    table, told = manifest(*[(f"slow {n}", "a.mp4") for n in range(12)]), list[Progress]()
    summary = run(table, SETTINGS, str(tmp_path / "out"), EXECUTION, told.append, factory=WATCHED)
    assert (summary.stopped, summary.committed) == (None, 12)
    assert max(size for now in told for _, size in now.pools.values()) == 2
    said = f"1 retired: this worker (cpu on {socket.gethostname()}) has other weights"
    assert said in [now.message for now in told]
    first = json.loads((tmp_path / "out" / "canary.json").read_text())
    made = {path.name.rsplit("-", 1)[1] for path in Path(f"{tmp_path / 'out'}.calls").glob("generate-*")}
    assert made == {str(first["pid"])}, "a worker that disagrees makes nothing"


def test_no_canary_and_none_that_agrees(manifest: Manifest, tmp_path: Path) -> None:
    table, out = manifest(("fine one", "a.mp4")), str(tmp_path / "out")
    RunStore(out).first_canary({"pid": "of another machine"})
    stopped = run(table, SETTINGS, out, EXECUTION, factory=WATCHED)
    assert "CanaryMismatch: this worker" in (stopped.stopped or "")
    assert stopped.left == 1
    assert (
        run(table, SETTINGS, out, dataclasses.replace(EXECUTION, canary=False), factory=WATCHED).committed
        == 1
    )


def test_progress_is_told_and_kept_in_the_store(manifest: Manifest, tmp_path: Path) -> None:
    told: list[Progress] = []
    table = manifest(("fine one", "a.mp4"), ("bad one", "a.mp4"))
    run(table, SETTINGS, str(tmp_path / "out"), EXECUTION, told.append, factory=fakes.FACTORY)
    assert (told[-1].total, told[-1].done, told[-1].failed) == (2, 1, 1)
    (lease,) = (tmp_path / "out" / "progress").glob("*.json")
    kept = json.loads(lease.read_text())
    assert kept["ended"] is True
    assert (kept["total"], kept["done"], kept["failed"]) == (2, 1, 1)


def test_a_denied_prompt_fails_its_row_and_the_run_says_what_was_at_work(
    manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "deny.txt").write_text("fine gun\n")
    out, filters = tmp_path / "out", prompt_filters(str(tmp_path / "deny.txt"))
    table = manifest(("fine one", "a.mp4"), ("a fine gun", "a.mp4"))
    work = plan_generation(table, SETTINGS, str(out), filters=filters)
    summary = run(table, SETTINGS, str(out), EXECUTION, work=work, factory=fakes.FACTORY)
    assert (summary.committed, summary.failed, summary.left) == (1, 1, 0)
    assert error_of(by_id(out)["a-fine-gun"]).name == "DeniedPrompt"
    assert all(record.facts["filters"] == filters.facts for record in by_id(out).values())
    assert json.loads((out / "run.json").read_text())["about"]["filters"] == filters.facts
    assert plan_generation(table, SETTINGS, str(out), filters=filters).plan.done == 1
