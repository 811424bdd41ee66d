"""Matrix products that end in what follows them: a gate, a sum. Nothing in between is written.

Where a backward pass will follow, which wants what is in between, the library multiplies; also where there
is less to do than a card has room for, and on cards whose tiles do not move by themselves (TMA).
"""

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor, nn
from triton.tools.tensor_descriptor import TensorDescriptor

from motionecho.device import has_tma
from motionecho.models.kernels.triton import layer_norms

# Rows, columns and depth of what a program multiplies at a time: on an H100 the best of a dozen, or nearly,
# at every size of the networks.
GATED, SUMMED = (128, 64, 64), (128, 128, 64)
BAND = 8  # tiles: programs at work at one time share rows and weights
FEWEST = 128  # tiles that are worth it
Ctx = Any  # what autograd keeps between forward and backward
Linear = Any


@triton.jit
def _place(rows, width, ROWS: tl.constexpr, COLS: tl.constexpr, BAND: tl.constexpr):
    """Find first row and column of this program's tile: programs walk down a band of tiles, then the next."""
    band = BAND * tl.cdiv(width, COLS)
    first = tl.program_id(0) // band * BAND
    high = tl.minimum(tl.cdiv(rows, ROWS) - first, BAND)
    return (first + tl.program_id(0) % band % high) * ROWS, tl.program_id(0) % band // high * COLS


@triton.jit
def _gated(
    x_desc, weight_desc, bias_ptr, y_desc, rows, width, depth,
    ROWS: tl.constexpr, COLS: tl.constexpr, DEPTH: tl.constexpr, BAND: tl.constexpr,
):  # fmt: skip
    """Compute value * gelu(gate), each x @ weight.T + bias."""
    row, col = _place(rows, width, ROWS, COLS, BAND)
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


@triton.jit
def _summed(
    more_desc, x_desc, weight_desc, bias_ptr, y_desc, rows, width, depth,
    ROWS: tl.constexpr, COLS: tl.constexpr, DEPTH: tl.constexpr, BAND: tl.constexpr,
):  # fmt: skip
    """Compute more + x @ weight.T + bias."""
    row, col = _place(rows, width, ROWS, COLS, BAND)
    total = tl.zeros([ROWS, COLS], tl.float32)
    for start in range(0, depth, DEPTH):
        total = tl.dot(x_desc.load([row, start]), weight_desc.load([col, start]).T, total)
    at = col + tl.arange(0, COLS)
    total += tl.load(bias_ptr + at, at < width, 0.0).to(tl.float32)[None, :]
    total += more_desc.load([row, col]).to(tl.float32)
    y_desc.store([row, col], total.to(y_desc.dtype))


def geglu(x: Tensor, layer: Linear) -> Tensor:
    """Project and gate as `plain.geglu` does."""
    width = len(layer.weight) // 2
    if not _worth_it(x, width, GATED):
        return _Geglu.apply(F.linear(x, layer.weight, layer.bias))
    rows, cols, depth = GATED
    y = x.new_empty((*x.shape[:-1], width))
    _gated[_tiles(x, width, GATED)](
        _tiled(x, rows, depth), _tiled(layer.weight, cols, depth), layer.bias, _tiled(y, rows, cols),
        y.numel() // width, width, x.shape[-1], *GATED, BAND, num_warps=4, num_stages=2,
    )  # fmt: skip
    return y


def add_linear(x: Tensor, y: Tensor, layer: Linear) -> Tensor:
    """Project and add as `plain.add_linear` does."""
    weight, width = layer.weight.flatten(1), len(layer.weight)
    if not _worth_it(y, width, SUMMED, x):
        return x + F.linear(y, weight, layer.bias)
    rows, cols, depth = SUMMED
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    _summed[_tiles(y, width, SUMMED)](
        _tiled(x, rows, cols), _tiled(y, rows, depth), _tiled(weight, cols, depth), layer.bias,
        _tiled(out, rows, cols), x.numel() // width, width, y.shape[-1], *SUMMED, BAND,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    return out


def add_norm(x: Tensor, y: Tensor, layer: Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Project, add and normalise as `plain.add_norm` does."""
    if not _worth_it(y, len(layer.weight), SUMMED, x):
        return layer_norms.add_norm(x, F.linear(y, layer.weight, layer.bias), norm)
    total = add_linear(x, y, layer)
    return total, layer_norms.layer_norm(total, norm)


def _worth_it(x: Tensor, width: int, tile: tuple[int, int, int], *more: Tensor) -> bool:
    steered = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *more))
    if steered or x.dtype == torch.float32 or not has_tma(x.device):
        return False
    whole = x.shape[-1] % 8 == 0 and width % 8 == 0  # what moves is a multiple of 16 bytes
    return whole and _tiles(x, width, tile)[0] >= FEWEST


def _tiles(x: Tensor, width: int, tile: tuple[int, int, int]) -> tuple[int]:
    return (triton.cdiv(x.numel() // x.shape[-1], tile[0]) * triton.cdiv(width, tile[1]),)


def _tiled(x: Tensor, rows: int, cols: int) -> TensorDescriptor:
    return TensorDescriptor.from_tensor(x.reshape(-1, x.shape[-1]), [rows, cols])


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
