"""When the teacher runs, and over which times."""

import pytest
import torch

from motionecho.adaptive import ActivationWindow, ramp, teacher_times
from motionecho.config import EchoConfig


def losses(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def test_window_means_what_is_there_then_the_last_w() -> None:
    window = ActivationWindow(EchoConfig.of(window=2))
    assert window.push(losses(4.0)).item() == 4
    assert window.push(losses(2.0)).item() == 3
    assert window.push(losses(0.0)).item() == 1


def test_window_can_leave_the_current_loss_out() -> None:
    window = ActivationWindow(EchoConfig.of(window=2, window_includes_current=False))
    assert window.push(losses(4.0)).item() == 4  # nothing older yet
    assert window.push(losses(2.0)).item() == 4
    assert window.push(losses(0.0)).item() == 3


def test_decisions_are_per_sample_strict_and_only_in_the_first_fraction() -> None:
    window = ActivationWindow(EchoConfig.of(steps=8, guided_fraction=0.5, activation_threshold=10))
    mean = losses(9.0, 10.0, 11.0)
    assert window.active(0, mean, 3).tolist() == [False, False, True]
    assert window.active(4, mean, 3).tolist() == [False, False, False]


def test_thresholds_can_be_shares_of_a_sample_s_own_first_loss() -> None:
    """A quiet and a lively reference, both at 60 % and then 40 % of where they began."""
    config = EchoConfig.of(window=1).updated({"threshold_unit": "first_loss", "delta_1": 0.5, "delta_2": 0.3})
    window = ActivationWindow(config)
    active = [
        window.active(0, window.push(losses(20.0, 200.0) * share), 2).tolist() for share in (1, 0.6, 0.4)
    ]
    assert active == [[True, True], [True, True], [False, False]]
    assert torch.allclose(window.truncation(2), losses(6.0, 60.0))


def test_only_adaptive_runs_are_truncated() -> None:
    for mode, expected in (("adaptive", 7.0), ("always", 0.0)):
        window = ActivationWindow(EchoConfig().updated({"activation": mode, "delta_2": 7}))
        assert window.truncation(2).tolist() == [expected, expected]


@pytest.mark.parametrize(("mode", "expected"), [("never", False), ("always", True)])
def test_never_and_always(mode: str, expected: bool) -> None:
    window = ActivationWindow(EchoConfig().updated({"activation": mode}))
    assert window.active(0, losses(0.0), 1).tolist() == [expected]


def test_no_weight_no_teacher() -> None:
    assert not ActivationWindow(EchoConfig.of(activation="always", teacher_weight=0)).active(0, None, 1).any()


def test_dense_times_lie_within_the_interval() -> None:
    config = EchoConfig.of(teacher_grid="dense", teacher_grid_steps=50)
    times = teacher_times(config, 999, 879)
    assert times == [979, 959, 939, 919, 899]
    assert teacher_times(config.updated({"rho": 0.5}), 999, 879) == [939, 919, 899]


def test_interval_times_start_at_rho_and_are_n_max() -> None:
    config = EchoConfig.of(teacher_grid="interval", teacher_max_steps=3, renoise_position=0.95)
    times = teacher_times(config, 999, 879)
    assert times == [993, 955, 917]
    assert all(879 < s < 999 for s in times)


@pytest.mark.parametrize("grid", ["dense", "interval"])
def test_an_interval_too_narrow_for_the_grid_still_has_one_time(grid: str) -> None:
    config = EchoConfig.of(teacher_grid_steps=5).updated({"teacher_grid": grid, "renoise_position": 0})
    assert teacher_times(config, 500, 490) == [491]


def test_ramps() -> None:
    config = EchoConfig.of(steps=10, guided_fraction=1.0, warm_up=2, cool_down=2)
    assert [ramp(config, k) for k in (0, 1, 5, 8, 9)] == [0.5, 1, 1, 1, 0.5]
