"""Schedules and grids against the published numbers."""

from itertools import pairwise

import pytest
import torch

from motionecho.schedules import Consistency, EulerTrailing, NoiseSchedule, uniform_grid

LVDM = NoiseSchedule.from_betas(0.00085, 0.012, "scaled_linear")
LINEAR = NoiseSchedule.from_betas(0.00085, 0.012)


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
def test_alphas_cumprod(schedule: NoiseSchedule, t: int, value: float) -> None:
    assert schedule.alphas_cumprod[t] == pytest.approx(value, abs=6e-6)
    assert schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 == pytest.approx(1)


@pytest.mark.parametrize(
    ("origin", "steps", "times"),
    [
        (200, 8, [999, 874, 749, 624, 499, 374, 249, 124]),
        (200, 4, [999, 749, 499, 249]),
        (50, 8, [999, 879, 759, 639, 519, 399, 279, 159]),
        (50, 4, [999, 759, 519, 279]),
    ],
)
def test_consistency_timesteps(origin: int, steps: int, times: list[int]) -> None:
    assert Consistency(origin).timesteps(steps) == times


def test_consistency_refuses_more_steps_than_it_was_distilled_for() -> None:
    with pytest.raises(ValueError, match="between 1 and 50"):
        Consistency(50).timesteps(51)


def test_trailing_timesteps() -> None:
    assert EulerTrailing().timesteps(8) == [999, 874, 749, 624, 499, 374, 249, 124]
    assert EulerTrailing().timesteps(4) == [999, 749, 499, 249]


def test_noising_and_prediction_are_inverse() -> None:
    x0, eps = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).split(1)
    for t in (0, 400, 999):
        assert torch.allclose(LVDM.x0(LVDM.add_noise(x0, eps, t), eps, t), x0, atol=1e-4)


def test_consistency_boundary() -> None:
    """c_skip -> 1 at t = 0: the prediction is the input; far from it, the plain clean prediction."""
    z, eps = torch.ones(1), torch.full((1,), 0.3)
    assert torch.allclose(Consistency().x0(LVDM, z, eps, 0), z)
    assert torch.allclose(Consistency().x0(LVDM, z, eps, 999), LVDM.x0(z, eps, 999), rtol=1e-4)


def test_uniform_grid_descends_from_999() -> None:
    grid = uniform_grid(50)
    assert (grid[0], len(grid)) == (999, 50)
    assert all(a > b > 0 for a, b in pairwise(grid))
