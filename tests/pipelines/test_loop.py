"""The end of a loop, whatever ends it: what was being written counts."""

from pathlib import Path
from threading import Event

import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.runs.notes import Blob
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.driver import loop as module
from pipelines.driver.loop import Loop
from pipelines.driver.outcomes import Recorder
from pipelines.driver.pool import Pool
from pipelines.execution import Execution
from pipelines.machines.resources import PoolSpec
from pipelines.plan import plan_generation
from pipelines.tasks import STAGES, Job

SETTINGS = RunSettings(pair="toy", echo=EchoConfig())


class Unclosed(Pool):
    """A pool whose actors cannot be told to end, as Ray's head is gone."""

    def close(self) -> None:
        raise ConnectionError("no head")


def test_what_is_being_written_counts_however_the_loop_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMPACT_EVERY", 1)
    (tmp_path / "a.mp4").write_text("a clip")
    (tmp_path / "m.csv").write_text("reference,prompt\na.mp4,a cat\n")
    store, ending = RunStore(str(tmp_path / "run")), Event()
    work = plan_generation(str(tmp_path / "m.csv"), SETTINGS, store.url)
    commit = store.commit

    def slow(record: Record) -> Record | None:
        ending.wait()
        return commit(record)

    def ends(loop: Loop) -> None:
        ending.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "commit", slow)
    pool = Unclosed(PoolSpec(STAGES, 1), "none:none", SETTINGS, store.url)
    loop = Loop([], [pool], store, Execution(), Recorder({}, {}).record, ends)
    (task,) = work.todo
    loop._commit(Job(task, result={"video": Blob("videos/a.mp4", "0" * 64, 1)}), None)
    with pytest.raises(ConnectionError, match="no head") as raised:
        loop.run()
    assert isinstance(raised.value.__context__, KeyboardInterrupt)
    assert (loop.tally.committed, loop.fresh[0].key) == (1, task.key)
