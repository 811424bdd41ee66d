"""What a submission reads of its store, it reads once; and what it read it does not take for the present."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_stages as fakes
import pyarrow.parquet as pq
import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.manifest import BadRow
from motionecho.runs.folder import Folder, Listed
from motionecho.runs.notes import ErrorNote
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.driver.outcomes import bad_record, bad_row_key
from pipelines.execution import Execution
from pipelines.generate import identity, plan_generation, run
from pipelines.retry import only_failed
from pipelines.tasks import Task

Manifest = Callable[..., str]
SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
ROWS = [("fine one", "a.mp4"), ("fine two", "a.mp4"), ("fine three", "b.mp4"), ("fine four", "missing.mp4")]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the run's folders are listed as a whole, parts read, and records read on their own."""
    found: Counter[str] = Counter()
    listed, read = Folder.listed, Folder.read

    def counted_listed(self: Folder, folder: str = "") -> dict[str, Listed]:
        if folder in ("", "records", "results", "motions"):
            found[f"list {folder or Path(self.url).name}"] += 1
        return listed(self, folder)

    def counted_read(self: Folder, path: str) -> bytes:
        if path.startswith(("results/", "records/")):
            found["part" if path.startswith("results/") else "records"] += 1
        return read(self, path)

    monkeypatch.setattr(Folder, "listed", counted_listed)
    monkeypatch.setattr(Folder, "read", counted_read)
    return found


def finished(task: Task, **fields: Any) -> Record:
    made = {"status": "ok", "inputs": task.payload.sample.inputs()} | fields
    return Record(key=task.key, id=task.payload.id, **made)


def in_parts(store: RunStore) -> list[str]:
    """Keys that the results parts name, one for each row."""
    parts = [pq.read_table(f"{store.url}/{path}") for path in store.folder.find("results")]
    return sorted(key for table in parts for key in table.column("result_key").to_pylist())


def test_a_submission_looks_once(manifest: Manifest, tmp_path: Path, counts: Counter[str]) -> None:
    """Two records in a part, one in none, one in a part whose file someone deleted, and a bad row."""
    table, store = manifest(*ROWS), RunStore(str(tmp_path / "out"))
    store.create(identity(SETTINGS), {})
    work = plan_generation(table, SETTINGS, store.url)
    one, two, three = (finished(task) for task in work.tasks.values())
    gone = Record(key="f" * 32, id="gone", status="ok", inputs={"id": "gone"})
    for record in (one, two, three, gone):
        store.commit(record)
    store.compact([one, two, gone])
    store.folder.remove_all([store.record_uri(gone.key)])

    counts.clear()
    summary = run(table, SETTINGS, store.url, Execution())
    assert (summary.already_done, summary.failed) == (3, 1)
    sheet = 3
    assert counts.pop("records") == 1 + sheet
    report = 2 * 2  # of both parts which rows count, then their records
    assert counts.pop("part") == 2 + report, "once more to take the row of the deleted one out"
    lists = {"list records": 4, "list results": 2, "list motions": 1}
    assert counts == lists, "for the sheet and the report as well, and at the end it is counted"
    bad = bad_row_key(work.bad[0])
    assert in_parts(store) == sorted([one.key, two.key, three.key, bad])

    counts.clear()
    run(table, SETTINGS, store.url, Execution())
    assert counts.pop("records") == sheet, "these videos make none"
    fewer = {"list records": 3, "list results": 1, "list motions": 1, "part": 2}
    assert counts == fewer, "the report there is as good as a new one"
    assert len(in_parts(store)) == 4, "and nothing is written twice"


def test_a_retry_looks_once(manifest: Manifest, tmp_path: Path, counts: Counter[str]) -> None:
    table, store = manifest(*ROWS), RunStore(str(tmp_path / "out"))
    tasks = list(plan_generation(table, SETTINGS, store.url).tasks.values())
    store.commit(finished(tasks[0], status="failed", error=ErrorNote(name="X")))
    store.commit(finished(tasks[1]))
    counts.clear()
    work = only_failed(store, [table], SETTINGS)
    assert [task.key for task in work.todo] == [tasks[0].key]
    assert counts == {"list records": 1, "list results": 1, "list motions": 1, "records": 2}


def test_a_record_that_came_since_is_left_alone(tmp_path: Path) -> None:
    """Another driver makes a deleted sample again while this one still holds its look at the run."""
    store = RunStore(str(tmp_path / "out"))
    row = BadRow(1, "one", "no", {"id": "one"})
    old = bad_record(bad_row_key(row), row)
    store.commit(old)
    store.compact([old])
    store.folder.remove_all([store.record_uri(old.key)])
    look = store.index()
    assert (set(look), len(look.outdated)) == (set(), 1)
    store.commit(old)
    store.tidy(look)
    assert store.record(old.key) == old
    assert in_parts(store) == []
    assert set(store.index()) == {old.key}


@pytest.mark.usefixtures("embedded_ray")
def test_what_is_made_again_is_not_put_into_a_part_as_it_was(manifest: Manifest, tmp_path: Path) -> None:
    table, store = manifest(*ROWS[:2]), RunStore(str(tmp_path / "out"))
    store.create(identity(SETTINGS), {})
    one, two = plan_generation(table, SETTINGS, store.url).tasks.values()
    store.commit(finished(one, status="failed", error=ErrorNote(name="X")))
    store.commit(finished(two))
    execution = Execution(workers=1, retry_failed=True)
    assert run(table, SETTINGS, store.url, execution, factory=fakes.FACTORY).committed == 1
    assert in_parts(store) == sorted([one.key, two.key])
    assert [record.ok for record in store.records()] == [True, True]
