"""Rows chosen by SQL: which names there are, what is refused, and that nothing else is within reach."""

from pathlib import Path
from typing import Any

import pytest

from motionecho.dataset import choice, extras
from motionecho.dataset.choice import choose, text_figures
from motionecho.dataset.rows import gather
from motionecho.errors import UserError
from motionecho.runs.store import RunStore
from tests.dataset.conftest import Fill


def ids(store: RunStore, where: str) -> set[str]:
    table = gather([store])
    names = table.column("id").to_pylist()
    return {names[row] for row in choose(table, where)}


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("follows >= .7 and text >= .6", {"d/7", "a/8"}),
        ("result_follows >= .7 and RESULT_toy_text >= .6", {"d/7", "a/8"}),
        ("take < 2", {"a/0", "b/1"}),
        ("note = 'first' and follows > .2", {"d/3"}),
        ("note is not null and id like 'b%'", {"b/1"}),
        ("committed_at < '2026-01-01 00:00:02+00'", {"a/0", "b/1"}),
        ("follows > .9 -- the best", {"c/10"}),
    ],
)
def test_what_an_expression_chooses(run: RunStore, where: str, chosen: set[str]) -> None:
    assert ids(run, where) == chosen


def test_a_manifest_s_own_column_goes_before_a_figure(fill: Fill, tmp_path: Path) -> None:
    rows = [{"id": str(n), "follows": 0.9, "inputs": {"follows": n, "Text": "mine"}} for n in range(3)]
    store = fill(str(tmp_path / "own"), rows)
    assert ids(store, "follows > 1 and result_follows = .9 and text = 'mine'") == {"2"}


def test_text_is_the_figure_that_a_sample_s_pair_declares(fill: Fill, tmp_path: Path) -> None:
    figures = {"toy_text": 0.9, "text_alignment": 0.3}
    pairs = {"a": "toy", "b": "turbo-v2", "c": "wan2.1-1.3b@33x320x512", "d": "of others", "e": "toy-dit"}
    rows = [{"id": id, "pair": pair, "figures": figures if id != "e" else {}} for id, pair in pairs.items()]
    table = gather([fill(str(tmp_path / "pairs"), rows)])
    found = dict(zip(table.column("id").to_pylist(), text_figures(table), strict=True))
    assert found == {"a": 0.9, "b": 0.3, "c": 0.3, "d": 0.3, "e": None}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("folows > .5", 'there is no column "folows" (did you mean "follows"?)'),
        ("follows >", "syntax error"),
        ("follows > 'much'", "could not convert string 'much'"),
        ("prompt + 1 > 2", 'where "prompt + 1 > 2": '),
        ("follows", "is double, no condition"),
        ("1", "is integer, no condition"),
        ("count(*) > 1", "WHERE clause cannot contain aggregates"),
        ("row_number() over () = 1", "cannot contain window functions"),
        ("follows > .5, take = 1", 'where "follows > .5, take = 1": '),
        ("true) or (true", "syntax error"),
        ("true; drop table samples", "syntax error"),
        ("true order by id", "syntax error"),
        (" ", "is empty"),
        ("random() < .5", "other rows each time"),
    ],
)
def test_what_is_no_condition_is_refused_in_a_sentence(run: RunStore, where: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        ids(run, where)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nothing_but_the_rows_is_within_reach(run: RunStore, tmp_path: Path) -> None:
    """No file can be read or written, no variable of this process, no setting changed."""
    (tmp_path / "secret.csv").write_text("word\nhidden\n")
    mine = gather([run])
    assert len(mine) == 11, "a variable that a query could name"
    for query in (
        f"(select count(*) from read_csv('{tmp_path}/secret.csv')) > 0",
        f"(select count(*) from '{tmp_path}/secret.csv') > 0",
        f"(select count(*) from glob('{tmp_path}/*')) > 0",
        "(select count(*) from mine) > 0",
        "(select count(*) from table) > 0",
        "getenv('HOME') is not null",
        "exists(copy (select 1) to '/tmp/x.csv')",
        "exists(attach '/tmp/x.db')",
        "exists(set enable_external_access = true)",
    ):
        with pytest.raises(UserError):
            ids(run, query)


def test_an_expression_that_takes_for_ever_is_ended(run: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "LONGEST_S", 0.2)
    endless = (
        "(select count(*) from range(1000000000) a, range(1000000000) b where a.range + b.range = 1) > take"
    )
    with pytest.raises(UserError, match=r"was not done after 0\.2 s: let it join or count less") as refused:
        ids(run, endless)
    assert "\n" not in str(refused.value)
    monkeypatch.undo()
    assert ids(run, "take < 1") == {"a/0"}


def test_ctrl_c_ends_an_expression_as_it_ends_everything(
    run: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> list[int]:
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(choice, "_numbers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ids(run, "take < 1")


def test_a_package_that_is_missing_is_named(run: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"--where needs duckdb: pip install 'motionecho\[export\]'"):
        ids(run, "true")
