"""`batch status --watch`: how a run goes, from any machine: a panel on a terminal, its news elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from motionecho.cli.headline import cause, interval, put_off, statuses
from motionecho.cli.printing import count, duration, put, width
from motionecho.cli.progress import SHOWN_RUNNING, bar, words

if TYPE_CHECKING:
    from motionecho.metrics.headline import Headline
    from motionecho.runs.results import Index
    from motionecho.runs.state import State

LOOK_EVERY_S = 5.0
SHARE = 0.1  # of the time, at most, goes into listing records
SILENT_AFTER_S = 90.0  # a living driver leaves a word every 15 s
PLAIN_EVERY_S = 30.0  # where nothing but the number of videos has changed
SHOWN_CAUSES, SHOWN_HOSTS = 3, 4


class Watcher:
    """A watcher of one run, that reads drivers' words at each look and lists records as often as is cheap.

    `clock` is seconds that only grow.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        from motionecho.runs.watched import Watched

        self.store = Watched(url)
        self.later = Watched(self.store.scores_url)
        self.clock = clock
        self.index: Index | None = None
        self.due = 0.0  # when the records are listed again
        self.head: Headline | None = None

    def look(self) -> "tuple[State, Headline]":
        """Return how the run stands; between two listings a driver that is alone says how many are done."""
        from motionecho.runs.state import look

        if self.index is None or self.head is None or self.clock() >= self.due:
            return self._list()
        state, _ = look(self.store, self.index)
        if state.finished or state.ended:
            return self._list()
        state = replace(state, done=max(state.done, _said_done(state)))
        left = None if state.total is None else max(0, state.total - state.done - state.failed)
        return state, replace(self.head, done=state.done, left=left)

    def _list(self) -> "tuple[State, Headline]":
        from motionecho.metrics.headline import sum_up
        from motionecho.runs.state import look

        began = self.clock()
        self.index = self.store.index()
        state, counted = look(self.store, self.index)
        self.head = sum_up(self.store, self.index, state, counted, self.later)
        self.due = self.clock() + (self.clock() - began) * (1 - SHARE) / SHARE
        return state, self.head


def watch(url: str, tell: "Callable[[State, Headline], None] | None" = None) -> "tuple[State, Headline]":
    """Show a run until it has ended; return the last look at it. `tell` is given each look, in its place."""
    watcher, console = Watcher(url), Console(highlight=False)
    if tell is None and console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for state, head in looks(watcher):
                heard = time.monotonic()
                while time.monotonic() < heard + LOOK_EVERY_S and not over(state):
                    age = time.monotonic() - heard
                    live.update(panel(state, head, age), refresh=True)
                    time.sleep(1.0)
        return state, head
    news = News()
    for state, head in looks(watcher):
        if tell:
            tell(state, head)
        if not over(state):
            put(*([] if tell else news.of(state, time.monotonic())))
            time.sleep(LOOK_EVERY_S)
    return state, head


def looks(watcher: Watcher) -> "Iterator[tuple[State, Headline]]":
    """Yield looks at a run until one says that it has ended, which is the last."""
    while True:
        state, head = watcher.look()
        yield state, head
        if over(state):
            return


def over(state: "State") -> bool:
    """Tell whether nothing more is to come: a run with records of which no driver left a word, neither."""
    return state.finished or state.ended or (not state.drivers and state.done + state.failed > 0)


class News:
    """What is worth a line where there is no terminal: no line comes twice, and counts alone seldom."""

    def __init__(self) -> None:
        self.known: tuple[Any, ...] | None = None
        self.done, self.spoke = -1, float("-inf")

    def of(self, state: "State", now: float) -> list[str]:
        """Return the line about a look, if there is one; `now` in seconds."""
        stands = (state.failed, state.total, silent(state), len(state.drivers), message(state))
        if stands == self.known and (state.done == self.done or now < self.spoke + PLAIN_EVERY_S):
            return []
        told = message(state)
        new = told is not None and (self.known is None or told != self.known[-1])
        self.known, self.done, self.spoke = stands, state.done, now
        return [sentence(state)] + ([f"note: {told}"] if new else [])


def sentence(state: "State") -> str:
    """Say in one sentence how far a run is."""
    of = f" of {state.total}" if state.total is not None else ""
    parts = [f"{state.done}{of} done"]
    parts += [f"{state.failed} failed"] if state.failed else []
    if state.finished:
        parts.append("finished")
    elif state.ended:
        parts.append("ended before it was finished: submit again to continue")
    elif silent(state):
        heard = duration(state.silent_s or 0.0)
        parts.append(f"nothing heard for {heard}: if the driver died, submit again to continue")
    else:
        parts += [f"{len(state.drivers)} drivers at work"] if len(state.drivers) > 1 else []
        parts += pace(state)
    return f"{state.run}: {', '.join(parts)}"


def silent(state: "State") -> bool:
    return state.silent_s is not None and state.silent_s > SILENT_AFTER_S


def pace(state: "State") -> list[str]:
    """Say how fast all drivers are together, and how long they take from here."""
    rate = sum(word["rate"] for word in state.drivers if _is_number(word.get("rate")))
    parts = [f"{rate:.1f} videos/min"] if rate > 0 else []
    return parts + ([f"about {duration(state.eta_s)} left"] if state.eta_s else [])


def message(state: "State") -> str | None:
    """Return what a driver has to say."""
    return next((str(word["message"]) for word in state.drivers if word.get("message")), None)


def panel(state: "State", head: "Headline", age: float = 0.0) -> RenderableType:
    """Draw a look at a run that was taken `age` seconds ago."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim")
    grid.add_column(ratio=1)

    def row(label: str, text: str, **how: Any) -> None:
        grid.add_row(label, words(text, **({"overflow": "ellipsis", "no_wrap": True} | how)))

    row("workers", workers(state))
    if at_work := [str(each) for word in state.drivers for each in _listed(word.get("running"))]:
        more = len(at_work) - SHOWN_RUNNING
        row("at work", ", ".join(at_work[:SHOWN_RUNNING]) + (f" and {more} more" if more > 0 else ""))
    row("pace", ", ".join(pace(state)) or "not known yet")
    if head.put_off:
        row("put off", put_off(head.put_off), no_wrap=False)
    for n, (name, found) in enumerate(head.figures.items()):
        over = f"  floor {head.floors[name]:.3f}" if name in head.floors else ""
        row("" if n else "figures", f"{name} {interval(found)}{over}")
    if head.statuses:
        row("not ok", statuses(head.statuses))
    for n, video in enumerate(head.latest):
        told = "  ".join(f"{name} {value:.2f}" for name, value in video.figures.items())
        row("" if n else "last", f"{_moment(video.at)} {video.id}  {told}")
    if told_now := message(state):
        row("note", told_now, no_wrap=False)
    if state.silent_s is not None:
        quiet = silent(state)
        heard = f"{duration(state.silent_s + age)} ago" + (": did the driver die?" if quiet else "")
        row("heard", heard, style="red" if quiet else "")
    for n, each in enumerate(head.causes[:SHOWN_CAUSES]):  # last, as they are long and screens are low
        row("" if n else "failed", cause(each), style="red", no_wrap=False)
    if len(head.causes) > SHOWN_CAUSES:
        row("", f"and {count(len(head.causes) - SHOWN_CAUSES, 'other cause')}", style="red")
    top = bar(state.done + state.failed, state.total)
    return Panel(Group(top, grid), title=words(state.run, overflow="ellipsis"), title_align="left",
                 border_style="dim", width=width())  # fmt: skip


def workers(state: "State") -> str:
    """Say how many workers are busy, and where they are."""
    pools = [pair for word in state.drivers for pair in _pairs(word.get("pools")).values()]
    hosts = [(name, pair) for word in state.drivers for name, pair in _pairs(word.get("hosts")).items()]
    busy, alive = (sum(pair[n] for pair in pools) for n in (0, 1))
    if not alive:
        return "none yet"
    shown = [f"{number} on {name}" for name, (_, number) in hosts[:SHOWN_HOSTS]]
    shown += [f"{len(hosts) - SHOWN_HOSTS} more machines"] if len(hosts) > SHOWN_HOSTS else []
    return f"{busy} of {alive} busy" + (f": {', '.join(shown)}" if shown else ", starting")


def _said_done(state: "State") -> int:
    """Return how many are done by the word of a driver that is alone, 0 where there are others."""
    word = state.drivers[0] if len(state.drivers) == 1 else {}
    alone = len(state.manifests) == 1 and word.get("total") == state.total
    return int(word["done"]) if alone and _is_number(word.get("done")) else 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _pairs(value: object) -> dict[str, tuple[int, int]]:
    """Return what a word says of busy and living workers, as far as it makes sense."""
    found = value.items() if isinstance(value, Mapping) else ()
    return {str(k): (v[0], v[1]) for k, v in found if isinstance(v, list) and [*map(type, v)] == [int, int]}


def _moment(at: str) -> str:
    """Write the time of day here of a moment that a record names."""
    try:
        return f"{datetime.fromisoformat(at).astimezone():%H:%M:%S}"
    except ValueError:
        return "--:--:--"
