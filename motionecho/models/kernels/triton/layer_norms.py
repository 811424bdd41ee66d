"""Layer normalisation, and a sum before it."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

Ctx = Any  # what autograd keeps between forward and backward


@triton.jit
def _layer_norm(
    x_ptr, more_ptr, dy_ptr, weight_ptr, bias_ptr, kept_ptr, sum_ptr, y_ptr, rows, channels, eps,
    ROWS: tl.constexpr, COLS: tl.constexpr, MORE: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """Compute y = norm(x); with MORE, forward adds it to x first, backward adds it to the gradient."""
    row, col = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    inside = col < channels
    mask = (row < rows)[:, None] & inside[None, :]
    at = row.to(tl.int64)[:, None] * channels + col[None, :]
    kind = y_ptr.dtype.element_ty
    x = tl.load(x_ptr + at, mask, 0.0).to(tl.float32)
    more = tl.zeros([ROWS, COLS], tl.float32)
    if MORE:
        more = tl.load(more_ptr + at, mask, 0.0).to(tl.float32)
    weight = tl.load(weight_ptr + col, inside, 0.0).to(tl.float32)[None, :]
    if BACKWARD:
        mean = tl.load(kept_ptr + 2 * row, row < rows, 0.0)[:, None]
        rstd = tl.load(kept_ptr + 2 * row + 1, row < rows, 0.0)[:, None]
        normal = tl.where(mask, (x - mean) * rstd, 0.0)
        slope = tl.load(dy_ptr + at, mask, 0.0).to(tl.float32) * weight
        along = tl.sum(slope * normal, 1)[:, None] / channels
        out = (slope - tl.sum(slope, 1)[:, None] / channels - normal * along) * rstd + more
    else:
        if MORE:
            total = (x + more).to(kind)
            tl.store(sum_ptr + at, total, mask)
            x = total.to(tl.float32)  # as the backward pass will read it
        mean = tl.sum(x, 1)[:, None] / channels
        centred = tl.where(mask, x - mean, 0.0)
        rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, 1)[:, None] / channels + eps)
        out = centred * rstd * weight + tl.load(bias_ptr + col, inside, 0.0).to(tl.float32)[None, :]
        tl.store(kept_ptr + 2 * row[:, None], mean, (row < rows)[:, None])
        tl.store(kept_ptr + 2 * row[:, None] + 1, rstd, (row < rows)[:, None])
    tl.store(y_ptr + at, out.to(kind), mask)


def _launch_layer_norm(
    x: Tensor, more: Tensor | None, dy: Tensor, norm: nn.LayerNorm, kept: Tensor, total: Tensor,
    backward: bool,
) -> Tensor:  # fmt: skip
    y, rows, per_program = torch.empty_like(x), len(kept), 4
    _layer_norm[(triton.cdiv(rows, per_program),)](
        x, x if more is None else more, dy, norm.weight, norm.bias, kept, total, y, rows, x.shape[-1],
        norm.eps, per_program, triton.next_power_of_2(x.shape[-1]), more is not None, backward,
    )  # fmt: skip
    return y


def _moments_of_rows(x: Tensor) -> Tensor:
    return x.new_empty((x.numel() // x.shape[-1], 2), dtype=torch.float32)


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        kept = _moments_of_rows(x)
        ctx.norm = norm
        ctx.save_for_backward(x, kept)
        return _launch_layer_norm(x, None, x, norm, kept, x, backward=False)

    @staticmethod
    def backward(ctx: Ctx, dy: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        x, kept = ctx.saved_tensors
        return _launch_layer_norm(x, None, dy.contiguous(), ctx.norm, kept, x, backward=True), None


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, x: Tensor, y: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        total, kept = torch.empty_like(x), _moments_of_rows(x)
        normal = _launch_layer_norm(x, y, x, norm, kept, total, backward=False)
        ctx.norm = norm
        ctx.save_for_backward(total, kept)
        return total, normal

    @staticmethod
    def backward(ctx: Ctx, d_total: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        total, kept = ctx.saved_tensors
        slope = _launch_layer_norm(
            total, d_total.contiguous(), dy.contiguous(), ctx.norm, kept, total, backward=True
        )
        return slope, slope, None


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return _LayerNorm.apply(x.contiguous(), norm)


def add_norm(x: Tensor, y: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    return _AddNorm.apply(x.contiguous(), y.contiguous(), norm)
