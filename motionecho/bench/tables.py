"""The paper's tables on the embedded pair, and every strategy by every way to sample: rows, columns, figures.

Baselines of the paper that only copy structure (ControlVideo, Control-A-Video) are quoted and not run: the
embedded pair has no network that sees outlines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from motionecho.bench.ablation import Row
from motionecho.bench.ablation_report import columns_line
from motionecho.config import TRAINED
from motionecho.models.spec import PairSpec

WORDS = ("motionclone", "moft", "dmt", "ditflow", "flowmotion", *TRAINED)
WAYS: dict[str, Row] = {
    "student": {"method": "guided-student"},
    "teacher alone": {"method": "teacher"},
    "MotionEcho always": {"activation": "always"},
    "MotionEcho adaptive": {"activation": "adaptive"},
}
FURTHER: dict[str, Row] = {
    "student, inverted noise": {"method": "guided-student", "noise_blend": 0.03, "inversion_steps": 50},
    **{f"teacher alone, {n} steps": {"teacher_only": n} for n in (10, 15, 25)},
}


def by_strategy(spec: PairSpec, further: bool) -> dict[str, Row]:
    """Make the rows of every strategy of a pair; with `further`, of shorter walks of the teacher too."""
    ways = WAYS | (FURTHER if further else {})
    rows: dict[str, Row] = {
        f"{word}, {way}": {"strategy": word} | dict(row)
        for word in WORDS
        if word not in spec.lacks
        for way, row in ways.items()
    }
    plain: dict[str, Row] = {"student": {"method": "student"}} if further else {}
    return plain | rows


@dataclass(frozen=True)
class Line:
    """A row of a table of the paper: what we run for it, None where it is quoted alone, and what it says.

    Figures: temporal consistency, text alignment, motion fidelity, FID, seconds a video.
    """

    row: Row | None
    consistency: float
    text: float
    motion: float
    fid: float | None = None
    seconds: float | None = None
    training: float | None = None


TABLES: dict[int, dict[str, Line]] = {
    1: {  # TurboBench
        "ControlVideo": Line(None, 0.942, 0.251, 0.964, 379.37, 80, 450),
        "Control-A-Video": Line(None, 0.925, 0.256, 0.858, 383.95),
        "DMT": Line({"strategy": "dmt", "method": "teacher"}, 0.961, 0.259, 0.909, 367.18, 316),
        "MotionDirector": Line(
            {"strategy": "motiondirector", "method": "teacher"}, 0.922, 0.329, 0.851, 373.21, 10, 280
        ),
        "MotionInversion": Line(
            {"strategy": "motioninversion", "method": "teacher"}, 0.951, 0.321, 0.885, 351.72, 32, 489
        ),
        "MotionClone": Line({"method": "teacher"}, 0.978, 0.335, 0.876, 369.49, 114),
        "MotionEcho, 16 steps": Line({"steps": 16}, 0.976, 0.348, 0.933, 322.97, 13),
        "MotionEcho, 8 steps": Line({"steps": 8}, 0.967, 0.338, 0.931, 335.65, 9),
        "MotionEcho, 4 steps": Line({"steps": 4}, 0.956, 0.323, 0.927, 347.91, 6),
    },
    2: {  # AnimateBench
        "MotionDirector": Line(
            {"strategy": "motiondirector", "method": "teacher"}, 0.961, 0.304, 0.833, 378.31, 18, 451
        ),
        "MotionClone": Line({"method": "teacher"}, 0.957, 0.321, 0.849, 367.07, 203),
        "MotionClone on the student, 8 steps": Line(
            {"method": "guided-student", "steps": 8}, 0.974, 0.322, 0.648, 357.15, 7
        ),
        "MotionEcho, 8 steps": Line({"steps": 8}, 0.981, 0.327, 0.868, 336.03, 24),
        "MotionEcho, 4 steps": Line({"steps": 4}, 0.973, 0.319, 0.854, 348.99, 17),
    },
    3: {  # the ablation, on TurboBench
        "student": Line({"method": "student", "steps": 16}, 0.973, 0.348, 0.562, None, 4),
        "MotionDirector on the student": Line(
            {"strategy": "motiondirector", "method": "guided-student", "steps": 16},
            0.965, 0.327, 0.806, None, 4, 300,
        ),
        "+ motion guidance": Line(
            {"method": "guided-student", "steps": 16, "noise_blend": 0}, 0.967, 0.324, 0.833, None, 7
        ),
        "+ inverted noise": Line({"method": "guided-student", "steps": 16}, 0.968, 0.329, 0.896, None, 7),
        "+ teacher": Line({"steps": 16, "activation": "always"}, 0.965, 0.336, 0.912, None, 20),
        "+ adaptive": Line({"steps": 16}, 0.976, 0.348, 0.933, 322.97, 13),
    },
}  # fmt: skip


def rows_of(table: int) -> dict[str, Row]:
    """Return the rows of a table that are run."""
    return {name: line.row for name, line in TABLES[table].items() if line.row is not None}


def beside_the_paper(table: int, samples: Sequence[Mapping[str, Any]]) -> str:
    """Write markdown in the paper's columns: ours on the embedded pair, and in brackets what the paper has.

    Motion fidelity is ours against ground truth, the cosine of velocities, or tracked where it was asked for.
    """
    tracked = "mf_traj" in samples[0]
    ours = {"consistency": "consistency", "text": "text", "motion": "mf_traj" if tracked else "velocity"}
    lines = [
        columns_line(
            [
                "method",
                "temporal consistency",
                "text alignment",
                "motion fidelity",
                "FID",
                "s/video",
                "training s",
            ]
        )
    ]
    for name, line in TABLES[table].items():
        mine = [sample for sample in samples if sample["row"] == name]
        cells = [_both([s[key] for s in mine], getattr(line, column), 3) for column, key in ours.items()]
        cells += [_both([], line.fid, 1)]
        cells += [_both([s["seconds"] for s in mine], line.seconds, 2)]
        cells += [_both([s["training"] for s in mine if s["training"]], line.training, 1)]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join([*lines, "", "In brackets: the paper's own, of other models and videos."])


def _both(ours: Sequence[float], paper: float | None, digits: int) -> str:
    mean = f"{np.nanmean(ours):.{digits}f} " if ours else ""
    return (mean + (f"({paper:g})" if paper is not None else "")).strip() or "-"
