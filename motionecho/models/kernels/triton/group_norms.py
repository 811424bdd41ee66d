"""Group normalisation, SiLU after it, a shift before it: three launches either way."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

PROGRAMS = 240  # of a sum over rows: they fill an H100, and leave few partial sums
Ctx = Any  # what autograd keeps between forward and backward


@triton.jit
def _silu_slope(z):
    s = 1.0 / (1.0 + tl.exp(-z))
    return s * (1.0 + z * (1.0 - s))


@triton.jit
def _norm_sums(
    x_ptr, dy_ptr, shift_ptr, shift_stride, affine_ptr, sums_ptr, rows, channels, blocks, per_shift,
    ROWS: tl.constexpr, COLS: tl.constexpr, LOOPS: tl.constexpr, SHIFT: tl.constexpr, SILU: tl.constexpr,
    BACKWARD: tl.constexpr,
):  # fmt: skip
    """Sum per channel over a block of rows: (x, x^2), backward (dz, dz x), x being shifted."""
    item, block, col = tl.program_id(0), tl.program_id(1), tl.program_id(2) * COLS + tl.arange(0, COLS)
    inside = col < channels
    first, second = tl.zeros([ROWS, COLS], tl.float32), tl.zeros([ROWS, COLS], tl.float32)
    shift = tl.zeros([COLS], tl.float32)
    if SHIFT:
        shift = tl.load(shift_ptr + item // per_shift * shift_stride + col, inside, 0.0).to(tl.float32)
    if BACKWARD:
        scale = tl.load(affine_ptr + 2 * item * channels + col, inside, 0.0)
        offset = tl.load(affine_ptr + (2 * item + 1) * channels + col, inside, 0.0)
    for loop in range(LOOPS):
        row = (block * LOOPS + loop) * ROWS + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & inside[None, :]
        at = (item.to(tl.int64) * rows + row[:, None]) * channels + col[None, :]
        x = tl.load(x_ptr + at, mask, 0.0).to(tl.float32) + shift[None, :]
        if BACKWARD:
            dz = tl.load(dy_ptr + at, mask, 0.0).to(tl.float32)
            if SILU:
                dz *= _silu_slope(x * scale[None, :] + offset[None, :])
            first += dz
            second += dz * x
        else:
            x = tl.where(mask, x, 0.0)
            first += x
            second += x * x
    out = sums_ptr + 2 * (item * blocks + block) * channels + col
    tl.store(out, tl.sum(first, 0), inside)
    tl.store(out + channels, tl.sum(second, 0), inside)


@triton.jit
def _norm_moments(
    sums_ptr, weight_ptr, bias_ptr, affine_ptr, moments_ptr, slopes_ptr, channels, groups, blocks, count, eps,
    width, WIDTH: tl.constexpr, BLOCKS: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """Compute per group what makes x the normalised z = scale x + offset; backward dx = p dz + q x + r."""
    item, group = tl.program_id(0), tl.program_id(1)
    local = tl.arange(0, WIDTH)
    inside, col = local < width, group * width + local
    first, second = tl.zeros([WIDTH], tl.float32), tl.zeros([WIDTH], tl.float32)
    for start in range(0, blocks, BLOCKS):
        block = start + tl.arange(0, BLOCKS)
        mask = (block < blocks)[:, None] & inside[None, :]
        at = sums_ptr + 2 * (item * blocks + block[:, None]) * channels + col[None, :]
        first += tl.sum(tl.load(at, mask, 0.0), 0)
        second += tl.sum(tl.load(at + channels, mask, 0.0), 0)
    weight = tl.load(weight_ptr + col, inside, 0.0).to(tl.float32)
    kept = moments_ptr + 2 * (item * groups + group)
    if BACKWARD:
        mean, rstd = tl.load(kept), tl.load(kept + 1)
        mean_dz = tl.sum(weight * first, 0) / count
        mean_dz_x = tl.sum(weight * (second - mean * first), 0) * rstd / count
        q = -rstd * rstd * mean_dz_x
        at = slopes_ptr + 3 * item * channels + col
        flat = tl.zeros([WIDTH], tl.float32)
        tl.store(at, rstd * weight, inside)
        tl.store(at + channels, flat + q, inside)
        tl.store(at + 2 * channels, flat - rstd * mean_dz - q * mean, inside)
    else:
        mean = tl.sum(first, 0) / count
        variance = tl.maximum(tl.sum(second, 0) / count - mean * mean, 0.0)
        rstd = 1.0 / tl.sqrt(variance + eps)
        bias = tl.load(bias_ptr + col, inside, 0.0).to(tl.float32)
        at = affine_ptr + 2 * item * channels + col
        tl.store(at, rstd * weight, inside)
        tl.store(at + channels, bias - mean * rstd * weight, inside)
        tl.store(kept, mean)
        tl.store(kept + 1, rstd)


@triton.jit
def _norm_apply(
    x_ptr, dy_ptr, shift_ptr, shift_stride, affine_ptr, slopes_ptr, y_ptr, rows, channels, per_shift,
    ROWS: tl.constexpr, COLS: tl.constexpr, SHIFT: tl.constexpr, SILU: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """Write y of the forward pass, dx of the backward one."""
    item, row = tl.program_id(0), tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(2) * COLS + tl.arange(0, COLS)
    inside = col < channels
    mask = (row < rows)[:, None] & inside[None, :]
    at = (item.to(tl.int64) * rows + row[:, None]) * channels + col[None, :]
    x = tl.load(x_ptr + at, mask, 0.0).to(tl.float32)
    if SHIFT:
        shift = tl.load(shift_ptr + item // per_shift * shift_stride + col, inside, 0.0).to(tl.float32)
        x += shift[None, :]
    scale = tl.load(affine_ptr + 2 * item * channels + col, inside, 0.0)
    offset = tl.load(affine_ptr + (2 * item + 1) * channels + col, inside, 0.0)
    z = x * scale[None, :] + offset[None, :]
    if BACKWARD:
        dz = tl.load(dy_ptr + at, mask, 0.0).to(tl.float32)
        if SILU:
            dz *= _silu_slope(z)
        slopes = slopes_ptr + 3 * item * channels + col
        p, q = tl.load(slopes, inside, 0.0), tl.load(slopes + channels, inside, 0.0)
        r = tl.load(slopes + 2 * channels, inside, 0.0)
        out = p[None, :] * dz + q[None, :] * x + r[None, :]
    else:
        out = z
        if SILU:
            out = z / (1.0 + tl.exp(-z))
    tl.store(y_ptr + at, out.to(y_ptr.dtype.element_ty), mask)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Ctx, x: Tensor, norm: nn.GroupNorm, items: int, silu: bool, shift: Tensor | None
    ) -> Tensor:
        ctx.plan = _NormPlan(x, norm, items, silu, shift)
        affine, moments, y = ctx.plan.forward(x)
        ctx.save_for_backward(x, affine, moments)
        return y

    @staticmethod
    def backward(ctx: Ctx, dy: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        return ctx.plan.backward(dy.contiguous(), *ctx.saved_tensors), None, None, None, None


class _NormPlan:
    """A normalisation's sizes and its three launches."""

    def __init__(self, x: Tensor, norm: nn.GroupNorm, items: int, silu: bool, shift: Tensor | None):
        self.norm, self.items, self.silu, self.shift = norm, items, silu, shift
        self.channels, self.groups = x.shape[-1], norm.num_groups
        self.rows = x.numel() // (items * self.channels)
        self.cols, self.row_block, self.loops = (64 if self.channels % 64 == 0 else 32), 64, 1
        self.tiles = triton.cdiv(self.channels, self.cols)
        self.blocks = triton.cdiv(self.rows, self.row_block)
        while self.loops < 8 and self.blocks > 1 and items * -(-self.blocks // 2) * self.tiles >= PROGRAMS:
            self.loops, self.blocks = 2 * self.loops, -(-self.blocks // 2)
        stride = 0 if shift is None or len(shift) == 1 else shift.stride(0)
        self.shift_args = (x if shift is None else shift, stride)
        self.per_shift = items // len(shift) if shift is not None and len(shift) > 1 else items

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        affine = x.new_empty((self.items, 2, self.channels), dtype=torch.float32)
        moments = x.new_empty((self.items, self.groups, 2), dtype=torch.float32)
        self._moments(x, x, affine, moments, affine, backward=False)
        return affine, moments, self._apply(x, x, affine, affine, backward=False)

    def backward(self, dy: Tensor, x: Tensor, affine: Tensor, moments: Tensor) -> Tensor:
        slopes = x.new_empty((self.items, 3, self.channels), dtype=torch.float32)
        self._moments(x, dy, affine, moments, slopes, backward=True)
        return self._apply(x, dy, affine, slopes, backward=True)

    def _moments(
        self, x: Tensor, dy: Tensor, affine: Tensor, moments: Tensor, slopes: Tensor, backward: bool
    ) -> None:
        sums = x.new_empty((self.items, self.blocks, 2, self.channels), dtype=torch.float32)
        _norm_sums[(self.items, self.blocks, self.tiles)](
            x, dy, *self.shift_args, affine, sums, self.rows, self.channels, self.blocks, self.per_shift,
            self.row_block, self.cols, self.loops, self.shift is not None, self.silu, backward,
        )  # fmt: skip
        width = self.channels // self.groups
        _norm_moments[(self.items, self.groups)](
            sums, self.norm.weight, self.norm.bias, affine, moments, slopes, self.channels, self.groups,
            self.blocks, float(self.rows * width), self.norm.eps, width, triton.next_power_of_2(width),
            min(128, triton.next_power_of_2(self.blocks)), backward, num_warps=1,
        )  # fmt: skip

    def _apply(self, x: Tensor, dy: Tensor, affine: Tensor, slopes: Tensor, backward: bool) -> Tensor:
        y, row_block = torch.empty_like(x), 16 if backward else 32
        _norm_apply[(self.items, triton.cdiv(self.rows, row_block), self.tiles)](
            x, dy, *self.shift_args, affine, slopes, y, self.rows, self.channels, self.per_shift,
            row_block, self.cols, self.shift is not None, self.silu, backward,
        )  # fmt: skip
        return y


def group_norm(
    x: Tensor, norm: nn.GroupNorm, over_time: bool, silu: bool = False, shift: Tensor | None = None
) -> Tensor:
    items = x.shape[0] if over_time else x.shape[0] * x.shape[1]
    return _GroupNorm.apply(x.contiguous(), norm, items, silu, shift)
