"""AnimateDiff's UNet on fused kernels is diffusers' own: prediction, maps and gradient."""

import importlib.util

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import Probe, Tap, observe
from motionecho.models.animatediff.fused import fused
from motionecho.models.animatediff.loading import empty_unet
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.animatediff.pair import SCHEDULE
from motionecho.models.kernels import plain
from motionecho.models.weights.checkpoint import shapes
from motionecho.models.weights.random_weights import random_tensors
from motionecho.schedules import eps_of, trailing

LAYERS = tuple(f"up_blocks.1.motion_modules.{k}.transformer_blocks.0.attn1" for k in (0, 2))
FRAMES, TEXT = 2, 24


def network(device: str) -> MotionUNet:
    """Narrow, with modules in the middle too, and heads whose width is no power of two."""
    net = empty_unet((96, 192, 192, 192), TEXT, middle=True, length=8).to_empty(device=device)
    net.load_state_dict(random_tensors(shapes(net.state_dict()), 3))
    return MotionUNet(net.eval().requires_grad_(False), trailing, {"motionclone": LAYERS})


def seen(denoiser: MotionUNet, z: Tensor, text: Tensor) -> list[Tensor]:
    """Noise without a gradient; noise, maps and a gradient with one; maps of a pass that ends early."""
    at, taps = SCHEDULE.at(600), tuple(Tap(layer) for layer in LAYERS)
    leaf, probe = z.clone().requires_grad_(), Probe(taps)
    with torch.no_grad():
        plain = denoiser.x0(z, at, text)
    early = observe(denoiser, z, at, text, taps)
    x0 = denoiser.x0(leaf, at, text, probe)
    maps = [probe.seen[tap] for tap in taps]
    (gradient,) = torch.autograd.grad(sum(part.square().mean() for part in maps), leaf)
    noise = [eps_of(z, each, at) for each in (plain, x0)]
    return [part.detach() for part in (*noise, *maps, gradient, *early.seen.values())]


@pytest.mark.parametrize(
    ("kind", "device", "batch"),
    [
        ("plain", "cpu", 1),
        ("plain", "cpu", 2),
        pytest.param("triton", "cpu", 1, marks=pytest.mark.slow),  # minutes in Triton's interpreter
        pytest.param("triton", "cuda", 1, marks=pytest.mark.gpu),
        pytest.param("triton", "cuda", 2, marks=pytest.mark.gpu),
    ],
)
def test_fused_is_plain(kind: str, device: str, batch: int) -> None:
    ops = plain
    if kind == "triton":
        if importlib.util.find_spec("triton") is None:
            pytest.skip("triton is not installed")
        if device == "cpu" and torch.cuda.is_available():
            pytest.skip("the kernels are compiled where there is a GPU")
        from motionecho.models.kernels import triton as ops
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(batch, 4, FRAMES, 8, 8, generator=generator).to(device)
    text = torch.randn(batch, 7, TEXT, generator=generator).to(device)
    before = seen(network(device), z, text)
    denoiser = network(device)
    fused(denoiser.network, ops)
    for one, other in zip(before, seen(denoiser, z, text), strict=True):
        assert float((one - other).norm() / one.norm()) < (1e-4 if device == "cpu" else 1e-2)  # TF32
