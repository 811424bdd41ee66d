"""The look of a command that computes in this process: its phases and how far each is, as they go on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from motionecho.cli.printing import duration, size, stderr
from motionecho.report.visible import visible
from motionecho.runs.waits import Doing, watched

PLAIN_EVERY_S = 10.0
SHORTEST_S = 0.5  # of a phase that is worth naming once it is over
STARTING = Doing("starting")
BAR = 16  # columns that a bar has at least


@contextmanager
def phases(console: Console | None = None) -> Iterator[None]:
    """Show what this process does in the time of a block: a line that moves on a terminal, lines elsewhere.

    On a terminal the line is there at once and is gone afterwards. Elsewhere a phase has a line when it
    begins, and one every ten seconds while it is counted.
    """
    console = console or stderr()
    shown = Phases(console)
    if console.is_terminal and not console.is_dumb_terminal:
        live = Live(get_renderable=shown.line, console=console, refresh_per_second=8, transient=True)
        with live, watched(shown.update):
            live.refresh()  # before anything that takes long is imported
            yield
    else:
        with watched(shown.tell):
            yield


class Phases:
    """The phases that are over with their seconds, and the one that goes on; `clock` only grows."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self.done: dict[str, float] = {}
        self.now, self.began = STARTING, clock()
        self.start = self.spoke = self.at = self.began
        self.lock, self.spinner = (
            threading.Lock(),
            Spinner("dots" if console.encoding.startswith("utf") else "line"),
        )

    def update(self, now: Doing) -> bool:
        """Take up what is being done; True where that is another phase than before."""
        with self.lock:  # downloads tell from threads of their own
            another, self.at = now.what != self.now.what, self.clock()
            if another and self.now is not STARTING:
                self.done[self.now.what] = self.done.get(self.now.what, 0.0) + self.at - self.began
            self.began = self.at if another else self.began
            self.now = now
            return another

    def tell(self, now: Doing) -> None:
        """Take it up, and print a line where it is another phase or ten seconds have passed."""
        if not self.update(now) and self.clock() - self.spoke < PLAIN_EVERY_S:
            return
        self.spoke, passed = self.at, duration(self.at - self.start)
        how_far = f" {_far(now)}" if now.of else ""
        self.console.print(f"[{passed}] {visible(now.what)}{how_far}", markup=False)

    def line(self) -> RenderableType:
        """Draw the line: as many phases behind as there is room for, the one that goes on, what is left."""
        with self.lock:
            now, since, at = self.now, self.clock() - self.at, self.at - self.began
            done = [(what, took) for what, took in self.done.items() if took >= SHORTEST_S]
        behind = [f"{visible(what)} {duration(took)}" for what, took in done]
        what = Text(visible(now.what), style="bold", no_wrap=True, overflow="ellipsis")
        end = f"{_far(now)}  {_left(now, at, since)}" if now.of else duration(at + since)
        room = self.console.width - len(what) - len(end) - BAR - 6
        while behind and sum(len(each) + 2 for each in behind) > room:
            behind.pop(0)
        grid = Table.grid(padding=(0, 1), expand=bool(now.of))
        bar = ProgressBar(total=max(now.of, 1), completed=now.done) if now.of else Text()
        cells: list[RenderableType] = [
            self.spinner,
            Text("  ".join(behind), style="dim", no_wrap=True),
            what,
            bar,
            Text(end),
        ]
        for cell in cells:
            grid.add_column(ratio=1 if cell is bar and now.of else None, no_wrap=True)
        grid.add_row(*cells)
        return grid


def _far(now: Doing) -> str:
    return f"{size(now.done)} of {size(now.of)}" if now.bytes else f"{now.done}/{now.of}"


def _left(now: Doing, took: float, since: float) -> str:
    """Return the time that the rest takes at the pace so far; empty where there is none yet."""
    if not 0 < now.done < now.of:
        return ""
    return f"about {duration(max(0.0, took * (now.of - now.done) / now.done - since))} left"
