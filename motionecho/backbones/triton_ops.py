"""The functions of `plain_ops` as fused Triton kernels, forward and gradient of the activations.

Activations are [n, r, c] to a kernel: c channels (contiguous) of r positions of n items. All is computed
in float32 and stored in the activations' type.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

PROGRAMS = 240  # of a sum over rows: they fill an H100, and leave few partial sums
Ctx = Any  # what autograd keeps between forward and backward


# --- group normalisation, SiLU after it, a shift before it


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
    """Per channel, over one block of rows: (sum x, sum x^2), backward (sum dz, sum dz x), x being shifted."""
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
    """Per group: what turns x into the normalised z = scale x + offset; backward dx = p dz + q x + r."""
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
    """y of the forward pass, dx of the backward one."""
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
    """One normalisation's sizes and its three launches."""

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


# --- layer normalisation, a sum before it


@triton.jit
def _layer_norm(
    x_ptr, more_ptr, dy_ptr, weight_ptr, bias_ptr, kept_ptr, sum_ptr, y_ptr, rows, channels, eps,
    ROWS: tl.constexpr, COLS: tl.constexpr, MORE: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """y = norm(x); with MORE, forward adds it to x first, backward adds it to the gradient."""
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


# --- gated linear unit


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


def geglu(x: Tensor) -> Tensor:
    return _Geglu.apply(x.contiguous())


# --- attention over time: a few frames, so that a pixel's whole map fits into registers


@triton.jit
def _over_time(
    qkv_ptr, out_ptr, d_out_ptr, d_qkv_ptr, frames, pixels, heads, scale,
    FRAMES: tl.constexpr, WIDTH: tl.constexpr, COLS: tl.constexpr, PRECISION: tl.constexpr,
    BACKWARD: tl.constexpr,
):  # fmt: skip
    """One pixel in one head; forward writes out, backward makes the map again and writes d_qkv."""
    video, pixel, head = tl.program_id(0) // pixels, tl.program_id(0) % pixels, tl.program_id(1)
    frame, channel = tl.arange(0, FRAMES), tl.arange(0, COLS)
    mask = (frame < frames)[:, None] & (channel < WIDTH)[None, :]
    place = (video.to(tl.int64) * frames + frame[:, None]) * pixels + pixel
    within, wide = head * WIDTH + channel[None, :], heads * WIDTH
    q_at, out_at = 3 * place * wide + within, place * wide + within
    k_at, v_at = q_at + wide, q_at + 2 * wide
    query, key = tl.load(qkv_ptr + q_at, mask, 0.0), tl.load(qkv_ptr + k_at, mask, 0.0)
    value = tl.load(qkv_ptr + v_at, mask, 0.0)
    logits = tl.dot(query, tl.trans(key), input_precision=PRECISION) * scale
    logits = tl.where((frame < frames)[None, :], logits, float("-inf"))
    weights = tl.exp(logits - tl.max(logits, 1)[:, None])
    weights = weights / tl.sum(weights, 1)[:, None]
    kind = value.dtype
    if BACKWARD:
        d_out = tl.load(d_out_ptr + out_at, mask, 0.0)
        d_value = tl.dot(tl.trans(weights.to(kind)), d_out, input_precision=PRECISION)
        d_weights = tl.dot(d_out, tl.trans(value), input_precision=PRECISION)
        d_logits = weights * (d_weights - tl.sum(d_weights * weights, 1)[:, None]) * scale
        d_query = tl.dot(d_logits.to(kind), key, input_precision=PRECISION)
        d_key = tl.dot(tl.trans(d_logits.to(kind)), query, input_precision=PRECISION)
        tl.store(d_qkv_ptr + q_at, d_query.to(kind), mask)
        tl.store(d_qkv_ptr + k_at, d_key.to(kind), mask)
        tl.store(d_qkv_ptr + v_at, d_value.to(kind), mask)
    else:
        out = tl.dot(weights.to(kind), value, input_precision=PRECISION)
        tl.store(out_ptr + out_at, out.to(kind), mask)


class _OverTime(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, qkv: Tensor) -> Tensor:
        ctx.save_for_backward(qkv)
        out = qkv.new_empty((*qkv.shape[:3], *qkv.shape[4:]))
        _OverTime.launch(qkv, out, out, qkv, backward=False)
        return out

    @staticmethod
    def backward(ctx: Ctx, d_out: Tensor) -> Tensor:  # type: ignore[override]
        (qkv,) = ctx.saved_tensors
        d_qkv = torch.empty_like(qkv)
        _OverTime.launch(qkv, d_out, d_out.contiguous(), d_qkv, backward=True)
        return d_qkv

    @staticmethod
    def launch(qkv: Tensor, out: Tensor, d_out: Tensor, d_qkv: Tensor, backward: bool) -> None:
        b, f, p, _, heads, width = qkv.shape
        precision = "ieee" if qkv.dtype == torch.float32 else "tf32"
        rows, cols = (max(16, triton.next_power_of_2(size)) for size in (f, width))
        _over_time[(b * p, heads)](
            qkv, out, d_out, d_qkv, f, p, heads, width**-0.5, rows, width, cols, precision, backward,
            num_warps=1 if cols <= 64 else 4,
        )  # fmt: skip


def attend_over_time(qkv: Tensor) -> Tensor:
    """As in plain_ops."""
    return _OverTime.apply(qkv.contiguous())


# --- sums


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
