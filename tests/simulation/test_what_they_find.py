"""The histories find what was wrong before, and what would be wrong without each of the precautions."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motionecho.runs import cleanup, layout, leases, results, state
from motionecho.runs.folder import Folder
from motionecho.runs.leases import Lease
from motionecho.runs.ledger import Ledger
from motionecho.runs.store import RunStore
from tests.simulation.history import History
from tests.simulation.world import Violation

MOST = 10_000  # seeds until which a fault has to be found
ROOT = Path(__file__).parents[2]
Patch = pytest.MonkeyPatch


def records_deleted_from_two_looks(patch: Patch) -> None:
    """Records listed first, parts read later, and what appeared in between is forgotten with its record."""

    def forget_deleted(self: Ledger, index: Any) -> None:
        keys = self.keys()
        for part in self._parts():
            for row in results.read_entries(self.folder.read(part)):
                if row.key not in keys:
                    self.folder.remove_all([layout.record(row.key)])

    patch.setattr(Ledger, "tidy", forget_deleted)


def one_word_for_all_drivers(patch: Patch) -> None:
    """One progress file: the driver that ends speaks for the one at work."""
    say = Lease.say

    def said(self: Lease, *words: Any, **more: Any) -> None:
        self.life = "all" if self.role == "driver" else self.life
        say(self, *words, **more)

    patch.setattr(Lease, "say", said)


def ages_by_the_local_clock(patch: Patch) -> None:
    patch.setattr(Folder, "clock", lambda self, folder="": leases.time.time())


def a_retry_that_deletes(patch: Patch) -> None:
    """The record of a failed sample goes before it is tried again, and the driver may die in between."""
    create = RunStore.create

    def forgetful(self: RunStore, *words: Any) -> bool:
        new = create(self, *words)
        self.folder.remove_all(layout.record(k) for k, e in self.index().items() if e.failed)
        return new

    patch.setattr(RunStore, "create", forgetful)


def a_driver_that_trusts_its_sleep(patch: Patch) -> None:
    patch.setattr(Lease, "check", lambda self: None)


def a_sweeper_that_trusts_parts(patch: Patch) -> None:
    patch.setattr(cleanup, "_named_in_truth", lambda store, index, keys: set())


def a_sweeper_that_trusts_listings(patch: Patch) -> None:
    patch.setattr(cleanup, "refuse_beside_makers", lambda store, uris: None)


def a_count_of_what_was_sent(patch: Patch) -> None:
    """What was committed is claimed, whether it is still there or not."""
    patch.setattr(Ledger, "still_there", lambda self, generations: set(generations))


def words_that_replace_each_other(patch: Patch) -> None:
    """What the last driver says is taken for the whole."""
    sources = state.latest_sources
    patch.setattr(state, "latest_sources", lambda words: sources(words[-1:]))


LOST = "which a record names|is not there|the latest record"
FAULTS = (
    pytest.param(records_deleted_from_two_looks, LOST, id="records deleted from two looks"),
    pytest.param(one_word_for_all_drivers, LOST, marks=pytest.mark.slow, id="one word for all drivers"),
    pytest.param(ages_by_the_local_clock, LOST, marks=pytest.mark.slow, id="ages by the local clock"),
    pytest.param(a_retry_that_deletes, LOST, id="a retry that deletes"),
    pytest.param(
        a_driver_that_trusts_its_sleep, LOST, marks=pytest.mark.slow, id="a driver trusts its sleep"
    ),
    pytest.param(a_sweeper_that_trusts_parts, LOST, marks=pytest.mark.slow, id="a sweeper trusts parts"),
    pytest.param(
        a_sweeper_that_trusts_listings,
        f"{LOST}|beside",
        marks=pytest.mark.slow,
        id="a sweeper trusts listings",
    ),
    pytest.param(a_count_of_what_was_sent, "it claims", id="a count of what was sent"),
    pytest.param(words_that_replace_each_other, "the last status", id="words that replace each other"),
)


@pytest.mark.parametrize(("fault", "what"), FAULTS)
def test_a_fault_is_found(fault: Callable[[Patch], None], what: str, monkeypatch: Patch, capsys: Any) -> None:
    fault(monkeypatch)
    found = next(broken(range(MOST), what), None)
    assert found is not None, f"not in {MOST} histories"
    with capsys.disabled():
        print(f"\n{fault.__name__}: seed {found[0]}: {found[1]}")


def broken(seeds: range, what: str) -> Iterator[tuple[int, str]]:
    for seed in seeds:
        try:
            History(seed).happen()
        except Violation as problem:
            if re.search(what, str(problem)):
                yield seed, str(problem)[:160]


def test_a_seed_is_a_history_on_every_machine() -> None:
    """Also where Python's sets come in another order."""
    told = [
        subprocess.run(
            [sys.executable, __file__, "7"], check=True, capture_output=True, text=True,
            env={"PYTHONHASHSEED": number, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin"},
        ).stdout
        for number in ("1", "2")
    ]  # fmt: skip
    assert told[0] == told[1]
    assert " writes /records/" in told[0]


if __name__ == "__main__":
    history = History(int(sys.argv[1]))
    history.happen()
    print("\n".join(line for line in history.world.log if " writes " in line or " removes " in line))
