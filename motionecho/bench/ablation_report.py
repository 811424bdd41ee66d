"""Tables of what the ablation measured: means with intervals over pairs, paired differences between rows."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motionecho.metrics.stats import Estimate, estimate

Samples = Sequence[dict[str, Any]]

SCORES = {  # column and its digits
    "velocity": 3, "follows": 3, "mf_traj": 3, "text": 3, "consistency": 3, "error_px": 1,
}  # fmt: skip
TRACKED = ("follows", "mf_traj")  # figures that need no truth
COUNTS = ("cost", "student", "student_guided", "teacher", "teacher_guided")
NAMES = {
    "velocity": "velocity cosine",
    "mf_traj": "tracked fidelity",
    "error_px": "centre error px",
    "cost": "forward equivalents",
}


FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # a spreadsheet computes a cell that begins so, and full-width ones too


def write_samples(path: Path, samples: Samples) -> None:
    """Write CSV for spreadsheets, a line per sample; a text that would be a formula gets an apostrophe."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(samples[0]))
        writer.writeheader()
        writer.writerows({name: _shown_as_text(value) for name, value in row.items()} for row in samples)


def _shown_as_text(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def table(samples: Samples) -> str:
    """Write markdown, a line per row: mean [95 % interval over pairs] of every score, and what it cost."""
    scores = [name for name in SCORES if name in samples[0]]
    trained = any(s["training"] for s in samples)
    columns = ["row", *scores, *COUNTS, "s/video", *(["training s"] if trained else [])]
    lines = [columns_line([NAMES.get(name, name).replace("_", " ") for name in columns])]
    for row in dict.fromkeys(s["row"] for s in samples):
        mine = [s for s in samples if s["row"] == row]
        cells = [_shown(_over_pairs(mine, name), SCORES[name]) for name in scores]
        cells += [f"{np.mean([s[name] for s in mine]):.1f}" for name in COUNTS]
        cells += [f"{np.mean([s['seconds'] for s in mine]):.2f}"]
        cells += [f"{mine[0]['training']:.1f}"] if trained else []
        lines.append(f"| {' | '.join([row, *cells])} |")
    return "\n".join(lines)


def contrasts(samples: Samples, couples: Sequence[tuple[str, str]]) -> str:
    """Write markdown, a line per couple: mean difference [95 % interval] over equal pairs and seeds."""
    scores = [name for name in SCORES if name in samples[0]]
    lines = [columns_line(["difference", *(NAMES.get(name, name) for name in scores), "forward equivalents"])]
    for one, other in couples:
        cells = [_shown(_paired(samples, one, other, name), SCORES[name], sign="+") for name in scores]
        cost = _paired(samples, one, other, "cost").mean
        lines.append(f"| {' | '.join([f'{one} - {other}', *cells])} | {cost:+.1f} |")
    return "\n".join(lines)


def beside_the_truth(samples: Samples) -> str:
    """Write markdown, a line per figure that needs no truth: how well it knows the velocity cosine.

    The AUC is the chance that what follows (a cosine above .9) is ranked above what does not (below .2).
    """
    lines = [columns_line(["figure", "without", "rank correlation with the velocity cosine", "AUC"])]
    for name in (name for name in TRACKED if name in samples[0]):
        known = [s for s in samples if not math.isnan(s[name])]
        figure, truth = (np.array([s[column] for s in known]) for column in (name, "velocity"))
        correlation = np.corrcoef(_ranks(figure), _ranks(truth))[0, 1]
        gaps = figure[truth > 0.9][:, None] - figure[truth < 0.2][None]
        auc = f"{np.mean((gaps > 0) + (gaps == 0) / 2):.3f}" if gaps.size else ""
        lines.append(f"| {name} | {1 - len(known) / len(samples):.1%} | {correlation:.3f} | {auc} |")
    return "\n".join(lines)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank from 0, equal values at the middle of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts + 1) / 2)[place])


def steps_up(samples: Samples) -> list[tuple[str, str]]:
    """Couple every row with the one above it: what each part of the method adds."""
    rows = list(dict.fromkeys(s["row"] for s in samples))
    return list(zip(rows[1:], rows[:-1], strict=True))


def rivals(samples: Samples) -> list[tuple[str, str]]:
    """Couple MotionEcho with the guided student of as many steps and the teacher alone of no less cost."""
    cost = {r: _paired(samples, r, r, "cost", False).mean for r in dict.fromkeys(s["row"] for s in samples)}
    couples = []
    for row in cost:
        if not row.startswith("MotionEcho"):
            continue
        method, steps = row.rsplit(", ", 1)
        couples.append((row, f"guided student, {steps}"))
        alone = [r for r in cost if r.startswith("teacher only") and cost[r] >= cost[row]]
        couples += [(row, min(alone, key=lambda r: cost[r]))] if alone else []
        if method.endswith("adaptive"):
            couples.append((row, f"MotionEcho always, {steps}"))
    return [(one, other) for one, other in couples if other in cost]


def lifts(samples: Samples) -> list[tuple[str, str]]:
    """Couple MotionEcho by each strategy with the same strategy on the student and on the teacher alone.

    Where the teacher alone took shorter walks too, also with the cheapest that costs no less.
    """
    cost = {r: _paired(samples, r, r, "cost", False).mean for r in dict.fromkeys(s["row"] for s in samples)}
    couples = []
    for row in cost:
        word, way = row.split(", ")[0], row.partition(", ")[2]
        if not way.startswith("MotionEcho"):
            continue
        alone = [r for r in cost if r.startswith(f"{word}, teacher alone") and cost[r] >= cost[row]]
        others = [f"{word}, student", f"{word}, teacher alone", *sorted(alone, key=lambda r: cost[r])[:1]]
        couples += [(row, other) for other in dict.fromkeys(others) if other in cost]
    return couples


def columns_line(names: Sequence[str]) -> str:
    return f"| {' | '.join(names)} |\n{'|---' * len(names)}|"


def _over_pairs(samples: Samples, name: str) -> Estimate:
    """Average over samples; the bootstrap draws pairs, since the seeds of one pair are alike."""
    known = [s for s in samples if not math.isnan(s[name])]
    return estimate([s[name] for s in known], [s["pair"] for s in known])


def _paired(samples: Samples, one: str, other: str, name: str, differ: bool = True) -> Estimate:
    theirs = {(s["pair"], s["seed"]): s[name] if differ else 0.0 for s in samples if s["row"] == other}
    mine = [s for s in samples if s["row"] == one and (s["pair"], s["seed"]) in theirs]
    gaps = [{"pair": s["pair"], name: s[name] - theirs[s["pair"], s["seed"]]} for s in mine]
    return _over_pairs(gaps, name)


def _shown(value: Estimate, digits: int, sign: str = "") -> str:
    if value.low is None or value.high is None:
        return f"{value.mean:{sign}.{digits}f}"
    low, high = f"{value.low:{sign}.{digits}f}", f"{value.high:{sign}.{digits}f}"
    return f"{value.mean:{sign}.{digits}f} [{low}, {high}]"
