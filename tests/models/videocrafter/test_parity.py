"""The numbers stay those that were found equal to the public code on the same weights."""

import pytest
import torch

from motionecho.models.videocrafter.denoiser import SCHEDULE, TURBO_V1_GRID, TURBO_V2_GRID
from motionecho.models.videocrafter.signal import scale_embedding, sinusoid
from tests.models.videocrafter import expected

FROZEN = expected.frozen()


@pytest.fixture(scope="module")
def now() -> dict[str, torch.Tensor]:
    return expected.compute()


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_outputs_are_as_frozen(now, name: str) -> None:
    error = (now[name] - FROZEN[name]).abs().max() / FROZEN[name].abs().max()
    assert error < (1e-4 if name.endswith("gradient") else 2e-5)


def test_embeddings_follow_their_formulas() -> None:
    scale = scale_embedding(torch.tensor([7.5]))[0].double()
    slowest = torch.tensor(7.5 * 1000 * 10000.0**-1)
    assert scale[127] == pytest.approx(slowest.sin().item(), abs=1e-5)  # sines first, down to 1/10000
    assert scale[255] == pytest.approx(slowest.cos().item(), abs=1e-5)
    time = sinusoid(torch.tensor([3]), 320)[0].double()
    assert time[0] == pytest.approx(torch.tensor(3.0).cos().item(), abs=1e-6)  # cosines first
    assert time[319] == pytest.approx(torch.tensor(3 * 10000.0 ** (-159 / 160)).sin().item(), abs=1e-6)


def test_schedule_and_timesteps_are_the_published_ones() -> None:
    published = {999: 0.00466, 939: 0.00932, 874: 0.01843, 749: 0.05662, 499: 0.27767, 249: 0.67543}
    for t, value in published.items():
        assert SCHEDULE.alphas_cumprod[t] == pytest.approx(value, abs=1e-5)
    assert TURBO_V2_GRID(4) == [999, 749, 499, 249]
    assert TURBO_V2_GRID(8) == [999, 874, 749, 624, 499, 374, 249, 124]
    assert TURBO_V2_GRID(16) == [999 - 60 * k for k in range(16)]
    assert TURBO_V1_GRID(8) == [999 - 120 * k for k in range(8)]
