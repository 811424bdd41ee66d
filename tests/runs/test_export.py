"""The records of a run as one table."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from motionecho.errors import UserError
from motionecho.runs import export
from motionecho.runs.export import collect_table
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore, refuse_within
from motionecho.runs.tables import as_row, to_parquet


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


@pytest.mark.parametrize("number", [0, 7])
def test_many_rows_make_the_table_that_they_make_at_once(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch has what only a later one brings: another column, or another kind of one."""
    monkeypatch.setattr(export, "BATCH", 3)
    store = RunStore(str(tmp_path / "run"))
    mood = [1, None, True, 0.5, [1, "é"], "good", 2**60]
    for n in range(number):
        inputs = {"id": f"s{n}", "mood": mood[n], "n": n, "half": n if n < 6 else n / 4, f"only{n}": n}
        store.commit(Record(key=f"{n:032x}", id=f"s{n}", status="ok", inputs=inputs))
    assert collect_table(store, str(tmp_path / "all.parquet")) == number
    found = pq.read_table(tmp_path / "all.parquet")
    at_once = to_parquet([as_row(record, store.url) for record in store.records()])
    assert found.equals(pq.read_table(pa.BufferReader(at_once)), check_metadata=True)
    if number:
        assert sorted(found["mood"].to_pylist(), key=str) == sorted(
            ["1", None, "true", "0.5", '[1, "é"]', "good", str(2**60)], key=str
        )
        assert sorted(found["half"].to_pylist()) == [0, 1, 1.5, 2, 3, 4, 5]


@pytest.mark.parametrize("inside", [".", "results/c.parquet", "x/y", "../run/z"])
def test_nothing_is_put_into_a_run_that_it_is_made_of(store: RunStore, tmp_path: Path, inside: str) -> None:
    place = os.path.join(store.url, inside)
    with pytest.raises(UserError, match=r"is within the run .*: name a place outside of it"):
        refuse_within([RunStore(str(tmp_path / "another")), store], place)
    (tmp_path / "link").symlink_to(store.url)
    with pytest.raises(UserError, match="is within the run"):
        refuse_within([store], str(tmp_path / "link" / "set"))
    refuse_within([store], f"{store.url}-set")
    with pytest.raises(UserError, match="is within the run"):
        collect_table(store, f"{store.url}/all.parquet")
