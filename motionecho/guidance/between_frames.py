"""Attention from every place of every frame to the places of each frame, of transformers without a time axis.

    A_ij = softmax over the places of frame j of tau * mean over heads of q_i . k_j / sqrt(d)

The mean over heads of logits is one product of all heads side by side, so no map of a head is ever made.
Query frames are taken a few at a time, and their maps computed again for a gradient: a full map of a long
video would not fit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from motionecho.denoiser import Kind, Probe, Tap
from motionecho.guidance.strategy import AtOneTime

AT_ONCE = 2**25  # entries of a map, of each sample


@dataclass(frozen=True)
class BetweenFrames(AtOneTime):
    """The part of an energy that looks at the queries and keys of `layers`."""

    kinds: ClassVar[tuple[Kind, ...]] = ("queries", "keys")

    def of(self, probe: Probe, layer: str) -> tuple[Tensor, Tensor]:
        """The queries and keys of a layer, [b, f, c, h, w] each."""
        return probe.seen[Tap(layer, "queries")], probe.seen[Tap(layer, "keys")]


class _Product(torch.autograd.Function):
    """A product [n, a, c] @ [n, c, b] on tensor cores, which read float32 to 10 bits; so its gradients."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        ctx.save_for_backward(one, other)
        with _short_float32():
            return one @ other

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        one, other = ctx.saved_tensors
        with _short_float32():
            return slope @ other.mT, one.mT @ slope


@contextmanager
def _short_float32() -> Iterator[None]:
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, True
    try:
        yield
    finally:
        matmul.allow_tf32 = before


def attended(
    queries: Tensor, keys: Tensor, temperature: float, reduce: Callable[..., Tensor], *along: Tensor
) -> Tensor:
    """Reduce the maps of all pairs of frames; queries (scaled, see Kind) and keys are [b, f, c, h, w].

    `reduce` is given maps [b, i, p, j, q] of some query frames i, and of what lies `along` [b, f, ...] the
    part of these frames; it goes over places q, to [b, i, p, j, ...]. Returns [b, f, h*w, f, ...].
    """
    # a GPU's short float32 holds all that a tensor in half precision does, and is several times faster
    product = _Product.apply if queries.dtype in (torch.bfloat16, torch.float16) else torch.matmul
    q, k = (x.float().flatten(3).transpose(2, 3) for x in (queries, keys))  # [b, f, h*w, c]
    frames, places = q.shape[1:3]

    def reduced(k: Tensor, some: Tensor, *along: Tensor) -> Tensor:
        logits = product(some.flatten(1, 2), k.flatten(1, 2).mT)  # [b, i p, j q]
        shape = (*some.shape[1:3], frames, places)
        maps = (temperature * logits).unflatten(2, shape[2:]).softmax(-1)
        return reduce(maps.unflatten(1, shape[:2]), *along)

    group = max(1, AT_ONCE // (frames * places**2))
    if group >= frames:
        return reduced(k, q, *along)
    again = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad)
    parts = [
        checkpoint(reduced, k, *some, use_reentrant=False, preserve_rng_state=False)
        if again
        else reduced(k, *some)
        for some in zip(*(tensor.split(group, dim=1) for tensor in (q, *along)), strict=True)
    ]
    return torch.cat(parts, dim=1)
