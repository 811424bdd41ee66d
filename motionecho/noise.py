"""Noise belongs to the sample: a function of (seed, purpose, step), on any device, in any batch or worker."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def noise(seed: int, purpose: str, step: int, shape: Sequence[int]) -> Tensor:
    """Draw standard normal noise, float32 [*shape], on the CPU from a generator of its own."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(*shape, generator=generator)


def batch_noise(seeds: Sequence[int], purpose: str, step: int, like: Tensor) -> Tensor:
    """Stack every sample's own noise into a batch, [b, *like.shape[1:]], on `like`'s device."""
    drawn = torch.stack([noise(seed, purpose, step, like.shape[1:]) for seed in seeds])
    if like.is_cuda:
        drawn = drawn.pin_memory()  # from elsewhere, a copy waits for all that the device computes
    return drawn.to(like, non_blocking=True)


def blend(inverted: Tensor, fresh: Tensor, share: float) -> Tensor:
    """Make initial noise sqrt(g) z_T^ref + sqrt(1-g) eps (App. B.2); `share` is g in [0, 1], shapes alike."""
    return share**0.5 * inverted + (1 - share) ** 0.5 * fresh
