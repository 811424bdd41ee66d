"""CogVideoX's schedule is that of its schedulers, and nothing divides by the alpha that is 0 at its top."""

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler

from motionecho.adaptive import itinerary
from motionecho.guidance.steering import STEEPEST, steepness
from motionecho.models.cogvideox.denoiser import CogVideoXDenoiser
from motionecho.models.cogvideox.forms import schedule_of
from motionecho.models.registry import pair_spec
from motionecho.schedules import clean, climb, eps_of, output_of, renoise, trailing
from tests.models.cogvideox import public

SCHEDULE = schedule_of()
OWN = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing",
       "clip_sample": False}  # fmt: skip
Z, X0 = public.noise(2, 4, 3, 8, 8).split(1)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_levels_are_the_schedulers(shift: float) -> None:
    theirs = CogVideoXDDIMScheduler(snr_shift_scale=shift, **OWN).alphas_cumprod.double()
    ours = torch.tensor(schedule_of(shift).alphas_cumprod, dtype=torch.float64)
    assert (ours - theirs).abs().max() < 1e-12
    assert schedule_of(shift).at(999).alpha == 0
    assert (schedule_of(1.0).at(500).alpha > schedule_of(3.0).at(500).alpha) == (shift >= 1)


@pytest.mark.parametrize("steps", [8, 50])
def test_the_grid_is_the_schedulers(steps: int) -> None:
    theirs = CogVideoXDPMScheduler(snr_shift_scale=1.0, **OWN)
    theirs.set_timesteps(steps)
    assert trailing(steps) == theirs.timesteps.tolist()


@pytest.mark.parametrize("t", [999, 874, 1])
def test_clean_video_and_noise_are_the_schedulers(t: int) -> None:
    theirs, v = CogVideoXDDIMScheduler(snr_shift_scale=1.0, **OWN), X0
    theirs.set_timesteps(1000)
    stepped = theirs.step(v, t, Z)
    at, to = SCHEDULE.at(t), SCHEDULE.at(t - 1)
    x0 = clean("v", Z, v, at)
    torch.testing.assert_close(x0, stepped.pred_original_sample, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(renoise(x0, eps_of(Z, x0, at), to), stepped.prev_sample, rtol=1e-4, atol=1e-5)


def test_everything_is_finite_at_pure_noise() -> None:
    top = SCHEDULE.at(SCHEDULE.top)
    assert (top.alpha, top.sigma) == (0, 1)
    assert torch.equal(clean("v", Z, X0, top), -X0)
    assert torch.equal(output_of("v", X0, Z, top), -X0)
    assert torch.equal(eps_of(Z, X0, top), Z)
    assert torch.equal(renoise(X0, Z, top), Z)
    assert torch.equal(climb(Z, X0, SCHEDULE.at(979), top), X0), "noise is all that is left"
    assert torch.equal(SCHEDULE.start(Z, top), Z)
    assert steepness(top) == STEEPEST
    assert steepness(SCHEDULE.at(959)) < STEEPEST, "the cap is for the very top"


def test_the_student_s_first_step_is_its_solver_s() -> None:
    """The solver of the LoRA begins with fresh noise alone; later it keeps up to .64 of what was there."""
    theirs = CogVideoXDPMScheduler(snr_shift_scale=1.0, **OWN)
    theirs.set_timesteps(8)
    stepped, x0 = theirs.step(X0, None, 999, None, Z, generator=torch.Generator().manual_seed(5))
    fresh = torch.randn(Z.shape, generator=torch.Generator().manual_seed(5))
    ours = clean("v", Z, X0, SCHEDULE.at(999))
    torch.testing.assert_close(ours, x0)
    torch.testing.assert_close(renoise(ours, fresh, SCHEDULE.at(874)), stepped, rtol=1e-4, atol=1e-5)
    kept = SCHEDULE.at(499), SCHEDULE.at(374)
    low, high = (at.alpha / at.sigma for at in kept)
    assert low / high == pytest.approx(0.644, abs=1e-3)


@pytest.mark.parametrize("grid", ["interval", "dense"])
def test_a_teacher_walks_within_the_student_s_steps(grid: str) -> None:
    config = pair_spec("cogvideox-5b").config(changes={"teacher_grid": grid, "guided_fraction": 1.0})
    denoiser = CogVideoXDenoiser(public.network(), trailing, {})
    steps = itinerary(config, SCHEDULE, denoiser, denoiser)
    assert [step.at.t for step in steps] == trailing(8)
    for step in steps:
        walk = [float(at.t) for at in step.walk]
        assert walk
        assert walk == sorted(walk, reverse=True)
        assert step.at.t > walk[0]
        assert walk[-1] > step.to.t
