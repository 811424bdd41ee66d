"""Activation statistics of one sample: what every student step saw, decided and cost."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("student", "student_guided", "teacher", "teacher_guided")
BACKWARD_COST = 2  # a gradient costs about two forward passes on top of its own forward


@dataclass
class StepTrace:
    """A student step of one sample; losses are in the unit of the strategy's energy."""

    step: int
    t: float
    t_next: float
    loss: float | None = None
    window_mean: float | None = None
    active: bool = False
    teacher_start: float | None = None
    teacher_steps: int = 0
    truncated: bool = False
    teacher_loss: float | None = None
    teacher_weight: float = 0.0
    seconds: float = 0.0
    evaluations: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def spend(self, role: str, forwards: int, backwards: int) -> None:
        """Count the passes of one prediction of the student or the teacher."""
        self.evaluations[f"{role}_guided"] += backwards
        self.evaluations[role] += forwards - backwards


@dataclass
class Trace:
    """The steps of one sample, in order."""

    steps: list[StepTrace] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict per student step; evaluation counts become columns `evaluations_<kind>`."""
        rows = []
        for step in self.steps:
            row = asdict(step)
            counts = row.pop("evaluations")
            rows.append(row | {f"evaluations_{kind}": counts[kind] for kind in KINDS})
        return rows

    def evaluations(self) -> dict[str, int]:
        """Count network evaluations by kind; a guided one is a forward and a backward pass."""
        return {kind: sum(step.evaluations[kind] for step in self.steps) for kind in KINDS}

    def forward_equivalents(self) -> int:
        """Sum the cost in units of one forward pass."""
        return forward_equivalents(self.evaluations())

    def summary(self) -> dict[str, Any]:
        losses = [step.loss for step in self.steps if step.loss is not None]
        return {
            "steps": len(self.steps),
            "activated_steps": sum(step.active for step in self.steps),
            "truncated_steps": sum(step.truncated for step in self.steps),
            "teacher_steps": sum(step.teacher_steps for step in self.steps),
            "first_loss": losses[0] if losses else None,
            "last_loss": losses[-1] if losses else None,
            "evaluations": self.evaluations(),
            "forward_equivalents": self.forward_equivalents(),
            "seconds": round(sum(step.seconds for step in self.steps), 4),
        }


class Stopwatch:
    """Seconds by name; a lap that comes again adds up."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.mark = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(self.laps.get(name, 0.0) + now - self.mark, 4)
        self.mark = now


def forward_equivalents(evaluations: Mapping[str, int]) -> int:
    """Sum evaluations by kind in units of one forward pass: 1 a plain one, 3 a guided one."""
    return sum(n * (1 + BACKWARD_COST * kind.endswith("guided")) for kind, n in evaluations.items())


def by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn the rows of a trace, all of the same names, into a list for every name."""
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
