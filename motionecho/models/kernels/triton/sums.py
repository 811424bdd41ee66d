"""Sums with biases."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

Ctx = Any  # what autograd keeps between forward and backward


@triton.jit
def _join(x_ptr, y_ptr, bias_ptr, out_ptr, count, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * BLOCK
    at = start + tl.arange(0, BLOCK)
    # by a constant a remainder is a multiplication, and 32 bits hold what is within a block
    channel = ((start % CHANNELS).to(tl.int32) + tl.arange(0, BLOCK)) % CHANNELS
    mask = at < count
    total = tl.load(x_ptr + at, mask, 0.0).to(tl.float32) + tl.load(y_ptr + at, mask, 0.0).to(tl.float32)
    total += tl.load(bias_ptr + channel, mask, 0.0).to(tl.float32)
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, x: Tensor, y: Tensor, bias: Tensor) -> Tensor:
        out = torch.empty_like(x)
        _join[(triton.cdiv(x.numel(), 1024),)](x, y, bias, out, x.numel(), x.shape[-1], 1024)
        return out

    @staticmethod
    def backward(ctx: Ctx, d_out: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        return d_out, d_out, None


def join(x: Tensor, y: Tensor, bias: Tensor | None) -> Tensor:
    return x + y if bias is None else _Join.apply(x.contiguous(), y.contiguous(), bias)


@triton.jit
def _weave(
    parts_ptr, bias_ptr, out_ptr, height, width, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Write one row of a doubled picture."""
    frame, line = (tl.program_id(0) // (2 * height)).to(tl.int64), tl.program_id(0) % (2 * height)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    column, channel = at // CHANNELS, at % CHANNELS
    below, beside = line % 2, column % 2
    place = (frame * (height + 1) + line // 2 + below) * (width + 1) + column // 2 + beside
    mask = column < 2 * width
    part = tl.load(parts_ptr + (place * 4 + below * 2 + beside) * CHANNELS + channel, mask, 0.0)
    total = part.to(tl.float32) + tl.load(bias_ptr + channel, mask, 0.0).to(tl.float32)
    out = (frame * 2 * height + line) * 2 * width * CHANNELS
    tl.store(out_ptr + out + at, total.to(out_ptr.dtype.element_ty), mask)


def weave(parts: Tensor, bias: Tensor) -> Tensor:
    """Put four pictures together as `plain.weave` does; without a gradient."""
    n, height, width, channels = len(parts), parts.shape[1] - 1, parts.shape[2] - 1, len(bias)
    out = parts.new_empty((n, 2 * height, 2 * width, channels))
    _weave[(n * 2 * height, triton.cdiv(2 * width * channels, 2048))](
        parts.contiguous(), bias, out, height, width, channels, 2048
    )
    return out
