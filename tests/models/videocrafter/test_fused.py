"""The UNet on fused kernels, projections merged, is the plain one: prediction, maps and gradient."""

import importlib.util

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import Probe
from motionecho.models.kernels import plain
from motionecho.models.videocrafter.backbone import EmbeddedScales, VideoCrafter
from motionecho.models.videocrafter.loading import load_unet
from motionecho.models.videocrafter.unet import UNet, fused
from tests.models.videocrafter import public


def seen(backbone: VideoCrafter, z: Tensor, text: Tensor) -> list[Tensor]:
    """Noise without a gradient; noise, maps and a gradient with one."""
    leaf, probe = z.clone().requires_grad_(), Probe(backbone.layers)
    with torch.no_grad():
        eps_plain = backbone.denoise(z, 600, text)
    eps = backbone.denoise(leaf, 600, text, probe)
    maps = [probe.maps[layer] for layer in backbone.layers]
    (gradient,) = torch.autograd.grad(sum(part.square().mean() for part in maps), leaf)
    return [eps_plain, eps.detach(), *(part.detach() for part in maps), gradient]


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
