"""Names to what they stand for: our own, and those that installed packages add by entry points.

The entry points are read when a name is looked for that is not ours, or when all are listed; what one stands
for is imported when it is used.
"""

import sys
from collections.abc import Callable, ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from motionecho.errors import MotionEchoError, UserError

T = TypeVar("T")
R = TypeVar("R")
METRICS_GROUP = "motionecho.metrics"
STRATEGIES_GROUP = "motionecho.strategies"


def distributions() -> dict[str, str]:
    """Return the versions of the distributions that add anything, by name; read from their metadata."""
    points = (point for group in (STRATEGIES_GROUP, METRICS_GROUP) for point in _points(group))
    return {point.dist.name: point.dist.version for point in points if point.dist}


class Registry(MutableMapping[str, T]):
    """A mapping from names to what they stand for, ours first.

    `read` makes a value of an entry point, and may raise anything. Asking for a name that is there and cannot
    be had raises UserError, which names the distribution; `values` and `items` leave such names out, so that
    a broken package breaks nothing that does not need it, and `broken` says why.
    """

    def __init__(
        self, kind: str, group: str, own: Mapping[str, T], read: Callable[[EntryPoint], T] = EntryPoint.load
    ) -> None:
        self.kind, self.group, self.own, self._read = kind, group, dict(own), read
        self._tried: dict[tuple[str, tuple[str, ...]], T | UserError] = {}  # by name and path

    def __getitem__(self, name: str) -> T:
        if name in self.own:
            return self.own[name]
        points, tried = self._others()[name], (name, tuple(sys.path))
        if len(points) > 1:
            givers = " and ".join(map(_told, points))
            raise UserError(f'{self.kind} "{name}" is added by {givers}: uninstall all but one')
        if tried not in self._tried:
            try:
                self._tried[tried] = self.using(name, lambda: self._read(points[0]))
            except UserError as problem:
                self._tried[tried] = problem
        if isinstance(found := self._tried[tried], UserError):
            raise UserError(str(found))
        return found

    def __setitem__(self, name: str, value: T) -> None:
        self.own[name] = value

    def __delitem__(self, name: str) -> None:
        del self.own[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self.own, *self._others()))

    def __len__(self) -> int:
        return len(self.own) + len(self._others())

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._others()

    def items(self) -> ItemsView[str, T]:
        """Return names with values, without those that are broken."""
        broken = self.broken()
        return ItemsView({name: self[name] for name in self if name in self.own or name not in broken})

    def values(self) -> ValuesView[T]:
        """Return the values that can be had."""
        return dict(self.items()).values()

    def giver(self, name: str) -> str:
        """Return the distribution and version that add a name, as "brightness 1.2"; "" for a name of ours."""
        return "" if name in self.own or name not in self else _told(self._others()[name][0])

    def using(self, name: str, use: Callable[[], R]) -> R:
        """Return what `use` does with a name's value; what fails in a package of others is a UserError."""
        try:
            return use()
        except MotionEchoError:
            raise
        except Exception as problem:
            if not (giver := self.giver(name)):
                raise
            said = " ".join([f"{type(problem).__name__}:", *str(problem).split()]).rstrip(":")
            sentence = f'{self.kind} "{name}" of {giver} cannot be used: {said}'
            raise UserError(f"{sentence}; mend that package or uninstall it") from problem

    def broken(self) -> dict[str, str]:
        """Return the names that packages add and that cannot be had, each with a sentence that says why."""
        found = {
            point.name: f'{self.kind} "{point.name}" of {_told(point)} is not used: motionecho has its own'
            for point in _points(self.group)
            if point.name in self.own
        }
        for name in self._others():
            try:
                self[name]
            except UserError as problem:
                found[name] = str(problem)
        return found

    def _others(self) -> dict[str, list[EntryPoint]]:
        points = [point for point in _points(self.group) if point.name not in self.own]
        return {point.name: [each for each in points if each.name == point.name] for point in points}


def _points(group: str) -> tuple[EntryPoint, ...]:
    return _points_on(group, tuple(sys.path))


@cache  # a change of the path is another search
def _points_on(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _told(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
