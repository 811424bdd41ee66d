"""The signal that every layer gets beside its input: conditioning, and what the probe wants to see."""

import math
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from motionecho.denoiser import Probe, Tap
from motionecho.models.kernels import plain


@dataclass(frozen=True)
class Signal:
    """A signal to b videos: embedding [b, e] of time, scale and fps; text states [b, tokens, width].

    The embedding has passed the SiLU that every residual block would start with.

    `ops` does what is neither a matrix product nor a convolution: `plain` or `triton`.
    """

    embedding: Tensor
    text: Tensor
    probe: Probe | None = None
    ops: ModuleType = plain

    def show(self, layer: str, features: Tensor) -> None:
        """Show what a layer hands on, [b, f, h, w, c], where the probe asks for it."""
        tap = Tap(layer, "features")
        if self.probe is not None and tap in self.probe.taps:
            self.probe.show(tap, features.movedim(-1, 2))


def sinusoid(value: Tensor, width: int) -> Tensor:
    """Embed timesteps or frame rates [b] as [b, width], float32: cosines first, of 10000^(-2i/width)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=value.device) / half)
    angles = value.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def scale_embedding(scale: Tensor, width: int = 256) -> Tensor:
    """Embed guidance scales [b] as [b, width], float32: sines first, of 1000 w (latent consistency models).

    Unlike `sinusoid`, the slowest frequency is exactly 1/10000.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half, device=scale.device))
    angles = 1000 * scale.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
