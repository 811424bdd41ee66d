"""The gated linear unit: by itself where a backward pass will follow, else at the end of its projection."""

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from motionecho.backbones.device import has_tma

TILE = (128, 64, 64)  # rows, columns and depth of what a program multiplies at a time
BAND = 8
Ctx = Any  # what autograd keeps between forward and backward


@triton.jit
def _geglu(x_ptr, dy_ptr, y_ptr, rows, width, ROWS: tl.constexpr, COLS: tl.constexpr, BACKWARD: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    mask = (row < rows)[:, None] & (col < width)[None, :]
    both = row.to(tl.int64)[:, None] * (2 * width) + col[None, :]
    one = row.to(tl.int64)[:, None] * width + col[None, :]
    value = tl.load(x_ptr + both, mask, 0.0).to(tl.float32)
    gate = tl.load(x_ptr + both + width, mask, 0.0).to(tl.float32)
    share = 0.5 * (1.0 + tl.erf(gate * 0.7071067811865476))
    if BACKWARD:
        dy = tl.load(dy_ptr + one, mask, 0.0).to(tl.float32)
        density = 0.3989422804014327 * tl.exp(-0.5 * gate * gate)
        kind = y_ptr.dtype.element_ty
        tl.store(y_ptr + both, (dy * gate * share).to(kind), mask)
        tl.store(y_ptr + both + width, (dy * value * (share + gate * density)).to(kind), mask)
    else:
        tl.store(y_ptr + one, (value * gate * share).to(y_ptr.dtype.element_ty), mask)


class _Geglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _Geglu.launch(x, x, x.new_empty((*x.shape[:-1], x.shape[-1] // 2)), backward=False)

    @staticmethod
    def backward(ctx: Ctx, dy: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return _Geglu.launch(x, dy.contiguous(), torch.empty_like(x), backward=True)

    @staticmethod
    def launch(x: Tensor, dy: Tensor, y: Tensor, backward: bool) -> Tensor:
        width = x.shape[-1] // 2
        rows = x.numel() // x.shape[-1]
        _geglu[(triton.cdiv(rows, 16), triton.cdiv(width, 256))](x, dy, y, rows, width, 16, 256, backward)
        return y


@triton.jit
def _projected(
    x_desc, weight_desc, bias_ptr, y_desc, rows, width, depth,
    ROWS: tl.constexpr, COLS: tl.constexpr, DEPTH: tl.constexpr, BAND: tl.constexpr,
):  # fmt: skip
    """A tile of value * gelu(gate), each x @ weight.T + bias [rows, width]; nothing else is written.

    Programs walk down bands of `BAND` tiles, so that those at work at one time share rows and weights.
    """
    band = BAND * tl.cdiv(width, COLS)
    first = tl.program_id(0) // band * BAND
    high = tl.minimum(tl.cdiv(rows, ROWS) - first, BAND)
    row = (first + tl.program_id(0) % band % high) * ROWS
    col = tl.program_id(0) % band // high * COLS
    value, gate = tl.zeros([ROWS, COLS], tl.float32), tl.zeros([ROWS, COLS], tl.float32)
    for start in range(0, depth, DEPTH):
        x = x_desc.load([row, start])
        value = tl.dot(x, weight_desc.load([col, start]).T, value)
        gate = tl.dot(x, weight_desc.load([width + col, start]).T, gate)
    at = col + tl.arange(0, COLS)
    value += tl.load(bias_ptr + at, at < width, 0.0).to(tl.float32)[None, :]
    gate += tl.load(bias_ptr + width + at, at < width, 0.0).to(tl.float32)[None, :]
    out = value * gate * 0.5 * (1.0 + tl.erf(gate * 0.7071067811865476))
    y_desc.store([row, col], out.to(y_desc.dtype))


def geglu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As in plain_ops."""
    steered = torch.is_grad_enabled() and x.requires_grad
    if steered or x.dtype == torch.float32 or not (x.device.type == "cpu" or has_tma(x.device)):
        return _Geglu.apply(F.linear(x, weight, bias))
    rows, width, depth = x.numel() // x.shape[-1], len(weight) // 2, x.shape[-1]
    y = x.new_empty((*x.shape[:-1], width))
    high, wide, deep = TILE
    _projected[(triton.cdiv(rows, high) * triton.cdiv(width, wide),)](
        TensorDescriptor.from_tensor(x.reshape(rows, depth), [high, deep]),
        TensorDescriptor.from_tensor(weight, [wide, deep]),
        bias,
        TensorDescriptor.from_tensor(y.view(rows, width), [high, wide]),
        rows, width, depth, *TILE, BAND, num_warps=4, num_stages=2,
    )  # fmt: skip
    return y
