"""Inputs and networks shared by the tests of VideoCrafter: 2 videos of 4 frames, latents of 8x8."""

import pytest
import torch
from torch import Tensor

from motionecho.models.videocrafter.denoiser import EmbeddedScales, VideoCrafter
from motionecho.models.videocrafter.loading import load_unet
from tests.models.videocrafter import public


@pytest.fixture(scope="session")
def teacher() -> VideoCrafter:
    return VideoCrafter(load_unet(public.unet_state()))


@pytest.fixture(scope="session")
def student() -> VideoCrafter:
    return VideoCrafter(load_unet(public.unet_state(turbo=True, seed=1)), scales=EmbeddedScales())


@pytest.fixture
def z() -> Tensor:
    return torch.randn(2, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def text() -> Tensor:
    return torch.randn(2, 77, public.TEXT_WIDTH, generator=torch.Generator().manual_seed(1))
