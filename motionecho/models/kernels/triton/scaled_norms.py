"""What a transformer does to its tokens [b, n, c] between products: gated sums, norms scaled by the time.

Scales, shifts and gates are [c], or [b, c] of each video; they get no gradient.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

Ctx = Any  # what autograd keeps between forward and backward
AT_ONCE = 4096  # channels of whole tokens that a program holds: 32 a thread, which registers have room for
TILE = (8, 256)  # tokens and channels of a sum


@triton.jit
def _scaled_norm(
    x_ptr, more_ptr, dy_ptr, gate_ptr, scale_ptr, shift_ptr, kept_ptr, y_ptr, second_ptr,
    rows, channels, gate_stride, scale_stride, shift_stride, eps,
    ROWS: tl.constexpr, COLS: tl.constexpr, MORE: tl.constexpr, GATE: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """Forward y = scale norm(x) + shift; with MORE x becomes x + gate more before, and is written to second.

    Backward y is the gradient of x, with MORE including that of the sum, and second that of more.
    """
    item, row = tl.program_id(1).to(tl.int64), tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.arange(0, COLS)
    inside, whole = col < channels, row < rows
    mask = whole[:, None] & inside[None, :]
    at = (item * rows + row[:, None]) * channels + col[None, :]
    kept = kept_ptr + 2 * (item * rows + row[:, None])
    kind = y_ptr.dtype.element_ty
    x = tl.load(x_ptr + at, mask, 0.0).to(tl.float32)
    scale = tl.load(scale_ptr + item * scale_stride + col, inside, 0.0).to(tl.float32)[None, :]
    more = tl.zeros([ROWS, COLS], tl.float32)
    gate = tl.zeros([1, COLS], tl.float32) + 1.0
    if MORE:
        more = tl.load(more_ptr + at, mask, 0.0).to(tl.float32)
    if GATE:
        gate = tl.load(gate_ptr + item * gate_stride + col, inside, 0.0).to(tl.float32)[None, :]
    if BACKWARD:
        mean, rstd = tl.load(kept, whole[:, None], 0.0), tl.load(kept + 1, whole[:, None], 0.0)
        normal = tl.where(mask, (x - mean) * rstd, 0.0)
        slope = tl.load(dy_ptr + at, mask, 0.0).to(tl.float32) * scale
        along = tl.sum(slope * normal, 1)[:, None] / channels
        out = (slope - tl.sum(slope, 1)[:, None] / channels - normal * along) * rstd + more
        if GATE:
            tl.store(second_ptr + at, (out * gate).to(kind), mask)
    else:
        if MORE:
            total = (x + gate * more).to(kind)
            tl.store(second_ptr + at, total, mask)
            x = total.to(tl.float32)  # as the backward pass will read it
        mean = tl.sum(x, 1)[:, None] / channels
        centred = tl.where(mask, x - mean, 0.0)
        rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, 1)[:, None] / channels + eps)
        shift = tl.load(shift_ptr + item * shift_stride + col, inside, 0.0).to(tl.float32)[None, :]
        out = centred * rstd * scale + shift
        tl.store(kept, mean, whole[:, None])
        tl.store(kept + 1, rstd, whole[:, None])
    tl.store(y_ptr + at, out.to(kind), mask)


def _launch(
    x: Tensor, more: Tensor | None, dy: Tensor | None, gate: Tensor | None, scale: Tensor,
    shift: Tensor | None, kept: Tensor, second: Tensor | None, eps: float,
) -> Tensor:  # fmt: skip
    """Run the kernel, backward where there is a slope dy; what it does not use is None."""
    y, (items, rows, channels) = torch.empty_like(x), x.shape
    cols = triton.next_power_of_2(channels)
    at_once = max(1, AT_ONCE // cols)
    stand_ins = (x if part is None else part for part in (more, dy, gate, scale, shift))
    _scaled_norm[(triton.cdiv(rows, at_once), items)](
        x, *stand_ins, kept, y, y if second is None else second, rows, channels,
        *(0 if part is None or part.ndim == 1 else part.stride(0) for part in (gate, scale, shift)), eps,
        at_once, cols, more is not None, gate is not None, dy is not None,
        num_warps=4 if cols <= AT_ONCE else 8,
    )  # fmt: skip
    return y


def _moments_of_rows(x: Tensor) -> Tensor:
    return x.new_empty((x.numel() // x.shape[-1], 2), dtype=torch.float32)


class _ScaledNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
        kept = _moments_of_rows(x)
        ctx.save_for_backward(x, kept, scale)
        return _launch(x, None, None, None, scale, shift, kept, None, eps)

    @staticmethod
    def backward(ctx: Ctx, dy: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        x, kept, scale = ctx.saved_tensors
        return _launch(x, None, dy.contiguous(), None, scale, None, kept, None, 0.0), None, None, None


class _AddScaledNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Ctx, x: Tensor, y: Tensor, gate: Tensor | None, scale: Tensor, shift: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        total, kept = torch.empty_like(x), _moments_of_rows(x)
        normal = _launch(x, y, None, gate, scale, shift, kept, total, eps)
        ctx.save_for_backward(total, kept, scale, gate)
        return total, normal

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Ctx, d_total: Tensor, dy: Tensor
    ) -> tuple[Tensor, Tensor, None, None, None, None]:
        total, kept, scale, gate = ctx.saved_tensors
        second = None if gate is None else torch.empty_like(total)
        dx = _launch(total, d_total.contiguous(), dy.contiguous(), gate, scale, None, kept, second, 0.0)
        return dx, dx if second is None else second, None, None, None, None


@triton.jit
def _gated(
    x_ptr, y_ptr, gate_ptr, out_ptr, rows, channels, gate_stride,
    ROWS: tl.constexpr, COLS: tl.constexpr, ADD: tl.constexpr,
):  # fmt: skip
    """Compute gate * y, and with ADD the sum with x."""
    item, row = tl.program_id(2).to(tl.int64), tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    mask = (row < rows)[:, None] & (col < channels)[None, :]
    at = (item * rows + row[:, None]) * channels + col[None, :]
    gate = tl.load(gate_ptr + item * gate_stride + col, col < channels, 0.0).to(tl.float32)[None, :]
    out = gate * tl.load(y_ptr + at, mask, 0.0).to(tl.float32)
    if ADD:
        out += tl.load(x_ptr + at, mask, 0.0).to(tl.float32)
    tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty), mask)


class _AddGated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(gate)
        return _AddGated.launch(x, y, gate)

    @staticmethod
    def backward(ctx: Ctx, d_out: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        return d_out, _AddGated.launch(None, d_out.contiguous(), *ctx.saved_tensors), None

    @staticmethod
    def launch(x: Tensor | None, y: Tensor, gate: Tensor) -> Tensor:
        out, (items, rows, channels) = torch.empty_like(y), y.shape
        grid = triton.cdiv(rows, TILE[0]), triton.cdiv(channels, TILE[1]), items
        stride = 0 if gate.ndim == 1 else gate.stride(0)
        _gated[grid](y if x is None else x, y, gate, out, rows, channels, stride, *TILE, x is not None)
        return out


def scaled_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Normalise and scale as `plain.scaled_norm` does."""
    return _ScaledNorm.apply(x.contiguous(), scale, shift, eps)


def add_scaled_norm(
    x: Tensor, y: Tensor, gate: Tensor | None, scale: Tensor, shift: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Add, normalise and scale as `plain.add_scaled_norm` does."""
    return _AddScaledNorm.apply(x.contiguous(), y.contiguous(), gate, scale, shift, eps)


def add_gated(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """Add as `plain.add_gated` does."""
    return _AddGated.apply(x.contiguous(), y.contiguous(), gate)
