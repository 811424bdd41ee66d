"""Histories by the hundred of drivers, stores, workers and people: no promise is broken in any of them."""

import os

import pytest

from tests.simulation.history import History

SEEDS = int(os.environ.get("MOTIONECHO_HISTORIES", "500"))  # thousands where driver or store change
BLOCK = 100
FOUND = (
    526,
    2644,
    5512,
    9831,
    43307,
)  # histories in which a promise was broken once


def tell(seed: int) -> History:
    """Let a history happen; one that breaks a promise is told in full."""
    history = History(seed)
    try:
        history.happen()
    except BaseException as problem:
        problem.add_note("\n".join([f"history {seed}:", *history.world.log[-200:]]))
        raise
    return history


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_promise_is_broken(first: int) -> None:
    for seed in range(first, min(first + BLOCK, SEEDS)):
        tell(seed)


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_stays_mended(seed: int) -> None:
    tell(seed)
