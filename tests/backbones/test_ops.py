"""Fused kernels do what plain torch does, forward and backward: on a GPU, else in Triton's interpreter."""

import importlib.util
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

from motionecho.backbones import plain_ops, triton_ops

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VIDEOS, FRAMES, HEIGHT, WIDTH = 2, 5, 6, 3


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def randomised(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        for number, parameter in enumerate(norm.parameters()):
            parameter.copy_(1 + drawn(*parameter.shape, seed=number))
    return norm.requires_grad_(False)


def assert_same(function: Callable[..., Tensor], fused: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Values and gradients of all inputs agree, in float32 to rounding."""
    outcomes = []
    for run in (function, fused):
        leaves = [part.clone().requires_grad_() for part in inputs]
        out = run(*leaves)
        outcomes.append((out, *torch.autograd.grad((out * drawn(*out.shape, seed=9)).sum(), leaves)))
    for plain, kernel in zip(*outcomes, strict=True):
        torch.testing.assert_close(kernel, plain, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("over_time", "silu", "shifts", "channels"),
    [  # every two options together at least once: Triton's interpreter takes seconds for each
        (False, False, None, 32),
        (True, True, None, 96),
        (False, True, 1, 96),
        (True, False, 1, 32),
        (False, True, VIDEOS, 32),
        (True, False, VIDEOS, 96),
    ],
)
def test_group_norm(over_time: bool, silu: bool, shifts: int | None, channels: int) -> None:
    norm = randomised(nn.GroupNorm(32, channels)).to(DEVICE)
    shift = None if shifts is None else drawn(shifts, channels, seed=5)
    x = 3 * drawn(VIDEOS, FRAMES, HEIGHT, WIDTH, channels) + 1
    assert_same(
        lambda v: plain_ops.group_norm(v, norm, over_time, silu, shift),
        lambda v: triton_ops.group_norm(v, norm, over_time, silu, shift),
        x,
    )


def test_group_norm_of_many_rows_sums_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_ops, "PROGRAMS", 4)  # of four loops each
    norm = randomised(nn.GroupNorm(32, 32)).to(DEVICE)
    x = drawn(1, 8, 12, 12, 32) + 2
    assert_same(
        lambda v: plain_ops.group_norm(v, norm, True), lambda v: triton_ops.group_norm(v, norm, True), x
    )


def test_layer_norm() -> None:
    norm = randomised(nn.LayerNorm(48)).to(DEVICE)
    x = 2 * drawn(3, 7, 48) - 1
    assert_same(lambda v: plain_ops.layer_norm(v, norm), lambda v: triton_ops.layer_norm(v, norm), x)


@pytest.mark.parametrize("kept", [(0, 1), (0,), (1,)])
def test_sum_and_its_layer_norm(kept: tuple[int, ...]) -> None:
    norm = randomised(nn.LayerNorm(48)).to(DEVICE)
    x, y = 2 * drawn(3, 7, 48) - 1, drawn(3, 7, 48, seed=1)

    def of(ops: ModuleType) -> Callable[..., Tensor]:
        return lambda a, b: torch.stack([ops.add_norm(a, b, norm)[k] for k in kept])

    assert_same(of(plain_ops), of(triton_ops), x, y)


def test_geglu() -> None:
    assert_same(plain_ops.geglu, triton_ops.geglu, 2 * drawn(5, 19, 2 * 40))


@pytest.mark.parametrize(("frames", "width"), [(3, 16), (16, 24), (20, 16)])
def test_attention_over_time(frames: int, width: int) -> None:
    assert_same(plain_ops.attend_over_time, triton_ops.attend_over_time, drawn(2, frames, 5, 3, 2, width))


def test_sum_with_bias() -> None:
    bias = drawn(24, seed=3)
    x, y = drawn(3, 5, 24), drawn(3, 5, 24, seed=1)
    assert_same(lambda a, b: plain_ops.join(a, b, bias), lambda a, b: triton_ops.join(a, b, bias), x, y)
