"""The look of a run while it goes on: a live panel on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from motionecho.cli.printing import count, duration
from motionecho.report.visible import visible

if TYPE_CHECKING:
    from pipelines.execution import Progress

PLAIN_EVERY_S = 30.0
SHOWN_RUNNING = 3  # ids of samples at work that fit beside each other


class Display(AbstractContextManager["Display"]):
    """A display of progress as it comes; call `update` with each.

    `place` is the run's folder or URL, which completes the videos' paths; `clock` is seconds that only grow.
    """

    def __init__(
        self, console: Console, title: str, place: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console, self.title, self.clock = console, title, clock
        self.place = place.rstrip("/")
        self.began = clock()
        self.spoke: float | None = None
        self.finished = 0
        self.message = ""
        live = console.is_terminal and not console.is_dumb_terminal
        self.live = Live(console=console, refresh_per_second=4, transient=True) if live else None
        self.screen: AbstractContextManager[object] = self.live or nullcontext()

    def __enter__(self) -> "Display":
        self.screen.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self.screen.__exit__(*problem)  # type: ignore[arg-type]

    def update(self, now: "Progress") -> None:
        """Show `now`: redraw the panel, or print a line when there is news or half a minute has passed."""
        elapsed = self.clock() - self.began
        if self.live:
            self.live.update(panel(now, self.title, self.place, elapsed))
            return
        if now.message and now.message != self.message:
            self.console.print(words(now.message))
            self.message = now.message
        first = self.finished == 0 and now.done > 0 and now.last is not None
        due = self.spoke is None or self.clock() - self.spoke >= PLAIN_EVERY_S
        self.finished = now.done
        if first or due:
            self.console.print(words(line(now, self.place, elapsed)))
            self.spoke = self.clock()


def line(now: "Progress", place: str, elapsed: float) -> str:
    """Write a snapshot as one line of plain text."""
    parts = [f"[{duration(elapsed)}] {now.done}/{now.total} done"]
    if now.failed:
        parts.append(f"{now.failed} failed" + (f" ({_classes(now)})" if now.failures else ""))
    parts += [f"{name} {busy}/{size}" for name, (busy, size) in now.pools.items()]
    parts += _pace(now)
    if now.last:
        parts.append(f"last {place}/{now.last}")
    return ", ".join(parts)


def panel(now: "Progress", title: str, place: str, elapsed: float) -> RenderableType:
    """Draw a snapshot as a panel: bar, pools, pace, failures by class, the last video."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim")
    grid.add_column(ratio=1)
    pools = "   ".join(f"{name} {busy} of {size} busy" for name, (busy, size) in now.pools.items())
    grid.add_row("pools", words(pools or "starting"))
    grid.add_row("pace", words(", ".join([f"{duration(elapsed)} so far", *_pace(now)])))
    if now.running:
        more = len(now.running) - SHOWN_RUNNING
        names = ", ".join(now.running[:SHOWN_RUNNING]) + (f" and {more} more" if more > 0 else "")
        grid.add_row("at work", words(names, overflow="ellipsis", no_wrap=True))
    if now.failed:
        grid.add_row("failed", words(f"{now.failed}: {_classes(now)}", style="red"))
    if now.last:
        grid.add_row("last", words(f"{place}/{now.last}", overflow="fold"))
    if now.message:
        grid.add_row("note", words(now.message))
    return Panel(
        Group(bar(now.done + now.failed, now.total), grid),
        title=words(title, overflow="ellipsis"),
        title_align="left",
        border_style="dim",
    )


def bar(finished: int, total: int | None) -> RenderableType:
    """Draw how many samples are finished, of how many."""
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(ratio=1)
    head.add_column(justify="right")
    of = "?" if total is None else total
    head.add_row(ProgressBar(total=max(total or 0, 1), completed=finished), f"{finished}/{of} samples")
    return head


def words(text: str, **how: Any) -> Text:
    """Make a text of one line: what looks like markup stays as it is, what is not drawn is made visible."""
    return Text(visible(text), **how)


def _pace(now: "Progress") -> list[str]:
    parts = [f"{now.rate:.1f} videos/min"] if now.rate else []
    return parts + ([f"about {duration(now.eta_s)} left"] if now.eta_s else [])


def _classes(now: "Progress") -> str:
    """Count failures by class, the most frequent first; those of runs before are not told apart."""
    parts = [f"{number} {name}" for name, number in sorted(now.failures.items(), key=lambda f: -f[1])]
    before = now.failed - sum(now.failures.values())
    return ", ".join(parts + ([f"{before} before"] if before > 0 else []))


def result_of(done: int, failed: int, already: int, total: int, seconds: float) -> str:
    """Return one sentence on how a run ended."""
    parts = [f"{done} of {count(total, 'video')} done"]
    if already:
        parts[0] += f" ({already} of them already there)"
    if failed:
        parts.append(f"{failed} failed")
    return f"{', '.join(parts)} in {duration(seconds)}"
