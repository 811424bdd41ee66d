"""What a run says of itself, on a terminal and elsewhere."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rich.console import Console

from motionecho.cli.progress import Display, line, panel, result_of


@dataclass(frozen=True)
class Now:
    total: int = 10
    done: int = 0
    failed: int = 0
    running: tuple[str, ...] = ()
    rate: float | None = None
    eta_s: float | None = None
    last: str | None = None
    pools: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    message: str | None = None


BUSY = Now(
    done=4, failed=2, running=("a", "b", "c", "d"), rate=3.5, eta_s=90, last="videos/v.mp4",
    pools={"generate": (2, 2)}, failures={"BadSample": 2}, message="two rows are bad",
)  # fmt: skip


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def plain() -> tuple[Display, Clock, io.StringIO]:
    written, clock = io.StringIO(), Clock()
    return (
        Display(Console(file=written, force_terminal=False, width=200), "run", "runs/x", clock),
        clock,
        written,
    )


def test_elsewhere_a_line_comes_at_once_then_every_half_minute() -> None:
    display, clock, written = plain()
    with display:
        for second in range(0, 95, 5):
            clock.now = float(second)
            display.update(Now())
    assert [text.split("]")[0] for text in written.getvalue().splitlines()] == [
        "[0.0 s",
        "[30 s",
        "[1 min 0 s",
        "[1 min 30 s",
    ]


def test_the_first_finished_video_and_a_new_message_are_told_at_once() -> None:
    display, clock, written = plain()
    with display:
        display.update(Now())
        clock.now = 2.0
        display.update(Now(done=1, last="v1.mp4"))
        display.update(Now(done=2, last="v2.mp4", message="one worker died"))
        display.update(Now(done=2, last="v2.mp4", message="one worker died"))
    assert written.getvalue().splitlines()[1:] == ["[2.0 s] 1/10 done, last runs/x/v1.mp4", "one worker died"]


def test_a_line_has_everything_and_no_control_characters() -> None:
    assert line(BUSY, "runs/x", 61) == (
        "[1 min 1 s] 4/10 done, 2 failed (2 BadSample), generate 2/2, 3.5 videos/min, about 1 min 30 s left, "
        "last runs/x/videos/v.mp4"
    )


def test_the_panel_shows_pools_pace_failures_and_the_last_video() -> None:
    written = io.StringIO()
    Console(file=written, width=90, color_system=None).print(panel(BUSY, "m.parquet", "runs/x", 61))
    text = written.getvalue()
    for part in ("m.parquet", "6/10 samples", "generate 2 of 2 busy", "3.5 videos/min", "a, b, c and 1 more",
                 "2: 2 BadSample", "runs/x/videos/v.mp4", "two rows are bad"):  # fmt: skip
        assert part in text


def test_a_terminal_gets_the_panel_and_text_in_brackets_is_not_markup() -> None:
    written = io.StringIO()
    console = Console(
        file=written, force_terminal=True, width=90, legacy_windows=False, _environ={"TERM": "xterm"}
    )
    with Display(console, "a[red]b", "runs/x") as display:
        display.update(replace(BUSY, last="videos/[x].mp4"))
    assert "a[red]b" in written.getvalue()
    assert "videos/[x].mp4" in written.getvalue()


def test_nothing_in_ids_places_and_messages_steers_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2K\r\x9b31m\u202egnp\u2066\u200b\nx"
    shown = r"\x1b]0;owned\x07\x1b[2K\r\x9b31m\u202egnp\u2066\u200b\nx"
    now = replace(
        BUSY,
        running=(hostile,),
        last=hostile,
        message=hostile,
        pools={hostile: (1, 2)},
        failures={hostile: 2},
    )
    for terminal in (True, False):
        written = io.StringIO()
        console = Console(
            file=written, force_terminal=terminal, width=400, legacy_windows=False, _environ={"TERM": "xterm"}
        )
        with Display(console, hostile, hostile) as display:
            display.update(now)
        text = re.sub(
            r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue()
        )  # what rich itself says to a terminal
        assert {char for char in text if not char.isprintable()} <= {"\n", "\r"}
        assert text.count("\r") == (written.getvalue().count("\r\x1b[") if terminal else 0)
        assert text.count(shown) == (7 if terminal else 5)


def test_a_run_without_samples_can_be_shown() -> None:
    Console(file=io.StringIO()).print(panel(Now(total=0), "empty", "runs/x", 0))


def test_result_of_is_a_sentence() -> None:
    assert (
        result_of(8, 1, 2, 9, 142) == "8 of 9 videos done (2 of them already there), 1 failed in 2 min 22 s"
    )
    assert result_of(1, 0, 0, 1, 4.2) == "1 of 1 video done in 4.2 s"
