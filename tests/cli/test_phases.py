"""What a command says of its phases, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from motionecho.cli.phases import Phases, phases
from motionecho.runs.waits import Doing, counted, doing, is_watched


class Seconds:
    """A clock that a test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def console(width: int = 80, terminal: bool = False) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system=None,
        _environ={"TERM": "xterm"},
    )


def written(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_elsewhere_a_phase_has_a_line_and_then_one_every_ten_seconds() -> None:
    on, clock = console(), Seconds()
    shown = Phases(on, clock)
    shown.tell(Doing("weights"))
    for done in range(13):
        clock.now = 1.0 + 2 * done
        shown.tell(Doing("inversion", done, 12))
    shown.tell(Doing("fetching [x].ckpt", 0, 7_400_000_000, bytes=True))
    assert written(on).splitlines() == [
        "[0.0 s] weights", "[1.0 s] inversion 0/12", "[11 s] inversion 5/12", "[21 s] inversion 10/12",
        "[25 s] fetching [x].ckpt 0 B of 7.4 GB",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_has_one_line_that_fits(width: int) -> None:
    on, clock = console(width), Seconds()
    shown = Phases(on, clock)
    for what in ("libraries", "weights", "texts", "inversion", "targets"):
        shown.update(Doing(what))
        clock.now += 3.0
    shown.update(Doing("steps", 0, 16))
    clock.now += 8.0
    shown.update(Doing("steps", 4, 16))
    on.print(shown.line())
    (line,) = written(on).splitlines()
    assert len(line) <= width
    assert line.rstrip().endswith("4/16  about 24 s left")
    assert "steps" in line
    assert ("weights 3.0 s" in line) == (width == 200), "what is over goes first where there is no room"


def test_the_line_is_there_at_once_and_gone_afterwards() -> None:
    on = console(terminal=True)
    with phases(on):
        assert is_watched()
        assert "starting" in written(on)
        assert [*counted("steps", "ab")] == ["a", "b"]
    assert not is_watched()
    assert written(on).endswith("\x1b[1A\x1b[2K"), "the line is wiped"
    doing("nobody hears it")
    assert "nobody" not in written(on)
