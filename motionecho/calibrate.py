"""Thresholds for a pair and the motions of a manifest: what fidelity costs, and the cheapest that keeps most.

The paper's delta_1 and delta_2 are in units of its own networks and differ by kind of motion, so they are
found here: samples are made once with the teacher in every allowed step, and the losses seen there give
candidates. Skipping the teacher changes later losses, so every candidate is then run, not read off.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motionecho.config import EchoConfig
from motionecho.errors import UserError
from motionecho.metrics.stats import Estimate, estimate
from motionecho.trace import Trace

if TYPE_CHECKING:
    from motionecho.manifest import Sample

QUANTILES = (0.25, 0.5, 0.75)
# not activation=always, in which a student without guidance is not watched and shows no loss
ALWAYS = {"activation": "adaptive", "activation_threshold": 0.0, "truncation_threshold": 0.0}
Run = Callable[["Sample", EchoConfig], tuple[float | None, Trace]]  # -> (fidelity, trace)


@dataclass(frozen=True)
class Candidate:
    """A choice of settings; both thresholds lie at the quantile `share` of the losses, or there are none."""

    name: str
    share: float | None
    changes: dict[str, Any]


@dataclass(frozen=True)
class Point:
    """The outcome of a candidate: mean fidelity, and passes a video in all and of the teacher."""

    candidate: Candidate
    fidelity: Estimate
    cost: float
    teacher: float
    activated: float  # mean share of the student steps in which the teacher ran


def curve(samples: "Sequence[Sample]", config: EchoConfig, run: Run) -> Iterator[Point]:
    """Run every candidate over all samples: teacher always, thresholds at rising quantiles, student alone.

    Samples whose fidelity could not be taken with the teacher always on are left out throughout; raises
    UserError where none is left, or none has a motion loss to go by.
    """
    always = Candidate("always", None, ALWAYS)
    results = [run(sample, config.updated(always.changes)) for sample in samples]
    measured = [index for index, (fidelity, _) in enumerate(results) if fidelity is not None]
    if not measured:
        raise UserError("motion fidelity could be taken of none of the samples: are their references still?")
    kept, traces = [samples[k] for k in measured], [results[k][1] for k in measured]
    yield _point(always, kept, [results[k] for k in measured])
    for candidate in [*candidates(traces, config), Candidate("student", None, {"activation": "never"})]:
        yield _point(candidate, kept, [run(sample, config.updated(candidate.changes)) for sample in kept])


def candidates(traces: Sequence[Trace], config: EchoConfig) -> list[Candidate]:
    """Put thresholds at quantiles of the losses that the student's and the teacher's steps showed."""
    student, teacher = [], []
    for trace in traces:
        losses = [step.loss for step in trace.steps if step.loss is not None]
        unit = losses[0] if losses and config.activation.threshold_unit == "first_loss" else 1.0
        student += [
            step.window_mean / unit for step in trace.steps if step.active and step.window_mean is not None
        ]
        teacher += [step.teacher_loss / unit for step in trace.steps if step.teacher_loss is not None]
    if not student:
        raise UserError("no motion loss was seen: the student is not guided, and the teacher may never run")
    return [
        Candidate(
            f"{share:.0%}",
            share,
            {
                "activation": "adaptive",
                "activation_threshold": round(float(np.quantile(student, share)), 4),
                "truncation_threshold": round(float(np.quantile(teacher, share)), 4) if teacher else 0.0,
            },
        )
        for share in QUANTILES
    ]


def cheapest(points: Sequence[Point], keep: float) -> Point:
    """Pick the cheapest point with `keep` of what the teacher adds to the student; else the first."""
    always, student = points[0], points[-1]
    bar = student.fidelity.mean + keep * (always.fidelity.mean - student.fidelity.mean)
    good = [point for point in points if point.fidelity.mean >= bar]
    return min(good, key=lambda point: point.cost, default=always)


def _point(
    candidate: Candidate, samples: "Sequence[Sample]", results: Sequence[tuple[float | None, Trace]]
) -> Point:
    pairs = zip(results, samples, strict=True)
    known = [(fidelity, sample) for (fidelity, _), sample in pairs if fidelity is not None]
    if not known:
        raise UserError(f'motion fidelity could be taken of no sample of the candidate "{candidate.name}"')
    traces = [trace for _, trace in results]
    weights = {"teacher": 1, "teacher_guided": 3}
    teacher = [sum(weights.get(kind, 0) * n for kind, n in t.evaluations().items()) for t in traces]
    active = [sum(step.active for step in t.steps) / max(1, len(t.steps)) for t in traces]
    return Point(
        candidate,
        estimate([fidelity for fidelity, _ in known], [sample.reference for _, sample in known]),
        float(np.mean([trace.forward_equivalents() for trace in traces])),
        float(np.mean(teacher)),
        float(np.mean(active)),
    )
