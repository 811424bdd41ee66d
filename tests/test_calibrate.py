"""Calibration on a made-up pair, whose samples need the teacher while their loss is above some level."""

import pytest

from motionecho.calibrate import ALWAYS, candidates, cheapest, curve
from motionecho.config import EchoConfig
from motionecho.errors import UserError
from motionecho.manifest import Sample
from motionecho.trace import StepTrace, Trace

CONFIG = EchoConfig.of(steps=4, guided_fraction=1.0, window=1)
SAMPLES = [Sample(str(k), f"{k}.mp4", "a fox", k) for k in range(4)]
NEEDED = 45.0  # above this loss the teacher helps


def run(sample: Sample, config: EchoConfig) -> tuple[float, Trace]:
    """Losses fall from 100 to 10; fidelity is the share of needed steps in which the teacher ran."""
    trace, helped = Trace(), 0
    first = 100.0 + sample.seed
    for step, loss in enumerate((first, 70.0, 40.0, 10.0)):
        unit = first if config.activation.threshold_unit == "first_loss" else 1.0
        active = (
            config.activation.activation == "adaptive"
            and loss / unit > config.activation.activation_threshold
        )
        line = StepTrace(step, 0, 0, loss, loss, active, teacher_loss=loss / 2 if active else None)
        line.evaluations |= {"student": 1, "teacher_guided": 3 * active}
        helped += active and loss > NEEDED
        trace.steps.append(line)
    return helped / 2, trace


def test_the_curve_runs_from_always_to_never_and_costs_less_and_less() -> None:
    points = list(curve(SAMPLES, CONFIG, run))
    assert [point.candidate.name for point in points] == ["always", "25%", "50%", "75%", "student"]
    costs = [point.cost for point in points]
    assert costs == sorted(costs, reverse=True)
    assert (points[0].fidelity.mean, points[-1].fidelity.mean) == (1.0, 0.0)
    assert (points[0].activated, points[0].teacher, points[-1].teacher) == (1.0, 36.0, 0.0)
    assert points[0].fidelity.n == 4


def test_the_cheapest_that_keeps_enough_is_chosen() -> None:
    points = list(curve(SAMPLES, CONFIG, run))
    best = cheapest(points, keep=0.95)
    assert best.candidate.name == "50%"
    assert 40 <= best.candidate.changes["activation_threshold"] <= 70
    assert cheapest(points, keep=0.0).candidate.name == "student"
    assert cheapest(points[:1] + points[-1:], keep=0.5).candidate.name == "always"


def test_thresholds_are_in_the_unit_that_the_settings_have() -> None:
    config = CONFIG.updated({"threshold_unit": "first_loss"})
    traces = [run(sample, config.updated(ALWAYS))[1] for sample in SAMPLES]
    found = [candidate.changes["activation_threshold"] for candidate in candidates(traces, config)]
    assert all(0 < threshold <= 1 for threshold in found)
    assert found == sorted(found)
    assert cheapest(list(curve(SAMPLES, config, run)), 0.95).fidelity.mean == 1.0


def test_nothing_to_go_by_is_said() -> None:
    with pytest.raises(UserError, match="are their references still"):
        list(curve(SAMPLES, CONFIG, lambda sample, config: (None, Trace())))
    with pytest.raises(UserError, match="no motion loss was seen"):
        candidates([Trace([StepTrace(0, 0, 0)])], CONFIG)


def test_a_sample_without_a_figure_is_left_out_throughout() -> None:
    def blind(sample: Sample, config: EchoConfig) -> tuple[float | None, Trace]:
        figure, trace = run(sample, config)
        return (None if sample.seed == 2 else figure), trace

    assert [point.fidelity.n for point in curve(SAMPLES, CONFIG, blind)] == [3] * 5
