"""Wan's blocks on fused kernels answer as diffusers' own do, and their gradients are the same."""

import importlib.util
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import Energy, Tap, observe
from motionecho.guidance.moft import MotionChannels
from motionecho.guidance.motionclone import Top1Between
from motionecho.guidance.steering import stack
from motionecho.models.kernels import plain
from motionecho.models.wan.denoiser import WanDenoiser
from motionecho.models.wan.fused import FusedWan
from motionecho.models.wan.loading import TRANSFORMER, original_name
from motionecho.models.weights.lora import beside
from motionecho.schedules import Flow, uniform
from tests.models.wan import public

GENERATOR = torch.Generator().manual_seed(0)
Z, REFERENCE, TEXT = (
    torch.randn(shape, generator=GENERATOR) for shape in ((2, 16, 2, 4, 6), (1, 16, 2, 4, 6), (2, 5, 32))
)
SCHEDULE = Flow(3.0)
AT = SCHEDULE.at(600.0)


def kernels() -> list[ModuleType]:
    if importlib.util.find_spec("triton") is None:
        return [plain]
    from motionecho.models.kernels import triton

    return [plain, triton]


MOTIONS = (MotionChannels(("blocks.2",), 400.0, 0.5), Top1Between(("blocks.2.attn1",), 400.0))


def made(ops: ModuleType | None, **how: Any) -> WanDenoiser:
    net, grid = how.pop("network", None) or public.network(), uniform(SCHEDULE)
    return FusedWan(net, grid, {}, ops=ops, **how) if ops else WanDenoiser(net, grid, {}, **how)


def looked(denoiser: WanDenoiser, motions: tuple[Energy, ...] = MOTIONS) -> list[Tensor]:
    """The answer, and of a motion in features and one in attention the loss and its gradient."""
    with torch.no_grad():
        found = [denoiser.x0(Z, AT, TEXT)]
    for energy in motions:
        probe = observe(denoiser, REFERENCE, SCHEDULE.at(400.0), TEXT[:1], energy.taps)
        target = stack([energy.target(probe)] * 2)
        look = denoiser.look(Z, AT, TEXT, energy, target)
        found += [look.x0, look.loss, look.gradient(torch.tensor([1.0, 3.0]))]
    return found


@pytest.mark.parametrize(("ops", "again"), [*((ops, False) for ops in kernels()), (plain, True)])
def test_it_answers_as_diffusers_does(ops: ModuleType, again: bool) -> None:
    motions = MOTIONS if ops is plain else MOTIONS[:1]  # Triton's interpreter takes its time
    fast, slow = looked(made(ops, checkpointing=again), motions), looked(made(None), motions)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-5)


def test_factors_beside_the_layers_take_part_and_the_teacher_shares_their_network() -> None:
    state = public.lora() | {
        "transformer.blocks.1.norm2.diff": torch.full((24,), 0.5),
        "transformer.blocks.0.attn1.to_q.diff_b": torch.full((24,), 0.3),
        "transformer.blocks.1.attn1.norm_k.diff": torch.full((24,), 0.3),
    }

    def both(ops: ModuleType | None) -> tuple[list[Tensor], list[Tensor]]:
        net = public.network()
        student = made(ops, network=net, using=beside(net, state, TRANSFORMER, original_name).on)
        return looked(student), looked(made(ops, network=net))

    for fast, slow in zip(both(plain), both(None), strict=True):
        for one, other in zip(fast, slow, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-4, atol=5e-5)


def test_merged_layers_keep_their_names_and_what_is_written_to_them_counts() -> None:
    fast, slow = made(plain), made(None)
    for name in ("blocks.0.attn1.to_v", "blocks.1.attn2.to_k", "blocks.2.attn1.to_out.0"):
        for denoiser in (fast, slow):
            denoiser.weight(name).mul_(-1)
    with torch.no_grad():
        torch.testing.assert_close(fast.x0(Z, AT, TEXT), slow.x0(Z, AT, TEXT), rtol=2e-4, atol=2e-5)
        torch.testing.assert_close(  # diffusers' own module sees it, too
            fast.network(Z, torch.full((2,), 600.0), TEXT).sample,
            slow.network(Z, torch.full((2,), 600.0), TEXT).sample,
        )


def test_in_bfloat16_it_is_as_near_to_float32_as_diffusers_is() -> None:
    def answer(ops: ModuleType | None, dtype: torch.dtype) -> Tensor:
        net = public.network()
        for name, parameter in net.named_parameters():
            kept = any(part in net._keep_in_fp32_modules for part in name.split("."))
            parameter.data = parameter.data.to(torch.float32 if kept else dtype)
        with torch.no_grad():
            return made(ops, network=net).x0(Z, AT, TEXT)

    exact = answer(None, torch.float32)
    fast, slow = ((answer(ops, torch.bfloat16) - exact).norm() / exact.norm() for ops in (plain, None))
    assert fast < 1.2 * slow


def test_a_probe_sees_the_same_of_either() -> None:
    taps = (Tap("blocks.1.attn1", "queries"), Tap("blocks.1.attn1", "keys"), Tap("blocks.1", "features"))
    fast, slow = (observe(made(ops), Z, AT, TEXT, taps).seen for ops in (plain, None))
    for tap in taps:
        torch.testing.assert_close(fast[tap], slow[tap], rtol=2e-4, atol=2e-5)
