"""diffusers' decoder of Wan's videos on a GPU: channels last, norm and SiLU in one kernel, no padded copies.

Frames still come a few at a time, and what convolutions carry along bounds the memory. Same weights, same
numbers to rounding. The encoder, which is in float32, stays as it is.
"""

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    WanDecoder3d,
    WanResample,
    WanResidualBlock,
)
from torch import Tensor, nn

from motionecho.models.speed.layout import Doubled, channels_last


def fused_decoder(vae: AutoencoderKLWan, ops: ModuleType) -> AutoencoderKLWan:
    """Rebuild the decoder on the kernels of `ops`; its weights keep their values and lose their names."""
    for module in list(vae.decoder.modules()):
        if isinstance(module, WanResidualBlock):
            module.norm1, module.norm2 = RMSSiLU(module.norm1, ops), RMSSiLU(module.norm2, ops)
            module.nonlinearity = nn.Identity()
        elif isinstance(module, WanDecoder3d):
            module.norm_out, module.nonlinearity = RMSSiLU(module.norm_out, ops), nn.Identity()
        elif isinstance(module, WanResample) and module.mode.startswith("upsample"):
            module.resample = Doubled(module.resample[1], ops)
        for name, child in list(module.named_children()):
            if type(child) is WanCausalConv3d:
                setattr(module, name, CausalConv(child))
    channels_last(vae.decoder)
    return vae


class RMSSiLU(nn.Module):
    """The norm of a video's channels [b, c, f, h, w], and SiLU."""

    def __init__(self, norm: Any, ops: ModuleType):
        super().__init__()
        self.gamma, self.ops = norm.gamma, ops

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.ops.rms_silu(x.movedim(1, -1), self.gamma.flatten())
        return out.movedim(-1, 1)


class CausalConv(nn.Module):
    """A convolution of a video [b, c, f, h, w] that sees the past alone: frames before these, or zeros."""

    def __init__(self, conv: WanCausalConv3d):
        super().__init__()
        self.weight, self.bias, self.stride = conv.weight, conv.bias, conv.stride
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last_3d)
        width, _, height, _, self.past, _ = conv._padding
        self.padding = (0, height, width)

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        missing = self.past
        if cache_x is not None and missing > 0:
            x, missing = torch.cat([cache_x, x], dim=2), missing - cache_x.shape[2]
        if missing > 0:  # of the first frames alone
            x = F.pad(x, (0, 0, 0, 0, missing, 0))
        return F.conv3d(x, self.weight, self.bias, self.stride, self.padding)
