"""A quality gate: what is below the bar is made again with more teacher, then other seeds; the best stays.

    gate = Gate.parse("motion_fidelity>=0.5", tries=3)
    made, tries = gate.best_of(make, metric_of, config, seed)

The first try is the sample as it was asked for, so a gate changes nothing where the bar is reached.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

from motionecho.config import EchoConfig
from motionecho.errors import UserError, nearest
from motionecho.metrics import METRICS, load_metrics
from motionecho.runs.keys import digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motionecho.make import Made
    from motionecho.metrics import Metric

TRIES = 3
PATTERN = re.compile(r"\s*(\w+)\s*(>=|<=)\s*(-?[0-9.]+(?:e-?[0-9]+)?)\s*(?:,\s*(\d+) tries)?\s*")


@dataclass(frozen=True)
class Gate:
    """A figure of a metric per sample, the bar, the side of it that is good, and how often to try."""

    figure: str
    side: str  # ">=" or "<="
    bar: float
    tries: int = TRIES

    @classmethod
    def parse(cls, text: str, tries: int | None = None) -> Self:
        """Read `figure>=number`, or what `str` makes of a gate; raises UserError where it is neither."""
        found = PATTERN.fullmatch(text)
        if found is None:
            raise UserError(f'--gate "{text}" is not of the form FIGURE>=NUMBER, e.g. motion_fidelity>=0.5')
        figure, side, bar, written = found.groups()
        figure = METRICS[figure].headlines[0] if figure in METRICS else figure
        gate = cls(figure, side, float(bar), tries or int(written or TRIES))
        _ = gate.metric
        return gate

    def __str__(self) -> str:
        return f"{self.figure}{self.side}{self.bar:g}, {self.tries} tries"

    @property
    def metric(self) -> str:
        """The metric that the figure is of; UserError where there is none."""
        owners = [spec for spec in METRICS.values() if spec.owns(self.figure)]
        if not owners:
            known = dict.fromkeys(name for s in METRICS.values() for name in (s.name, s.headlines[0]))
            raise UserError(
                f'--gate: no metric has a figure "{self.figure}"{nearest(self.figure, known)}; '
                f"for example {', '.join(known)}"
            )
        return max(owners, key=lambda spec: len(spec.prefix)).name

    def load_judge(self, device: str) -> Metric:
        """The metric, loaded; UserError where it cannot run here, as the gate then has no meaning."""
        metrics, skipped = load_metrics([self.metric], device)
        if not metrics:
            raise UserError(f"the gate {self} needs {self.metric}: {skipped[self.metric]}")
        return metrics[0]

    def reached(self, value: float | None) -> bool:
        """A figure that could not be taken reaches nothing."""
        return value is not None and (value >= self.bar if self.side == ">=" else value <= self.bar)

    def best_of(
        self,
        make: Callable[[EchoConfig, int], Made],
        judge: Callable[[NDArray[np.uint8]], Mapping[str, Any]],
        config: EchoConfig,
        seed: int,
    ) -> tuple[Made, list[dict[str, Any]]]:
        """Make until the bar is reached or tries run out; return the best and a line for every try.

        A line has the seed, the settings that were changed, the figure, whether it reached the bar, what the
        try cost, and whether it was kept.
        """
        best: tuple[float, int, Made] | None = None
        lines: list[dict[str, Any]] = []
        for number in range(self.tries):
            used, drawn = escalated(config, seed, number)
            made = make(used, drawn)
            found = judge(made.frames).get(self.figure)
            value = float(found) if isinstance(found, Real) and math.isfinite(found) else None
            changes = {k: v for k, v in used.to_dict().items() if v != config.to_dict()[k]}
            line = {"seed": drawn, "changes": changes, self.figure: value, "reached": self.reached(value)}
            lines.append(line | {"forward_equivalents": made.trace.forward_equivalents()})
            rank = float("-inf") if value is None else value if self.side == ">=" else -value
            if best is None or rank > best[0]:
                best = rank, number, made
            if self.reached(value):
                break
        assert best is not None  # there is at least one try
        for number, line in enumerate(lines):
            line["kept"] = number == best[1]
        return best[2], lines


def escalated(config: EchoConfig, seed: int, number: int) -> tuple[EchoConfig, int]:
    """Settings and seed of a try: 0 as asked for, 1 more teacher, from 2 on another seed too.

    More teacher: lambda halfway to 1, delta_1 and delta_2 halved, N_max doubled. Where the teacher is off it
    stays off, and only seeds change.
    """
    off = config.activation.activation == "never" or config.teacher.teacher_weight == 0
    other = int(digest(["gate", seed, number])[:12], 16)
    drawn = other if number > 1 or (number and off) else seed
    if number == 0 or off:
        return config, drawn
    more = {
        "teacher_weight": (1 + config.teacher.teacher_weight) / 2,
        "teacher_max_steps": 2 * config.teacher.teacher_max_steps,
        "activation_threshold": config.activation.activation_threshold / 2,
        "truncation_threshold": config.activation.truncation_threshold / 2,
    }
    return config.updated(more), drawn
