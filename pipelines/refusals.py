"""What of a manifest is not made: prompts that filters deny, references that a run was told to forget."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from motionecho.errors import DeniedPrompt, MotionEchoError, UserError
from motionecho.manifest import BadRow, Sample
from motionecho.manifest.prompts import PromptFilters
from motionecho.manifest.rows import resolve_reference
from motionecho.runs.forgotten import Forgotten, forgotten
from motionecho.runs.results import Index
from motionecho.runs.store import RunStore

LIFTED = "the run began under a deny list, and none is named now: add --deny FILE to keep to it"


@dataclass
class Refusals:
    """A judge of rows. What is finished stays finished, whatever a filter says of it later.

    `left_out` counts rows whose reference is forgotten: no record is made of them, as it would name that.
    """

    filters: PromptFilters
    forgotten: Forgotten
    index: Index
    lifted: bool = False  # whether the run began under a deny list, and there is none now
    left_out: int = 0
    known: dict[str, str | None] = field(default_factory=dict)  # of prompts

    @classmethod
    def of(cls, store: RunStore, filters: PromptFilters, index: Index) -> "Refusals":
        """Make the judge of a place that may not exist yet."""
        began = ((store.run() or {}).get("about") or {}).get("filters") or {}
        lifted = bool(began.get("deny")) and "deny" not in filters.facts
        return cls(filters, forgotten(store), index, lifted)

    def kept(self, rows: Iterable[Sample | BadRow], manifest: str) -> list[Sample | BadRow]:
        """Return the rows without bad ones of forgotten references, with denied ones made bad.

        A denied one of whose id there is a finished sample stays for now: it may be that.
        """
        done = {entry.id for entry in self.index.values() if entry.ok}
        kept: list[Sample | BadRow] = []
        for row in rows:
            if isinstance(row, Sample) and row.id not in done:
                row = self.denied(row) or row
            if isinstance(row, BadRow) and self._names_forgotten(row, manifest):
                self.left_out += 1
            else:
                kept.append(row)
        return kept

    def denied(self, sample: Sample, key: str = "") -> BadRow | None:
        """Return the row as a bad one where its prompt is denied, and nothing finished has its `key`."""
        if key in self.index and self.index[key].ok:
            return None
        if sample.prompt not in self.known:
            self.known[sample.prompt] = self.filters.why(sample.prompt)
        why = self.known[sample.prompt]
        kind = DeniedPrompt.__name__
        return BadRow(sample.row, sample.id, why, sample.inputs(), "prompt", kind) if why else None

    def leave_out(self, sample: Sample, hashed: "tuple[str, str] | MotionEchoError") -> bool:
        """Leave a row out whose reference is forgotten, and count it; tell whether it was.

        A reference is known by its bytes, and by its place where it has none now.
        """
        name = str(sample.reference) if isinstance(hashed, MotionEchoError) else hashed[0]
        found = self.forgotten.has(name)
        self.left_out += found
        return found

    @property
    def notes(self) -> list[str]:
        """Say, a sentence each, that a deny list is no more, and how many rows are left out."""
        rows = "row is" if self.left_out == 1 else "rows are"
        left_out = f"{self.left_out} {rows} left out: a reference that this run was told to forget"
        return [*[LIFTED][: self.lifted], *[left_out][: bool(self.left_out)]]

    def _names_forgotten(self, row: BadRow, manifest: str) -> bool:
        cell = row.inputs.get("reference")
        if not self.forgotten.marks or not isinstance(cell, str):
            return False
        try:
            return self.forgotten.has(str(resolve_reference(cell, manifest)))
        except UserError:  # a place that is not opened
            return False
