"""Rows chosen by an SQL expression over the columns; DuckDB reads it, and can reach nothing else.

A column `result_x` is also called `x` where the manifest has none of that name, and `text` is the figure that
the sample's own pair declares for how well a video shows its prompt.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from motionecho.dataset.extras import needed
from motionecho.errors import UserError, nearest
from motionecho.metrics.registry import METRICS, usual_metrics
from motionecho.models.registry import PAIRS
from motionecho.runs.records import OUTCOME_PREFIX

if TYPE_CHECKING:
    import duckdb

TEXT = "text"
ROW = "motionecho's row"
LONGEST_S = 60.0  # that an expression may take: a cross join of large ranges never ends
# With these a query can neither open files nor see variables of this process, and cannot undo that.
CLOSED = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}


def choose(table: pa.Table, where: str) -> list[int]:
    """Return the numbers of the rows for which `where` is true, in order.

    Raises UserError where it is no expression, names a column that is not there, does not fit its columns'
    types, is no truth, takes longer than LONGEST_S, or differs from one look to the next.
    """
    duckdb = needed("duckdb", "--where")
    if not where.strip():
        raise UserError("--where is empty: say what is to be true, as in 'follows >= .7'")
    named = _named(table)
    rows = named.append_column(ROW, pa.array(range(len(table)), pa.int64()))
    with duckdb.connect(":memory:", config=CLOSED) as connection, _bounded(connection):
        try:
            # DuckDB 1.4 reads past the end of an expression, which brackets do not let it.
            connection.extract_statements(f"SELECT 1 WHERE (\n{where}\n)")
            relation, asked = connection.from_arrow(rows), duckdb.SQLExpression(where)
            chosen = relation.filter(asked)
            (kind,) = relation.limit(0).project(asked.alias("asked")).types
            if str(kind) != "BOOLEAN":
                what = str(kind).strip('"').lower()
                raise UserError(f'--where "{where}" is {what}, no condition: compare it, as follows >= .7')
            first, again = (_numbers(chosen) for _ in range(2))
        except duckdb.InterruptException as problem:
            raise UserError(
                f'--where "{where}" was not done after {LONGEST_S:g} s: let it join or count less'
            ) from problem
        except RuntimeError as problem:
            if "interrupted" in str(problem):  # so DuckDB tells of Ctrl-C
                raise KeyboardInterrupt from problem
            raise
        except duckdb.Error as problem:
            raise UserError(f'--where "{where}": {_told(problem, named.column_names)}') from problem
    if first != again:
        raise UserError(f'--where "{where}" chooses other rows each time: an export could not be continued')
    return first


def nowhere(table: pa.Table, where: str) -> list[str]:
    """Name the columns in an expression that no row has a value of: a figure that was not taken, say."""
    words, named = set(re.findall(r"\w+", where.lower())), _named(table)
    return [name for name in named.column_names
            if name.lower() in words and named.column(name).null_count == len(named)]  # fmt: skip


def text_figures(table: pa.Table) -> list[float | None]:
    """Return of every row what its pair's declared figure of text says; None where it was not taken."""
    declared = {pair: _declared(pair) for pair in set(_values(table, f"{OUTCOME_PREFIX}pair"))}
    names = dict.fromkeys(name for its in declared.values() for name in its)
    figures = {name: _values(table, OUTCOME_PREFIX + name) for name in names}
    pairs = _values(table, f"{OUTCOME_PREFIX}pair")
    return [
        next((value for name in declared[pair] if (value := figures[name][row]) is not None), None)
        for row, pair in enumerate(pairs)
    ]


def _declared(pair: str | None) -> list[str]:
    """Name the figures of text that a pair declares, of one that is not known here all that there are."""
    spec = PAIRS.get((pair or "").partition("@")[0])
    metrics = METRICS if spec is None else spec.metrics or usual_metrics()
    known = dict(METRICS.items())
    return [known[name].headlines[0] for name in metrics if name in known and known[name].of_text]


def _values(table: pa.Table, name: str) -> list[Any]:
    return list(table.column(name).to_pylist()) if name in table.column_names else [None] * len(table)


def _named(table: pa.Table) -> pa.Table:
    """Give the columns their short names as well; to SQL, capitals make no difference."""
    taken = {name.lower() for name in table.column_names}
    for name in table.column_names:
        short = name.removeprefix(OUTCOME_PREFIX)
        if short.lower() not in taken:
            taken.add(short.lower())
            table = table.append_column(short, table.column(name))
    if TEXT not in taken:
        table = table.append_column(TEXT, pa.array(text_figures(table), pa.float64()))
    return table


@contextmanager
def _bounded(connection: "duckdb.DuckDBPyConnection") -> Iterator[None]:
    """Interrupt what runs for longer than LONGEST_S; again and again, as each time only one query ends."""
    done = Event()

    def interrupt() -> None:
        wait = LONGEST_S
        while not done.wait(wait):
            connection.interrupt()
            wait = 0.1

    watching = Thread(target=interrupt, daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def _numbers(chosen: "duckdb.DuckDBPyRelation") -> list[int]:
    rows = chosen.project(f'"{ROW}"').fetchall()
    return sorted(row for (row,) in rows)


def _told(problem: Exception, columns: list[str]) -> str:
    first = re.sub(r"^[A-Z]\w+ Error: ", "", str(problem).split("\n")[0]).rstrip("!.")
    if unknown := re.search(r'column "([^"]+)" not found', first):
        name = unknown[1]
        return f'there is no column "{name}"{nearest(name, columns)}; docs/tables.md has them all'
    return first if first[:2].isupper() else first[:1].lower() + first[1:]
