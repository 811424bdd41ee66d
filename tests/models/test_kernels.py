"""Fused kernels do what plain torch does, forward and backward: on a GPU, else in Triton's interpreter."""

import importlib.util
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

from motionecho.models.kernels import plain, triton
from motionecho.models.kernels.triton import group_norms, products

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
    for exact, found in zip(*outcomes, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=2e-5)


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
        lambda v: plain.group_norm(v, norm, over_time, silu, shift),
        lambda v: triton.group_norm(v, norm, over_time, silu, shift),
        x,
    )


def test_group_norm_of_many_rows_sums_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_norms, "PROGRAMS", 4)  # of four loops each
    norm = randomised(nn.GroupNorm(32, 32)).to(DEVICE)
    x = drawn(1, 8, 12, 12, 32) + 2
    assert_same(lambda v: plain.group_norm(v, norm, True), lambda v: triton.group_norm(v, norm, True), x)


def test_layer_norm() -> None:
    norm = randomised(nn.LayerNorm(48)).to(DEVICE)
    x = 2 * drawn(3, 7, 48) - 1
    assert_same(lambda v: plain.layer_norm(v, norm), lambda v: triton.layer_norm(v, norm), x)


@pytest.mark.parametrize("kept", [(0, 1), (0,), (1,)])
def test_sum_and_its_layer_norm(kept: tuple[int, ...]) -> None:
    norm = randomised(nn.LayerNorm(48)).to(DEVICE)
    layer = randomised(nn.Linear(40, 48)).to(DEVICE)
    x, y = 2 * drawn(3, 7, 48) - 1, drawn(3, 7, 40, seed=1) / 40

    def of(ops: ModuleType) -> Callable[..., Tensor]:
        return lambda a, b: torch.stack([ops.add_norm(a, b, layer, norm)[k] for k in kept])

    assert_same(of(plain), of(triton), x, y)


def test_geglu() -> None:
    layer = randomised(nn.Linear(24, 2 * 40)).to(DEVICE)
    assert_same(lambda x: plain.geglu(x, layer), lambda x: triton.geglu(x, layer), drawn(5, 19, 24) / 5)


@pytest.mark.parametrize(("rows", "depth", "width"), [(130, 72, 136), (1200, 64, 24)])
def test_products_end_in_what_follows_them(
    monkeypatch: pytest.MonkeyPatch, rows: int, depth: int, width: int
) -> None:
    """Tiles that the sizes do not fill, without a gradient: only the result is rounded."""
    monkeypatch.setattr(products, "_worth_it", lambda *_: True)
    y, more = drawn(2, rows // 2, depth).half(), drawn(2, rows // 2, width, seed=3).half()
    one, two = (randomised(nn.Linear(depth, n)).to(DEVICE) for n in (width, 2 * width))
    for layer in (one, two):
        layer.weight.copy_(drawn(*layer.weight.shape, seed=1).half() / depth**0.5)
    norm = randomised(nn.LayerNorm(width)).to(DEVICE)

    def run(ops: ModuleType, kind: torch.dtype) -> list[Tensor]:
        for module in (one, two, norm):
            module.half().to(kind)
        return [
            ops.geglu(y.to(kind), two),
            ops.add_linear(more.to(kind), y.to(kind), one),
            *ops.add_norm(more.to(kind), y.to(kind), one, norm),
        ]

    exact = run(plain, torch.float32)
    for wanted, found in zip(exact, run(triton, torch.float16), strict=True):
        torch.testing.assert_close(found.float(), wanted, rtol=2e-3, atol=4e-3)


def test_only_large_products_without_a_gradient_are_worth_it() -> None:
    x = torch.zeros(2, 64, 64, dtype=torch.float16, device=DEVICE, requires_grad=True)
    assert not products._worth_it(x, 64, products.SUMMED)  # a backward pass would follow
    with torch.no_grad():
        assert not products._worth_it(x, 64, products.SUMMED)  # one tile
        assert not products._worth_it(x.float(), 64, products.SUMMED)


@pytest.mark.parametrize(("tokens", "heads", "width"), [(70, 2, 16), (64, 1, 64), (9, 3, 24)])
def test_attention_in_a_frame(tokens: int, heads: int, width: int) -> None:
    assert_same(plain.attend, triton.attend, drawn(2, tokens, 3, heads, width))


@pytest.mark.parametrize("width", [16, 24])
def test_attention_to_text_of_another_length(width: int) -> None:
    key, value = drawn(2, 77, 2, width, seed=1), drawn(2, 77, 2, width, seed=2)
    assert_same(
        lambda query: plain.attend_to(query, key, value),
        lambda query: triton.attend_to(query, key, value),
        drawn(2, 70, 2, width),
    )


@pytest.mark.parametrize("width", [64, 40])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.gpu
def test_attention_in_half_precision(kind: torch.dtype, width: int) -> None:
    """Compare by whichever kernels the card has, with and without a gradient: off as far as rounding goes."""
    qkv, text = drawn(4, 300, 3, 5, width), drawn(2, 4, 77, 5, width, seed=1)
    slope = drawn(4, 300, 5, width, seed=2)

    def run(ops: ModuleType, kind: torch.dtype) -> list[Tensor]:
        leaf = qkv.to(kind).requires_grad_()
        ours = ops.attend(leaf)
        seen = ops.attend_to(ours, *text.to(kind))
        (gradient,) = torch.autograd.grad(seen, leaf, slope.to(kind))
        with torch.no_grad():
            return [ours, seen, gradient, ops.attend_to(ops.attend(leaf), *text.to(kind))]

    tolerance = 3e-3 if kind == torch.float16 else 2e-2
    for exact, found in zip(run(plain, torch.float32), run(triton, kind), strict=True):
        assert float((found.float() - exact).norm() / exact.norm()) < tolerance


def test_a_doubled_picture_is_woven_of_its_parts() -> None:
    parts, bias = drawn(2, 4, 6, 2, 2, 24), drawn(24, seed=1)
    torch.testing.assert_close(triton.weave(parts, bias), plain.weave(parts, bias))


@pytest.mark.parametrize(("frames", "width"), [(3, 16), (16, 24), (20, 16)])
def test_attention_over_time(frames: int, width: int) -> None:
    assert_same(plain.attend_over_time, triton.attend_over_time, drawn(2, frames, 5, 3, 2, width))


def test_sum_with_bias() -> None:
    bias = drawn(24, seed=3)
    x, y = drawn(3, 5, 24), drawn(3, 5, 24, seed=1)
    assert_same(lambda a, b: plain.join(a, b, bias), lambda a, b: triton.join(a, b, bias), x, y)
