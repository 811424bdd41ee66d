"""When the teacher runs, and over which times."""

import pytest
import tiny
import torch

from motionecho.adaptive import ActivationWindow, Step, itinerary, ramp, teacher_times
from motionecho.config import EchoConfig
from motionecho.denoiser import Ask
from motionecho.schedules import Flow, uniform


def losses(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def test_window_means_what_is_there_then_the_last_w() -> None:
    window = ActivationWindow(EchoConfig.of(window=2).activation)
    assert window.push(losses(4.0)).item() == 4
    assert window.push(losses(2.0)).item() == 3
    assert window.push(losses(0.0)).item() == 1


def test_window_can_leave_the_current_loss_out() -> None:
    window = ActivationWindow(EchoConfig.of(window=2, window_includes_current=False).activation)
    assert window.push(losses(4.0)).item() == 4  # nothing older yet
    assert window.push(losses(2.0)).item() == 4
    assert window.push(losses(0.0)).item() == 3


def steps(config: EchoConfig) -> list[Step]:
    return itinerary(config, tiny.SCHEDULE, tiny.denoiser(), tiny.denoiser())


def test_decisions_are_per_sample_and_strict() -> None:
    window = ActivationWindow(EchoConfig.of(activation_threshold=10).activation)
    assert window.active(losses(9.0, 10.0, 11.0), 3).tolist() == [False, False, True]


def test_the_teacher_may_run_in_the_first_fraction_only() -> None:
    config = EchoConfig.of(steps=8, guided_fraction=0.5)
    assert [step.teachable for step in steps(config)] == [True] * 4 + [False] * 4
    assert [step.teachable for step in steps(config.updated({"teacher_fraction": 0.25}))] == [True] * 2 + [
        False
    ] * 6


def test_an_itinerary_runs_from_the_grid_s_first_time_to_zero() -> None:
    path = steps(EchoConfig.of(steps=4))
    assert [(step.at.t, step.to.t) for step in path] == [(999, 749), (749, 500), (500, 250), (250, 0)]
    assert [step.index for step in path] == [0, 1, 2, 3]
    assert all(step.at.t > s.t > step.to.t for step in path for s in step.walk)


def test_an_itinerary_asks_for_no_more_than_is_used() -> None:
    """Guided steps are watched; others only where an adaptive teacher may run; the rest not at all."""
    config = EchoConfig.of(steps=4, guided_fraction=0.5, student_strength=2, teacher_fraction=0.75)
    assert [step.ask for step in steps(config)] == [Ask(True, 2), Ask(True, 2), Ask(True, 0), Ask(False, 0)]
    always = steps(config.updated({"activation": "always"}))
    assert [step.ask.watch for step in always] == [False] * 4
    assert not any(step.walk for step in steps(config.updated({"activation": "never"})))


def test_thresholds_can_be_shares_of_a_sample_s_own_first_loss() -> None:
    """A quiet and a lively reference, both at 60 % and then 40 % of where they began."""
    config = EchoConfig.of(window=1).updated({"threshold_unit": "first_loss", "delta_1": 0.5, "delta_2": 0.3})
    window = ActivationWindow(config.activation)
    active = [window.active(window.push(losses(20.0, 200.0) * share), 2).tolist() for share in (1, 0.6, 0.4)]
    assert active == [[True, True], [True, True], [False, False]]
    assert torch.allclose(window.truncation(2), losses(6.0, 60.0))


def test_only_adaptive_runs_are_truncated() -> None:
    for mode, expected in (("adaptive", 7.0), ("always", 0.0)):
        window = ActivationWindow(EchoConfig().updated({"activation": mode, "delta_2": 7}).activation)
        assert window.truncation(2).tolist() == [expected, expected]


@pytest.mark.parametrize(("mode", "expected"), [("never", [False, False]), ("always", [True, False])])
def test_never_and_always(mode: str, expected: list[bool]) -> None:
    config = EchoConfig.of(steps=2, guided_fraction=0.5, activation=mode)
    window = ActivationWindow(config.activation)
    active = [bool(window.active(losses(0.0), 1)) and step.teachable for step in steps(config)]
    assert active == expected


def test_no_weight_no_teacher() -> None:
    assert not any(step.teachable for step in steps(EchoConfig.of(activation="always", teacher_weight=0)))


def times(config: EchoConfig, t: float, t_next: float) -> list[float]:
    return teacher_times(config.teacher, tiny.SCHEDULE, uniform(tiny.SCHEDULE), t, t_next)


def test_dense_times_lie_within_the_interval() -> None:
    config = EchoConfig.of(teacher_grid="dense", teacher_grid_steps=50)
    assert times(config, 999, 879) == [979, 959, 939, 919, 899]
    assert times(config.updated({"rho": 0.5}), 999, 879) == [939, 919, 899]


def test_interval_times_start_at_rho_and_are_n_max() -> None:
    config = EchoConfig.of(teacher_grid="interval", teacher_max_steps=3, renoise_position=0.95)
    assert times(config, 999, 879) == [993, 955, 917]
    assert all(879 < s < 999 for s in times(config, 999, 879))


def test_a_flow_s_teacher_walks_times_that_are_no_whole_numbers() -> None:
    config = EchoConfig.of(teacher_grid="interval", teacher_max_steps=4, renoise_position=0.9)
    flow = Flow()
    walk = teacher_times(config.teacher, flow, uniform(flow), 937.5, 812.5)
    assert walk == [925, 896.875, 868.75, 840.625]


@pytest.mark.parametrize("grid", ["dense", "interval"])
def test_an_interval_too_narrow_for_the_grid_still_has_one_time(grid: str) -> None:
    config = EchoConfig.of(teacher_grid_steps=5).updated({"teacher_grid": grid, "renoise_position": 0})
    assert times(config, 500, 490) == [491]


def test_ramps() -> None:
    guidance = EchoConfig.of(warm_up=2, cool_down=2).guidance
    assert [ramp(guidance, 10, k) for k in (0, 1, 5, 8, 9)] == [0.5, 1, 1, 1, 0.5]
