"""Root-mean-square normalisation of queries or keys over all heads, and their turn by where they are."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

Ctx = Any  # what autograd keeps between forward and backward


@triton.jit
def _turn(x, cos_ptr, sin_ptr, token, inside, back, COLS: tl.constexpr, WIDTH: tl.constexpr):
    """Turn neighbouring pairs by the angles of a token, which are the same in every head; -1 turns back."""
    at = token * WIDTH + tl.arange(0, COLS) % WIDTH
    cos, _ = tl.split(tl.reshape(tl.load(cos_ptr + at, inside, 0.0), [COLS // 2, 2]))
    _, sin = tl.split(tl.reshape(tl.load(sin_ptr + at, inside, 0.0), [COLS // 2, 2]))
    even, odd = tl.split(tl.reshape(x, [COLS // 2, 2]))
    sin *= back
    return tl.reshape(tl.join(even * cos - odd * sin, even * sin + odd * cos), [COLS])


@triton.jit
def _rms_norm(
    x_ptr, dy_ptr, weight_ptr, cos_ptr, sin_ptr, kept_ptr, y_ptr, tokens, x_item, x_row, channels, eps,
    COLS: tl.constexpr, WIDTH: tl.constexpr, TURN: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """Compute one token: forward y, backward its gradient at x; the turn is undone first."""
    item, token = tl.program_id(1).to(tl.int64), tl.program_id(0)
    col = tl.arange(0, COLS)
    inside, row = col < channels, item * tokens + token
    kind = y_ptr.dtype.element_ty
    x = tl.load(x_ptr + item * x_item + token.to(tl.int64) * x_row + col, inside, 0.0).to(tl.float32)
    weight = tl.load(weight_ptr + col, inside, 0.0).to(tl.float32)
    if BACKWARD:
        slope = tl.load(dy_ptr + row * channels + col, inside, 0.0).to(tl.float32)
        if TURN:
            slope = _turn(slope, cos_ptr, sin_ptr, token, inside, -1.0, COLS, WIDTH)
        slope *= weight
        rstd = tl.load(kept_ptr + row)
        normal = x * rstd
        out = (slope - normal * (tl.sum(slope * normal, 0) / channels)) * rstd
    else:
        rstd = 1.0 / tl.sqrt(tl.sum(x * x, 0) / channels + eps)
        tl.store(kept_ptr + row, rstd)
        out = x * rstd * weight
        if TURN:
            out = _turn(out, cos_ptr, sin_ptr, token, inside, 1.0, COLS, WIDTH)
    tl.store(y_ptr + row * channels + col, out.to(kind), inside)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Ctx, x: Tensor, weight: Tensor, eps: float, cosines: Tensor | None, sines: Tensor | None
    ) -> Tensor:
        kept = x.new_empty(x.shape[:2], dtype=torch.float32)
        ctx.save_for_backward(x, weight, kept, cosines, sines)
        return _RMSNorm.launch(x, None, weight, kept, cosines, sines, eps)

    @staticmethod
    def backward(ctx: Ctx, dy: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        x, weight, kept, cosines, sines = ctx.saved_tensors
        slope = _RMSNorm.launch(x, dy.contiguous(), weight, kept, cosines, sines, 0.0)
        return slope, None, None, None, None

    @staticmethod
    def launch(
        x: Tensor, dy: Tensor | None, weight: Tensor, kept: Tensor, cosines: Tensor | None,
        sines: Tensor | None, eps: float,
    ) -> Tensor:  # fmt: skip
        items, tokens, heads, width = x.shape
        y = x.new_empty(x.shape)
        cols = triton.next_power_of_2(heads * width)
        tables = (weight if table is None else table for table in (cosines, sines))
        _rms_norm[(tokens, items)](
            x, x if dy is None else dy, weight, *tables, kept, y, tokens, x.stride(0), x.stride(1),
            heads * width, eps, cols, width, cosines is not None, dy is not None,
            num_warps=4 if cols <= 4096 else 8,
        )  # fmt: skip
        return y


def rms_norm(x: Tensor, norm: nn.RMSNorm, rotation: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Normalise and turn as `plain.rms_norm` does; x may be a part of what one product has made."""
    lined_up = x.stride()[2:] == (x.shape[-1], 1)
    cosines, sines = (table.contiguous() for table in rotation) if rotation else (None, None)
    return _RMSNorm.apply(x if lined_up else x.contiguous(), norm.weight, norm.eps, cosines, sines)


@triton.jit
def _rms_silu(x_ptr, gamma_ptr, y_ptr, rows, channels, ROWS: tl.constexpr, COLS: tl.constexpr):
    row, col = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLS)
    mask = (row < rows)[:, None] & (col < channels)[None, :]
    at = row.to(tl.int64)[:, None] * channels + col[None, :]
    x = tl.load(x_ptr + at, mask, 0.0).to(tl.float32)
    gamma = tl.load(gamma_ptr + col, col < channels, 0.0).to(tl.float32)[None, :]
    length = tl.maximum(tl.sqrt(tl.sum(x * x, 1)), 1e-12)[:, None]
    z = x / length * tl.sqrt(channels * 1.0) * gamma
    tl.store(y_ptr + at, (z / (1.0 + tl.exp(-z))).to(y_ptr.dtype.element_ty), mask)


def rms_silu(x: Tensor, gamma: Tensor) -> Tensor:
    """Normalise rows as `plain.rms_silu` does; without a gradient."""
    x = x.contiguous()
    y, channels = torch.empty_like(x), x.shape[-1]
    rows, cols = x.numel() // channels, triton.next_power_of_2(channels)
    at_once = max(1, 4096 // cols)
    _rms_silu[(triton.cdiv(rows, at_once),)](x, gamma, y, rows, channels, at_once, cols)
    return y
