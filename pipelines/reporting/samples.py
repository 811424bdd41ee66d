"""A record as a report shows it: what gallery, charts and tables need, and what is read once it is opened."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from motionecho.metrics import METRICS
from motionecho.metrics.compare import Scored, is_bookkeeping
from motionecho.runs import layout
from motionecho.runs.records import Record
from motionecho.trace import KINDS, forward_equivalents

COST, SECONDS = "cost_forward_equivalents", "cost_seconds"
STEPS = ("loss", "window_mean", "teacher_loss", "teacher_steps", "active", "truncated")  # of a strip

Linked = Callable[[str | None], str | None]  # the way from a page to a run's own file


@dataclass(frozen=True)
class Shape:
    """What the samples of a report have in common: order of figures and of references, by name."""

    figures: tuple[str, ...]
    references: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, scored: Iterable[Scored], references: Iterable[str]) -> "Shape":
        """Find the figures that samples have, those that say most first, and number the references."""
        found = dict.fromkeys(name for each in scored for name in each.figures)
        told = [name for name in found if not is_bookkeeping(name)]
        return cls(tuple(sorted(told, key=_rank)), {uri: n for n, uri in enumerate(sorted(references))})

    def roles(self) -> dict[str, str | None]:
        """Name the figures that a glance at a run needs: motion, text, cost, seconds; None where none is."""
        motion = [n for n in _spoken("motion_fidelity") if n in self.figures]
        text = [n for n in (*_spoken("toy_text"), *_spoken("text_alignment")) if n in self.figures]
        there = {"cost": COST, "seconds": SECONDS}
        return {"motion": motion[0] if motion else None, "text": text[0] if text else None} | {
            role: name if name in self.figures else None for role, name in there.items()
        }

    def headlines(self) -> list[str]:
        """Name the figures that speak for a metric, and the cost."""
        return [name for name in self.figures if _rank(name)[0] != 1]


def _spoken(metric: str) -> Sequence[str]:
    """Return a metric's figures that speak for it, `follows` before all."""
    its = next((spec.headlines for name, spec in METRICS.items() if name == metric), ())
    return sorted(its, key=lambda name: name != "follows")


def _rank(figure: str) -> tuple[int, int]:
    """Sort motion first, then text, then what else speaks for a metric, then the rest, and cost last."""
    first = [*_spoken("motion_fidelity"), *_spoken("toy_text"), *_spoken("text_alignment")]
    first += [name for spec in METRICS.values() for name in spec.headlines if name not in first]
    if figure in first:
        return 0, first.index(figure)
    return (2, (COST, SECONDS).index(figure)) if figure in (COST, SECONDS) else (1, 0)


def row(
    record: Record,
    scored: Scored | None,
    run: int,
    preview: str | None,
    linked: Linked,
    steps: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is loaded of every sample, but for figures and the place of its reference among all.

    `preview` is the way to it from the page, and `linked` finds the way to other files.
    """
    echo = record.echo
    error = record.error
    return {
        "run": run,
        "key": record.key,
        "id": record.id,
        "ok": record.ok,
        "prompt": str(record.inputs.get("prompt") or ""),
        "seed": record.inputs.get("seed"),
        "reference": reference_of(record),
        "strategy": str(echo.get("strategy") or record.inputs.get("strategy") or ""),
        "method": str(echo.get("method") or record.inputs.get("method") or ""),
        "preview": preview,
        "video": linked(record.video.uri if record.video else None),
        "strip": strip(steps, echo) if steps else None,
        "attempts": record.attempts,
        "warned": len(record.warnings),
    } | (
        {"cause": error.name, "stage": error.stage, "message": error.message, "kind": error.kind}
        if error
        else {}
    )


def details(
    record: Record,
    scored: Scored | None,
    usual: Mapping[str, Any],
    linked: Linked,
    steps: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is loaded of a sample that is opened; of its settings those that differ from the run's."""
    known = ("prompt", "reference", "id", "seed")
    figures = scored.figures if scored else {}
    return {
        "inputs": {name: value for name, value in record.inputs.items() if name not in known},
        "reference": {**record.reference, "uri": reference_of(record)},
        "changed": {name: value for name, value in record.echo.items() if usual.get(name) != value},
        "more": {name: value for name, value in figures.items() if is_bookkeeping(name)}
        | {
            name: value
            for scores in record.scores.values()
            for name, value in scores.items()
            if name not in figures
        },
        "makers": scored.makers if scored else {},
        "skipped": record.skipped,
        "seconds": record.seconds,
        "trace": record.trace,
        "steps": steps,
        "warnings": record.warnings,
        "tries": record.tries,
        "strikes": [f"{each.stage}: {each.name}: {each.message}" for each in record.strikes],
        "traceback": record.error.traceback if record.error else "",
        "where": " on ".join(filter(None, (record.made_on, record.where.name if record.where else ""))),
        "committed_at": record.committed_at,
        "generation": record.generation,
        "latent_sha256": record.latent_sha256,
        "files": {
            "record": linked(layout.record(record.key, record.generation)),
            "stats": linked(record.stats.uri if record.stats else None),
        },
    }


def strip(steps: Mapping[str, Any], echo: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a sample's steps that are drawn, with delta_1 and delta_2 in the loss's unit."""
    drawn = {name: [_drawable(value) for value in steps.get(name, ())] for name in STEPS}
    passes = [[_count(value) for value in steps.get(f"evaluations_{kind}", ())] for kind in KINDS]
    costs = [forward_equivalents(dict(zip(KINDS, step, strict=True))) for step in zip(*passes, strict=False)]
    return drawn | {"cost": costs, "limits": limits(drawn["loss"], echo)}


def limits(losses: Sequence[Any], echo: Mapping[str, Any]) -> list[float | None]:
    """Return delta_1 and delta_2 in the unit of the losses; None for each where nothing is decided by it."""
    if echo.get("activation") != "adaptive":
        return [None, None]
    first = next((loss for loss in losses if loss is not None), None)
    unit = 1.0 if echo.get("threshold_unit") != "first_loss" else first
    found = [echo.get("activation_threshold"), echo.get("truncation_threshold")]
    return [value * unit if isinstance(value, int | float) and unit is not None else None for value in found]


def reference_of(record: Record) -> str:
    """Name the clip of a record; what a row that could not run says of it where it has no other."""
    return str(record.reference.get("uri") or record.inputs.get("reference") or "")


def readable_order(record: Record) -> tuple[Any, ...]:
    """Sort ids as people do: clip-2 before clip-10."""
    parts = re.split(r"([0-9]+)", record.id)
    ranks = ((len(p.lstrip("0")), p.lstrip("0")) if n % 2 else (0, p) for n, p in enumerate(parts))
    return tuple(ranks), record.key


def _drawable(value: Any) -> Any:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
