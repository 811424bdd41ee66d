"""Rows that are not made: a denied prompt is its row's failure, a forgotten reference leaves no trace."""

from collections.abc import Callable
from pathlib import Path

import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.errors import UserError
from motionecho.manifest.prompts import PromptFilters, prompt_filters
from motionecho.runs import forget
from motionecho.runs.cleanup import sweeping
from motionecho.runs.keys import file_digest
from motionecho.runs.notes import Blob
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.driver.outcomes import commit_bad_rows
from pipelines.machines.upload import ship
from pipelines.plan import Work, plan_generation
from pipelines.retry import only_failed
from pipelines.tasks import Task

SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
Manifest = Callable[..., str]
ROWS = [("a gun", "a.mp4"), ("a flower", "a.mp4"), ("a star", "b.mp4")]


@pytest.fixture
def deny(tmp_path: Path) -> PromptFilters:
    (tmp_path / "deny.txt").write_text("gun\n")
    return prompt_filters(str(tmp_path / "deny.txt"))


def plan(table: str, store: RunStore, filters: PromptFilters | None = None) -> Work:
    return plan_generation(table, SETTINGS, store.url, filters=filters)


def record_of(task: Task) -> Record:
    return Record(key=task.key, status="ok", video=Blob("v.mp4"), **task.payload.for_record())


def prompts(work: Work) -> set[str]:
    return {task.payload.sample.prompt for task in work.todo}


def test_a_denied_prompt_is_the_failure_of_its_row(
    manifest: Manifest, tmp_path: Path, deny: PromptFilters
) -> None:
    table, store = manifest(*ROWS), RunStore(str(tmp_path / "out"))
    work = plan(table, store, deny)
    assert prompts(work) == {"a flower", "a star"}
    assert (work.plan.rows, len(work.bad)) == (3, 1)
    (record,) = commit_bad_rows(store, work)
    assert record.error is not None
    assert (record.id, record.error.kind, record.error.name) == ("a-gun", "bad", "DeniedPrompt")
    assert record.error.message == 'its prompt is denied by line 1 of the deny list "deny.txt"'
    assert record.facts == {"filters": dict(deny.facts)}
    assert commit_bad_rows(store, plan(table, store, deny)) == []  # once


def test_a_list_that_changed_lets_it_be_made(manifest: Manifest, tmp_path: Path, deny: PromptFilters) -> None:
    table, store = manifest(*ROWS), RunStore(str(tmp_path / "out"))
    commit_bad_rows(store, plan(table, store, deny))
    with pytest.raises(UserError, match="none of the 1 failed samples can run"):
        only_failed(store, [table], SETTINGS, deny)
    work = only_failed(store, [table], SETTINGS)
    assert prompts(work) == {"a gun"}
    store.commit(record_of(work.todo[0]))
    assert [record.id for record in store.records()] == ["a-gun"]
    assert store.index().failed == set()


def test_what_is_finished_stays_finished(manifest: Manifest, tmp_path: Path, deny: PromptFilters) -> None:
    table, store = manifest(*ROWS), RunStore(str(tmp_path / "out"))
    store.commit(record_of(next(t for t in plan(table, store).todo if t.payload.id == "a-gun")))
    work = plan(table, store, deny)
    assert (work.plan.done, work.bad) == (1, [])
    (tmp_path / "a.mp4").write_text("other bytes")  # another sample of that id
    work = plan(table, store, deny)
    assert [row.kind for row in work.bad] == ["DeniedPrompt"]


def test_references_of_denied_rows_are_not_read(
    manifest: Manifest, tmp_path: Path, deny: PromptFilters
) -> None:
    table = manifest(("a gun", "missing.mp4"), ("a star", "b.mp4"))
    assert [row.kind for row in plan(table, RunStore(str(tmp_path / "out")), deny).bad] == ["DeniedPrompt"]


def test_a_manifest_of_denied_prompts_is_refused(
    manifest: Manifest, tmp_path: Path, deny: PromptFilters
) -> None:
    with pytest.raises(UserError, match=r"no row of manifest .* can run; row 1: its prompt is denied"):
        plan(manifest(("a gun", "a.mp4")), RunStore(str(tmp_path / "out")), deny)


def forgotten(store: RunStore, reference: Path) -> None:
    traced = forget.trace(store, forget.names_of(str(reference)))
    with sweeping(store) as lease:
        forget.forget(store, lease, traced)


@pytest.mark.parametrize("gone", [False, True])
def test_rows_of_a_forgotten_reference_are_left_out(manifest: Manifest, tmp_path: Path, gone: bool) -> None:
    table, store = manifest(*ROWS, ("a heart", "copy.mp4")), RunStore(str(tmp_path / "out"))
    (tmp_path / "copy.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    store.create({}, {})
    work = plan(table, store)
    for task in work.todo:
        store.commit(record_of(task))
    forgotten(store, tmp_path / "a.mp4")
    if gone:
        (tmp_path / "a.mp4").unlink()
    again = plan(table, store)
    assert (again.plan.rows, again.plan.done, again.todo, again.bad) == (1, 1, (), [])
    assert again.notes == ["3 rows are left out: a reference that this run was told to forget"]
    (tmp_path / "a.mp4").write_text("a new clip under the old name")
    assert prompts(plan(table, store)) == {"a gun", "a flower"}


def test_a_bad_row_of_a_forgotten_reference_is_not_recorded_again(manifest: Manifest, tmp_path: Path) -> None:
    table, store = manifest(("", "a.mp4"), ("a star", "b.mp4")), RunStore(str(tmp_path / "out"))
    store.create({}, {})
    commit_bad_rows(store, plan(table, store))
    assert len(store.keys()) == 1
    forgotten(store, tmp_path / "a.mp4")
    assert store.keys() == set()
    work = plan(table, store)
    assert (work.bad, len(work.todo)) == ([], 1)


def test_a_denied_row_of_a_forgotten_reference_is_not_recorded_either(
    manifest: Manifest, tmp_path: Path, deny: PromptFilters
) -> None:
    table, store = manifest(*ROWS), RunStore(str(tmp_path / "out"))
    store.create({}, {})
    commit_bad_rows(store, plan(table, store, deny))
    forgotten(store, tmp_path / "a.mp4")
    work = plan(table, store, deny)
    assert (work.bad, prompts(work)) == ([], {"a star"})
    assert work.notes == ["2 rows are left out: a reference that this run was told to forget"]


def test_a_job_is_not_sent_what_is_forgotten(manifest: Manifest, tmp_path: Path) -> None:
    table, store = manifest(*ROWS), RunStore(f"memory://{tmp_path.name}")
    store.create({}, {})
    for task in plan(table, store).todo:
        store.commit(record_of(task))
    forgotten(store, tmp_path / "a.mp4")
    ship(table, store)
    sha256 = file_digest(str(tmp_path / "a.mp4"))
    sent = {path: store.folder.read(path) for path in store.folder.find("inputs")}
    assert not any("a.mp4" in data.decode() or sha256[:32] in path for path, data in sent.items())
    assert len(sent) == 2  # the manifest and the other clip
