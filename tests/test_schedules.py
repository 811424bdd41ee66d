"""Levels, schedules and grids against the published numbers."""

from itertools import pairwise

import pytest
import torch

from motionecho.schedules import (
    Discrete,
    Flow,
    Level,
    Schedule,
    boundary,
    climb,
    consistency,
    eps_of,
    renoise,
    trailing,
    uniform,
)

LVDM = Discrete.from_betas(0.00085, 0.012, "scaled_linear")
LINEAR = Discrete.from_betas(0.00085, 0.012)


@pytest.mark.parametrize(
    ("schedule", "t", "value"),
    [
        (LVDM, 999, 0.00466),
        (LVDM, 749, 0.05662),
        (LVDM, 399, 0.42609),
        (LINEAR, 999, 0.001579),
        (LINEAR, 499, 0.161812),
    ],
)
def test_alphas_cumprod(schedule: Discrete, t: int, value: float) -> None:
    at = schedule.at(t)
    assert at.alpha**2 == pytest.approx(value, abs=6e-6)
    assert at.alpha**2 + at.sigma**2 == pytest.approx(1)
    assert at.alpha**2 == pytest.approx(schedule.alphas_cumprod[t], rel=1e-15)


def test_between_two_steps_a_discrete_schedule_is_linear_in_alpha_squared() -> None:
    low, high, middle = LVDM.at(937), LVDM.at(938), LVDM.at(937.5)
    assert middle.t == 937.5
    assert middle.alpha**2 == pytest.approx((low.alpha**2 + high.alpha**2) / 2)
    assert middle.alpha**2 + middle.sigma**2 == pytest.approx(1)


def test_a_flow_is_straight() -> None:
    assert Flow().at(1000) == Level(1000.0, 0.0, 1.0)
    assert Flow().at(937.5) == Level(937.5, 0.0625, 0.9375)
    assert Flow().at(0) == Level(0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("origin", "steps", "times"),
    [
        (200, 8, [999, 874, 749, 624, 499, 374, 249, 124]),
        (200, 4, [999, 749, 499, 249]),
        (50, 8, [999, 879, 759, 639, 519, 399, 279, 159]),
        (50, 4, [999, 759, 519, 279]),
    ],
)
def test_consistency_times(origin: int, steps: int, times: list[int]) -> None:
    assert consistency(origin)(steps) == times


def test_consistency_refuses_more_steps_than_it_was_distilled_for() -> None:
    with pytest.raises(ValueError, match="between 1 and 50"):
        consistency(50)(51)


def test_trailing_times() -> None:
    assert trailing(8) == [999, 874, 749, 624, 499, 374, 249, 124]
    assert trailing(4) == [999, 749, 499, 249]


@pytest.mark.parametrize("schedule", [LVDM, Flow()])
def test_noising_and_prediction_are_inverse(schedule: Schedule) -> None:
    x0, eps = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).split(1)
    for t in (1.5, 400, 937.5, schedule.top):
        at = schedule.at(t)
        assert torch.allclose(eps_of(renoise(x0, eps, at), x0, at), eps, atol=1e-4)


@pytest.mark.parametrize("schedule", [LVDM, Flow()])
def test_climbing_along_given_noise_keeps_the_clean_video(schedule: Schedule) -> None:
    x0, eps = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).split(1)
    low, high = schedule.at(400), schedule.at(937.5)
    assert torch.allclose(climb(renoise(x0, eps, low), eps, low, high), renoise(x0, eps, high), atol=1e-5)


def test_consistency_boundary() -> None:
    """c_skip -> 1 at t = 0: the prediction is the input; far from it, the plain clean prediction."""
    z, x0 = torch.ones(1), torch.full((1,), 0.3)
    assert torch.allclose(boundary(z, x0, LVDM.at(0)), z)
    assert torch.allclose(boundary(z, x0, LVDM.at(999)), x0, rtol=1e-4)


@pytest.mark.parametrize(("schedule", "top"), [(LVDM, 999), (Flow(), 1000)])
def test_uniform_grid_descends_from_the_top(schedule: Schedule, top: float) -> None:
    grid = uniform(schedule)(50)
    assert (grid[0], len(grid)) == (top, 50)
    assert all(a > b > 0 for a, b in pairwise(grid))


def test_a_grid_of_a_discrete_schedule_is_of_whole_times() -> None:
    assert uniform(LVDM)(7) == [999, 856, 714, 571, 428, 285, 143]
    assert uniform(Flow())(8)[:2] == [1000, 875]
