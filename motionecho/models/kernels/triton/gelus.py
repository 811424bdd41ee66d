"""The GELU by its approximation with a tanh: x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3)."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

Ctx = Any  # what autograd keeps between forward and backward
BLOCK = 1024


@triton.jit
def _gelu(x_ptr, dy_ptr, y_ptr, count, BLOCK: tl.constexpr, BACKWARD: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = at < count
    x = tl.load(x_ptr + at, mask, 0.0).to(tl.float32)
    share = 1.0 / (1.0 + tl.exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))
    out = x * share
    if BACKWARD:
        steep = 1.5957691216057308 * (1.0 + 0.134145 * x * x)
        out = (share + x * share * (1.0 - share) * steep) * tl.load(dy_ptr + at, mask, 0.0).to(tl.float32)
    tl.store(y_ptr + at, out.to(y_ptr.dtype.element_ty), mask)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _Gelu.launch(x)

    @staticmethod
    def backward(ctx: Ctx, dy: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return _Gelu.launch(x, dy.contiguous())

    @staticmethod
    def launch(x: Tensor, dy: Tensor | None = None) -> Tensor:
        y = torch.empty_like(x)
        blocks = triton.cdiv(x.numel(), BLOCK)
        _gelu[(blocks,)](x, x if dy is None else dy, y, x.numel(), BLOCK, dy is not None)
        return y


def gelu(x: Tensor) -> Tensor:
    """Compute as `plain.gelu` does."""
    return _Gelu.apply(x.contiguous())


def gelu_linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """Project and compute as `plain.gelu_linear` does."""
    if x.is_cuda and not (torch.is_grad_enabled() and x.requires_grad):
        # the library's product ends in it, so that nothing in between is written
        out = torch._addmm_activation(layer.bias, x.flatten(0, -2), layer.weight.mT, use_gelu=True)
        return out.unflatten(0, x.shape[:-1])
    return gelu(layer(x))
