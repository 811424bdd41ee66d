"""The fast autoencoder computes what diffusers' own does, with either kind of kernels."""

import copy
import importlib.util
from types import ModuleType

import pytest
import torch
from diffusers import AutoencoderKL

from motionecho.models.kernels import plain
from motionecho.models.speed.vae import fused
from motionecho.models.videocrafter.vae import empty_vae

ON_GPU = torch.cuda.is_available()


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    """Small, and with weights that do not vanish: the public layout's levels, shortcuts and attention."""
    torch.manual_seed(0)
    net = empty_vae((32, 32, 64, 64)).to_empty(device="cuda" if ON_GPU else "cpu")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2 if parameter.ndim < 2 else parameter[0].numel() ** -0.5)
    return net.requires_grad_(False)


def ops(kind: str) -> ModuleType:
    if kind == "plain":
        return plain
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    from motionecho.models.kernels import triton

    return triton


@pytest.mark.parametrize(
    "kind",
    # half a minute in Triton's interpreter
    ["plain", pytest.param("triton", marks=[] if ON_GPU else pytest.mark.slow)],
)
def test_the_same_latents_and_frames(vae: AutoencoderKL, kind: str) -> None:
    fast = fused(copy.deepcopy(vae), ops(kind))
    video, latents = torch.randn(2, 3, 16, 24).to(vae.device), torch.randn(2, 4, 2, 3).to(vae.device)
    # the GPU's default convolutions round as TF32 does
    close = {"rtol": 1e-2, "atol": 1e-2} if ON_GPU else {"rtol": 1e-3, "atol": 1e-4}
    for before, after in (
        (vae.encode(video).latent_dist.mode(), fast.encode(video).latent_dist.mode()),
        (vae.decode(latents).sample, fast.decode(latents).sample),
    ):
        assert after.shape == before.shape
        assert float(before.std()) > 0.1
        torch.testing.assert_close(after, before, **close)


@pytest.mark.gpu
def test_in_half_precision_and_full_width() -> None:
    torch.manual_seed(0)
    net = empty_vae().to_empty(device="cuda")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2 if parameter.ndim < 2 else parameter[0].numel() ** -0.5)
    net.requires_grad_(False)
    latents = torch.randn(3, 4, 16, 24, device="cuda")
    exact = net.decode(latents).sample
    fast = fused(net.half(), ops("triton"))
    error = (fast.decode(latents.half()).sample.float() - exact).norm() / exact.norm()
    assert float(error) < 1e-2
