"""Attention over time: a few frames, so that a pixel's whole map fits into registers."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

Ctx = Any  # what autograd keeps between forward and backward


@triton.jit
def _over_time(
    qkv_ptr, out_ptr, d_out_ptr, d_qkv_ptr, frames, pixels, heads, scale,
    FRAMES: tl.constexpr, WIDTH: tl.constexpr, COLS: tl.constexpr, PRECISION: tl.constexpr,
    BACKWARD: tl.constexpr,
):  # fmt: skip
    """Mix one pixel in one head; forward writes out, backward makes the map again and writes d_qkv."""
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
    """Let pixels attend to themselves in all frames as `plain.attend_over_time` does."""
    return _OverTime.apply(qkv.contiguous())
