"""A run that is looked at again and again, as `status --watch` does."""

from collections.abc import Callable
from typing import Any, TypeVar

from motionecho.runs.records import Record
from motionecho.runs.results import Entry, Index
from motionecho.runs.store import RunStore
from motionecho.runs.tables import More

T = TypeVar("T")


class Watched(RunStore):
    """A store that reads once what never changes: a record, or a part, which is named by its bytes.

    What a look costs then is a listing of the records. Every look asks for the same columns.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.seen: dict[tuple[str, object], Any] = {}

    def index(self) -> Index:
        found = super().index()
        kept = {*found.parts, *(record.key for record in found.loose)}
        self.seen = {name: value for name, value in self.seen.items() if name[0] in kept}
        return found

    def _entries(self, part: str) -> tuple[list[Entry], tuple[More, bool]]:
        return self._once((part, "entries"), super()._entries, part)

    def _rows(self, part: str, wanted: Callable[[str], bool]) -> list[dict[str, Any]]:
        return self._once((part, "rows"), super()._rows, part, wanted)

    def _read(self, key: str, generation: int) -> Record:
        return self._once((key, generation), super()._read, key, generation)

    def _once(self, name: tuple[str, object], read: Callable[..., T], *arguments: Any) -> T:
        if name not in self.seen:
            self.seen[name] = read(*arguments)
        found: T = self.seen[name]
        return found
