"""Attention within a frame: the fastest kernel at hand forward, and backward two of our own.

Libraries' fast backward kernels add up in an order that changes from run to run, and their ordered one is
slow. Here every sum has one owner: a first kernel owns queries and loops over keys, a second owns keys and
loops over queries. What the softmax needs is recomputed from its log-sum-exp (Dao 2023, FlashAttention-2).
Heads wider than ours take the library's ordered kernel, which reads the same log-sum-exp whoever wrote it.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from motionecho.device import has_tma

Ctx = Any  # what autograd keeps between forward and backward
LOG2_E = tl.constexpr(1.4426950408889634)
# Rows that a program owns and those that it loops over at a time, warps and stages: within 5 % of the best of
# a dozen choices, at every size, on an H100.
TILE = (64, 64, 4, 3)
WIDEST = 64  # channels of a head: twice as many want more shared memory than a small card has


@triton.jit
def _query_slopes(
    q_ptr, k_ptr, v_ptr, out_ptr, d_out_ptr, lse_ptr, delta_ptr, dq_ptr,
    q_item, q_row, q_head, k_item, k_row, k_head, queries, keys, heads, scale,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Compute the gradient of a block of queries, and delta = sum of out * d_out for the keys' kernel."""
    item, head = (tl.program_id(1) // heads).to(tl.int64), tl.program_id(1) % heads
    row, col = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES), tl.arange(0, WIDTH)
    key = tl.arange(0, KEYS)
    mine = (row < queries)[:, None]
    q_at = item * q_item + head * q_head + row[:, None] * q_row + col[None, :]
    out_at = ((item * queries + row[:, None]) * heads + head) * WIDTH + col[None, :]
    query, d_out = tl.load(q_ptr + q_at, mine, 0.0), tl.load(d_out_ptr + out_at, mine, 0.0)
    delta = tl.sum(tl.load(out_ptr + out_at, mine, 0.0).to(tl.float32) * d_out.to(tl.float32), 1)
    at = tl.program_id(1) * queries + row
    tl.store(delta_ptr + at, delta, row < queries)
    lse = tl.load(lse_ptr + at, row < queries, 0.0) * LOG2_E
    k_at = item * k_item + head * k_head + key[:, None] * k_row + col[None, :]
    dq = tl.zeros([QUERIES, WIDTH], tl.float32)
    for start in range(0, keys, KEYS):
        inside = start + key < keys
        k = tl.load(k_ptr + k_at + start * k_row, inside[:, None], 0.0)
        v = tl.load(v_ptr + k_at + start * k_row, inside[:, None], 0.0)
        weights = tl.exp2(tl.dot(query, tl.trans(k)) * (scale * LOG2_E) - lse[:, None])
        weights = tl.where(inside[None, :], weights, 0.0)
        d_logits = weights * (tl.dot(d_out, tl.trans(v)) - delta[:, None])
        dq = tl.dot(d_logits.to(k.dtype), k, dq)
    tl.store(dq_ptr + q_at, (dq * scale).to(query.dtype), mine)


@triton.jit
def _key_slopes(
    q_ptr, k_ptr, v_ptr, d_out_ptr, lse_ptr, delta_ptr, dk_ptr, dv_ptr,
    q_item, q_row, q_head, k_item, k_row, k_head, queries, keys, heads, scale,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of a block of keys and of their values; maps are transposed, [keys, queries]."""
    item, head = (tl.program_id(1) // heads).to(tl.int64), tl.program_id(1) % heads
    row, col = tl.program_id(0) * KEYS + tl.arange(0, KEYS), tl.arange(0, WIDTH)
    query = tl.arange(0, QUERIES)
    mine = (row < keys)[:, None]
    k_at = item * k_item + head * k_head + row[:, None] * k_row + col[None, :]
    k, v = tl.load(k_ptr + k_at, mine, 0.0), tl.load(v_ptr + k_at, mine, 0.0)
    q_at = item * q_item + head * q_head + query[:, None] * q_row + col[None, :]
    out_at = ((item * queries + query[:, None]) * heads + head) * WIDTH + col[None, :]
    at = tl.program_id(1) * queries + query
    dk, dv = tl.zeros([KEYS, WIDTH], tl.float32), tl.zeros([KEYS, WIDTH], tl.float32)
    for start in range(0, queries, QUERIES):
        inside = start + query < queries
        q = tl.load(q_ptr + q_at + start * q_row, inside[:, None], 0.0)
        d_out = tl.load(d_out_ptr + out_at + start * heads * WIDTH, inside[:, None], 0.0)
        # beyond the last query the map is 0
        lse = tl.load(lse_ptr + at + start, inside, float("inf")) * LOG2_E
        delta = tl.load(delta_ptr + at + start, inside, 0.0)
        weights = tl.exp2(tl.dot(k, tl.trans(q)) * (scale * LOG2_E) - lse[None, :])
        dv = tl.dot(weights.to(d_out.dtype), d_out, dv)
        d_logits = weights * (tl.dot(v, tl.trans(d_out)) - delta[None, :])
        dk = tl.dot(d_logits.to(q.dtype), q, dk)
    tl.store(dk_ptr + k_at, (dk * scale).to(k.dtype), mine)
    tl.store(dv_ptr + k_at, dv.to(v.dtype), mine)


class _ToItself(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, qkv: Tensor) -> Tensor:
        out, lse = _with_lse(*qkv.unbind(2))
        ctx.save_for_backward(qkv, out, lse)
        return out

    @staticmethod
    def backward(ctx: Ctx, d_out: Tensor) -> Tensor:  # type: ignore[override]
        qkv, out, lse = ctx.saved_tensors
        d_qkv = torch.empty_like(qkv)
        _slopes(qkv.unbind(2), out, lse, d_out, d_qkv.unbind(2))
        return d_qkv


class _ToOther(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out, lse = _with_lse(query, key, value)
        ctx.save_for_backward(query, key, value, out, lse)
        return out

    @staticmethod
    def backward(ctx: Ctx, d_out: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        *parts, out, lse = ctx.saved_tensors
        d_query = torch.empty_like(parts[0])
        _slopes(parts, out, lse, d_out, (d_query,))
        return d_query, None, None


class _Apart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out, lse = _with_lse(query, key, value)
        ctx.save_for_backward(query, key, value, out, lse)
        return out

    @staticmethod
    def backward(ctx: Ctx, d_out: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        *parts, out, lse = ctx.saved_tensors
        if not _ours(parts[0]):
            return _library_slopes(parts, out, lse, d_out)
        slopes = tuple(torch.empty_like(part) for part in parts)
        _slopes(parts, out, lse, d_out, slopes)
        return slopes


def attend(qkv: Tensor) -> Tensor:
    """Let tokens attend to each other as `plain.attend` does."""
    if not _steered(qkv):
        return _forward(*qkv.unbind(2))
    return _ToItself.apply(qkv.contiguous()) if _ours(qkv) else _library_s(*qkv.unbind(2))


def attend_to(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Let tokens attend to others as `plain.attend_to` does."""
    if not _steered(query):
        return _forward(query, key, value)
    parts = (query.contiguous(), key.contiguous(), value.contiguous())
    return _ToOther.apply(*parts) if _ours(query) else _library_s(*parts)


def attend_apart(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Let tokens attend to others as `plain.attend_apart` does."""
    parts = (query, key, value)
    if not any(_steered(part) for part in parts):
        return _forward(*parts)
    if _ours(query):
        return _Apart.apply(*(part.contiguous() for part in parts))
    return _Apart.apply(*parts) if _flash_takes(query) else _library_s(*parts)


def _steered(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def _ours(x: Tensor) -> bool:
    """Tell heads that fill a power of two, for padding costs more than order does.

    On a GPU in half precision, which the library keeps the log-sum-exp of, from Ampere on.
    """
    width = x.shape[-1]
    whole = width == triton.next_power_of_2(width) and 16 <= width <= WIDEST
    kept = not x.is_cuda or (x.dtype != torch.float32 and torch.cuda.get_device_capability(x.device)[0] >= 8)
    return whole and kept


def _library_s(*parts: Tensor) -> Tensor:
    query, key, value = (part.transpose(1, 2) for part in parts)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def _forward(*parts: Tensor) -> Tensor:
    """Mix without a gradient; torch would not take cuDNN where asked for equal bits, which this gives."""
    if not _cudnn_takes(parts[0]):
        return _library_s(*parts)
    query, key, value = (part.transpose(1, 2) for part in parts)
    out: Tensor = _cudnn(query, key, value, None, False, 0.0, False, False)[0]
    return out.transpose(1, 2)


def _with_lse(*parts: Tensor) -> tuple[Tensor, Tensor]:
    """Return mixed values [n, p, heads, d], contiguous, and the logits' log-sum-exp [n, heads, p]."""
    query, key, value = (part.transpose(1, 2) for part in parts)
    if _cudnn_takes(parts[0]):
        out, lse = _cudnn(query, key, value, None, True, 0.0, False, False)[:2]
    elif query.is_cuda:
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, False)[:2]
    else:  # in Triton's interpreter
        logits = query @ key.mT * query.shape[-1] ** -0.5
        out, lse = logits.softmax(-1) @ value, logits.logsumexp(-1)
    return out.transpose(1, 2).contiguous(), lse.view(query.shape[:-1]).contiguous()


_cudnn: Any = torch.ops.aten._scaled_dot_product_cudnn_attention


def _cudnn_takes(x: Tensor) -> bool:
    there = torch.backends.cudnn.is_available() and torch.backends.cuda.cudnn_sdp_enabled()
    fits = x.dtype != torch.float32 and x.shape[-1] % 8 == 0 and x.shape[-1] <= 128
    return there and fits and has_tma(x.device)


def _flash_takes(x: Tensor) -> bool:
    there = torch.backends.cuda.is_flash_attention_available() and torch.backends.cuda.flash_sdp_enabled()
    fits = x.dtype != torch.float32 and x.shape[-1] % 8 == 0 and x.shape[-1] <= 128
    return there and fits and x.is_cuda and torch.cuda.get_device_capability(x.device)[0] >= 8


def _library_slopes(parts: Sequence[Tensor], out: Tensor, lse: Tensor, d_out: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of queries, keys and values; in order where `repeatable` asks for it."""
    query, key, value, mixed, slope = (part.transpose(1, 2) for part in (*parts, out, d_out.contiguous()))
    none = torch.empty(2, dtype=torch.uint64, device=out.device)  # the state of a dropout that there is not
    found = torch.ops.aten._scaled_dot_product_flash_attention_backward(
        slope, query, key, value, mixed, lse, None, None, query.shape[2], key.shape[2], 0.0, False, none, none
    )
    return tuple(part.transpose(1, 2) for part in found)


def _slopes(
    parts: Sequence[Tensor],
    out: Tensor,
    lse: Tensor,
    d_out: Tensor,
    slopes: Sequence[Tensor],
    tile: tuple[int, int, int, int] = TILE,
) -> None:
    """Fill the gradients of queries, or of queries, keys and values, which `parts` are.

    All but lse are [n, p, heads, d]; gradients lie in memory as what they are of, keys as values.
    """
    query, key, _ = parts
    n, queries, heads, width = query.shape
    keys, delta, d_out = key.shape[1], torch.empty_like(lse), d_out.contiguous()
    sizes = (*query.stride()[:3], *key.stride()[:3], queries, keys, heads, width**-0.5, width)
    own, other, warps, stages = tile
    how: Any = {"num_warps": warps, "num_stages": stages}
    blocks = triton.cdiv(queries, own)
    _query_slopes[(blocks, n * heads)](*parts, out, d_out, lse, delta, slopes[0], *sizes, own, other, **how)
    if len(slopes) > 1:
        blocks = triton.cdiv(keys, own)
        _key_slopes[(blocks, n * heads)](*parts, d_out, lse, delta, *slopes[1:], *sizes, other, own, **how)
