"""The UNet on fused kernels, projections merged, is the plain one: prediction, maps and gradient."""

import importlib
import importlib.util
from types import ModuleType

import pytest
import torch
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Probe, Tap
from motionecho.guidance.carrier import SidePath
from motionecho.guidance.lora import factors_in_frames, factors_over_time
from motionecho.models.kernels import plain
from motionecho.models.videocrafter.denoiser import SCHEDULE, EmbeddedScales, VideoCrafter
from motionecho.models.videocrafter.loading import load_unet
from motionecho.models.videocrafter.unet import UNet, beside, fused
from motionecho.schedules import eps_of
from tests.guidance.small import filled
from tests.models.videocrafter import public

SETTINGS = ReferenceSettings(strategy="motiondirector", lora_rank=2)


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


def operations(kind: str, device: str) -> ModuleType:
    if kind == "plain":
        return plain
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    if device == "cpu" and torch.cuda.is_available():
        pytest.skip("the kernels are compiled where there is a GPU")
    return importlib.import_module(f"motionecho.models.kernels.{kind}")


@pytest.mark.parametrize(
    ("kind", "device"),
    [
        ("plain", "cpu"),
        pytest.param("triton", "cpu", marks=pytest.mark.slow),  # minutes in Triton's interpreter
        pytest.param("triton", "cuda", marks=pytest.mark.gpu),
    ],
)
def test_fused_is_plain(z: Tensor, text: Tensor, kind: str, device: str) -> None:
    ops = operations(kind, device)
    z, text = z[:1, :, :2].to(device), text[:1].to(device)

    def net() -> UNet:
        return load_unet(public.unet_state(turbo=True, seed=1)).to(device)

    slow, fast = (VideoCrafter(made, scales=EmbeddedScales()) for made in (net(), fused(net(), ops)))
    for before, after in zip(seen(slow, z, text), seen(fast, z, text), strict=True):
        assert float((before - after).norm() / before.norm()) < (1e-3 if device == "cpu" else 1e-2)  # TF32


@pytest.mark.parametrize(
    "device",
    [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)],
)
def test_factors_beside_kernels_have_the_slopes_of_those_beside_plain_layers(
    z: Tensor, text: Tensor, device: str
) -> None:
    ops, slopes = operations("trained", device), []
    z, text = z[:1, :, :2].to(device), text[:1].to(device)
    for kernels in (plain, ops):
        net = load_unet(public.unet_state(turbo=True, seed=1)).to(device)
        denoiser = VideoCrafter(beside(net, kernels), scales=EmbeddedScales())
        net.enable_gradient_checkpointing()
        parts = factors_over_time(denoiser, z, SETTINGS) | factors_in_frames(denoiser, z, SETTINGS)
        leaves = {name: tensor.to(device).requires_grad_() for name, tensor in filled(parts).items()}
        with SidePath(leaves).on(net):
            denoiser.x0(z, SCHEDULE.at(600), text).square().mean().backward()
        slopes.append(leaves)
    # where a frame is one pixel, queries have no slope but rounding's: it counts against the largest
    before, after = ({name: leaf.grad for name, leaf in leaves.items()} for leaves in slopes)
    floor = 1e-5 * max(slope.norm() for slope in before.values())
    for name, slope in before.items():
        assert float((slope - after[name]).norm()) <= 1e-2 * slope.norm() + floor, name
