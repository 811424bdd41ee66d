"""Fused kernels of transformers' tokens do what plain torch does: on a GPU, else in Triton's interpreter."""

import importlib.util

import pytest
import torch
from torch import Tensor, nn

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

from motionecho.device import repeatable
from motionecho.models.kernels import plain, triton
from motionecho.models.kernels.triton import in_frame
from tests.models.test_kernels import DEVICE, assert_same, drawn, randomised

EPS = 1e-6
VIDEOS, TOKENS, CHANNELS = 2, 5, 36


def vectors(each: bool, seed: int) -> Tensor:
    """Numbers by channel, of all videos or of each as a view of a larger table has them."""
    table = drawn(VIDEOS, 6, CHANNELS, seed=seed)
    return table[:, 2] if each else table[0, 1]


@pytest.mark.parametrize("each", [False, True])
def test_norm_scaled_by_the_time(each: bool) -> None:
    scale, shift = vectors(each, 1), vectors(each, 2)
    assert_same(
        lambda x: plain.scaled_norm(x, scale, shift, EPS),
        lambda x: triton.scaled_norm(x, scale, shift, EPS),
        3 * drawn(VIDEOS, TOKENS, CHANNELS) - 1,
    )


@pytest.mark.parametrize("kept", [(0, 1), (0,), (1,)])
@pytest.mark.parametrize("gated", [False, True])
def test_gated_sum_and_its_norm(gated: bool, kept: tuple[int, ...]) -> None:
    gate, scale, shift = (vectors(gated, seed) for seed in (1, 2, 3))

    def of(ops):
        def run(x: Tensor, y: Tensor) -> Tensor:
            both = ops.add_scaled_norm(x, y, gate if gated else None, scale, shift, EPS)
            return torch.stack([both[k] for k in kept])

        return run

    x, y = drawn(2, VIDEOS, TOKENS, CHANNELS, seed=4)
    assert_same(of(plain), of(triton), 2 * x + 1, y)


def test_gated_sum() -> None:
    gate, (x, y) = vectors(True, 1), drawn(2, VIDEOS, 11, CHANNELS)
    assert_same(lambda a, b: plain.add_gated(a, b, gate), lambda a, b: triton.add_gated(a, b, gate), x, y)


def tables(tokens: int, width: int) -> tuple[Tensor, Tensor]:
    angles = drawn(tokens, width // 2, seed=8).repeat_interleave(2, -1)[None, :, None]
    return angles.cos(), angles.sin()


@pytest.mark.parametrize(("heads", "width"), [(3, 12), (2, 16)])
@pytest.mark.parametrize("turned", [False, True])
def test_rms_norm_over_all_heads_and_the_turn(turned: bool, heads: int, width: int) -> None:
    norm = randomised(nn.RMSNorm(heads * width, eps=EPS)).to(DEVICE)
    rotation = tables(TOKENS, width) if turned else None

    def of(ops):  # of the second of three parts that lie side by side
        return lambda x: ops.rms_norm(x[:, :, 1], norm, rotation)

    assert_same(of(plain), of(triton), 2 * drawn(VIDEOS, TOKENS, 3, heads, width))


@pytest.mark.filterwarnings("ignore:overflow encountered")  # which is infinity, as on a GPU
def test_gelu_of_large_and_small_numbers() -> None:
    x = torch.cat(
        [drawn(40), 3 * drawn(40, seed=1), torch.tensor([-300.0, -9.0, 0.0, 9.0, 300.0]).to(DEVICE)]
    )
    assert_same(plain.gelu, triton.gelu, x)


def test_gelu_behind_a_layer() -> None:
    layer = randomised(nn.Linear(24, 40)).to(DEVICE)
    x = drawn(2, 7, 24) / 5
    assert_same(lambda v: plain.gelu_linear(v, layer), lambda v: triton.gelu_linear(v, layer), x)
    with torch.no_grad():
        torch.testing.assert_close(
            triton.gelu_linear(x, layer), plain.gelu_linear(x, layer), atol=1e-3, rtol=1e-3
        )


def test_rms_norm_of_a_video_s_channels() -> None:
    x, gamma = drawn(3, 11, 24), drawn(24, seed=1)
    x[0, 0] = 0
    torch.testing.assert_close(triton.rms_silu(x, gamma), plain.rms_silu(x, gamma), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("width", [16, 24])
def test_attention_whose_parts_are_apart(width: int) -> None:
    query, other = drawn(2, 70, 2, width), drawn(2, 2, 66, 2, width, seed=1)
    assert_same(plain.attend_apart, triton.attend_apart, query, *other)


@pytest.mark.gpu
@pytest.mark.parametrize("widest", [64, 128])
def test_wide_heads_in_half_precision_take_an_ordered_gradient(
    widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the library's kernel or by ours, of parts of one product: the same bits twice, and near float32."""
    monkeypatch.setattr(in_frame, "WIDEST", widest)
    qkv, slope = drawn(1, 700, 3, 3, 128), drawn(1, 700, 3, 128, seed=1)

    def run(ops, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        leaf = qkv.to(kind).requires_grad_()
        with repeatable():
            out = ops.attend_apart(*leaf.unbind(2))
            return out.detach(), torch.autograd.grad(out, leaf, slope.to(kind))[0]

    exact, found, again = run(plain, torch.float32), run(triton, torch.bfloat16), run(triton, torch.bfloat16)
    for wanted, one, other in zip(exact, found, again, strict=True):
        assert torch.equal(one, other)
        assert float((one.float() - wanted).norm() / wanted.norm()) < 2e-2


@pytest.mark.gpu
def test_in_half_precision_tokens_are_rounded_once() -> None:
    norm = randomised(nn.RMSNorm(384, eps=EPS)).to(DEVICE)
    layer = randomised(nn.Linear(384, 1024)).to(DEVICE)
    nn.init.normal_(layer.weight, std=0.05)
    scale, shift, gate = drawn(3, 2, 384, seed=1)
    x, y = drawn(2, 2, 333, 384, seed=2)
    rotation = tables(333, 128)

    def run(ops, kind: torch.dtype) -> list[Tensor]:
        for module in (norm, layer):
            module.to(torch.bfloat16).to(kind)
        a, b = x.bfloat16().to(kind), y.bfloat16().to(kind)
        with torch.no_grad():
            return [
                ops.scaled_norm(a, scale, shift, EPS),
                *ops.add_scaled_norm(a, b, gate, scale, shift, EPS),
                ops.add_gated(a, b, gate),
                ops.rms_norm(a.unflatten(-1, (3, 128)), norm, rotation),
                ops.gelu(a),
                ops.gelu_linear(a, layer),
            ]

    for wanted, found in zip(run(plain, torch.float32), run(triton, torch.bfloat16), strict=True):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), wanted, rtol=1e-2, atol=1e-2)
