"""Waits are told of once, by what they are for, while someone listens."""

import threading
import time

import pytest

from motionecho.runs import waits
from motionecho.runs.files import patiently
from motionecho.runs.waits import heard, waiting
from tests.patience import patience


def test_a_long_wait_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "TELL_AFTER_S", 0.3)
    monkeypatch.setattr(waits, "LOOK_EVERY_S", 0.02)
    told: list[str] = []
    with heard(told.append):
        with waiting("nothing much"):
            pass
        for _ in range(2):
            with waiting("s3://bucket"):
                end = time.monotonic() + patience(20)
                while not told and time.monotonic() < end:
                    time.sleep(0.02)
        assert told == ["still waiting for s3://bucket"]
        with pytest.raises(ValueError, match="x"):
            patiently(lambda: (_ for _ in ()).throw(ValueError("x")), of="a store")
        assert waits._watch.waiting == {}
    assert told == ["still waiting for s3://bucket"]


def test_every_block_tells_of_its_own_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "TELL_AFTER_S", 0.1)
    monkeypatch.setattr(waits, "LOOK_EVERY_S", 0.02)
    told: list[str] = []
    for number in (1, 2):
        with heard(told.append), waiting("a store"):
            end = time.monotonic() + 60
            while len(told) < number and time.monotonic() < end:
                time.sleep(0.02)
        assert told == ["still waiting for a store"] * number
    end = time.monotonic() + 60
    while any(thread.name == "waits" for thread in threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(thread.name == "waits" for thread in threading.enumerate())
