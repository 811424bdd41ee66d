"""The records of a run as one table."""

from pathlib import Path

import pytest

from motionecho.errors import UserError
from motionecho.runs.export import collect_table
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(str(tmp_path / "run"))
    for n in range(21):
        store.commit(Record(key=f"{n:032x}", id=f"s{n}", status="ok", inputs={"id": f"s{n}"}))
    return store


def test_a_table_is_not_written_over_one_that_is_there(store: RunStore, tmp_path: Path) -> None:
    path = tmp_path / "my.parquet"
    path.write_text("mine")
    with pytest.raises(UserError, match="add --force"):
        collect_table(store, str(path))
    assert path.read_text() == "mine"
    assert collect_table(store, str(path), force=True) == 21
