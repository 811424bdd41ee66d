"""The UNet on fused kernels, projections merged, is the plain one: prediction, maps and gradient."""

import importlib.util

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import Probe, Tap
from motionecho.models.kernels import plain
from motionecho.models.videocrafter.denoiser import SCHEDULE, EmbeddedScales, VideoCrafter
from motionecho.models.videocrafter.loading import load_unet
from motionecho.models.videocrafter.unet import UNet, fused
from motionecho.schedules import eps_of
from tests.models.videocrafter import public


def seen(denoiser: VideoCrafter, z: Tensor, text: Tensor) -> list[Tensor]:
    """Noise without a gradient; noise, maps and a gradient with one."""
    at, taps = SCHEDULE.at(600), tuple(Tap(layer) for layer in denoiser.layers["motionclone"])
    leaf, probe = z.clone().requires_grad_(), Probe(taps)
    with torch.no_grad():
        plain_x0 = denoiser.x0(z, at, text)
    x0 = denoiser.x0(leaf, at, text, probe).detach()
    maps = [probe.seen[tap] for tap in taps]
    (gradient,) = torch.autograd.grad(sum(part.square().mean() for part in maps), leaf)
    noise = [eps_of(z, each, at) for each in (plain_x0, x0)]
    return [*noise, *(part.detach() for part in maps), gradient]


@pytest.mark.parametrize(
    ("kind", "device"),
    [
        ("plain", "cpu"),
        pytest.param("triton", "cpu", marks=pytest.mark.slow),  # minutes in Triton's interpreter
        pytest.param("triton", "cuda", marks=pytest.mark.gpu),
    ],
)
def test_fused_is_plain(z: Tensor, text: Tensor, kind: str, device: str) -> None:
    ops = plain
    if kind == "triton":
        if importlib.util.find_spec("triton") is None:
            pytest.skip("triton is not installed")
        if device == "cpu" and torch.cuda.is_available():
            pytest.skip("the kernels are compiled where there is a GPU")
        from motionecho.models.kernels import triton as ops
    z, text = z[:1, :, :2].to(device), text[:1].to(device)

    def net() -> UNet:
        return load_unet(public.unet_state(turbo=True, seed=1)).to(device)

    slow, fast = (VideoCrafter(made, scales=EmbeddedScales()) for made in (net(), fused(net(), ops)))
    for before, after in zip(seen(slow, z, text), seen(fast, z, text), strict=True):
        assert float((before - after).norm() / before.norm()) < (1e-3 if device == "cpu" else 1e-2)  # TF32
