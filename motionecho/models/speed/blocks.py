"""Blocks that diffusers' networks of pictures share, on fused kernels.

Frames are [n, c, h, w] in channels-last memory. Biases of convolutions are added by the kernel that follows.
"""

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from motionecho.models.speed.layout import Doubled

Conv = Any


class NormSiLU(nn.Module):
    """A group normalisation and SiLU of frames [n, c, h, w], after a shift [1 or n, c]."""

    def __init__(self, norm: nn.GroupNorm, ops: ModuleType):
        super().__init__()
        self.norm, self.ops = norm, ops

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        return frames(self.ops.group_norm(rows(x), self.norm, over_time=False, silu=True, shift=shift))


class Residual(nn.Module):
    """A ResnetBlock2D of frames [n, c, h, w]; an autoencoder's has no time embedding [n, e]."""

    def __init__(self, block: ResnetBlock2D, ops: ModuleType):
        super().__init__()
        self.norm1, self.norm2 = NormSiLU(block.norm1, ops), NormSiLU(block.norm2, ops)
        self.conv1, self.conv2, self.shortcut = block.conv1, block.conv2, block.conv_shortcut
        self.embed, self.ops = block.time_emb_proj, ops

    def forward(self, input_tensor: Tensor, temb: Tensor | None = None) -> Tensor:
        x, shift = input_tensor, self.conv1.bias[None]
        if self.embed is not None and temb is not None:
            shift = shift + self.embed(F.silu(temb))
        hidden = convolved(self.norm1(x), self.conv1)
        hidden = convolved(self.norm2(hidden, shift), self.conv2)
        bias = self.conv2.bias
        if self.shortcut is not None:
            x, bias = convolved(x, self.shortcut), bias + self.shortcut.bias
        return frames(self.ops.join(rows(x), rows(hidden), bias))


class FusedUpsample(nn.Module):
    """A nearest neighbour to twice the size or one that is asked for, then a convolution."""

    def __init__(self, layer: Upsample2D, ops: ModuleType):
        super().__init__()
        self.conv, self.doubled = layer.conv, Doubled(layer.conv, ops)

    def forward(self, hidden_states: Tensor, output_size: tuple[int, int] | None = None) -> Tensor:
        if output_size is None and not (torch.is_grad_enabled() and hidden_states.requires_grad):
            return self.doubled(hidden_states)
        scale = 2.0 if output_size is None else None
        out: Tensor = self.conv(F.interpolate(hidden_states, output_size, scale, mode="nearest"))
        return out


def convolved(x: Tensor, conv: Conv) -> Tensor:
    """Convolve without the bias, which is the next kernel's to add; who watches the layer sees that, too."""
    out = F.conv2d(x, conv.weight, None, conv.stride, conv.padding)
    for watch in conv._forward_hooks.values():  # torch calls them for whole modules alone
        watch(conv, (x,), out)
    return out


def rows(x: Tensor) -> Tensor:
    """Lay frames [n, c, h, w] out as videos [n, 1, h, w, c] of `ops`; a view where x is channels last."""
    return x.permute(0, 2, 3, 1)[:, None]


def frames(x: Tensor) -> Tensor:
    return x[:, 0].permute(0, 3, 1, 2)
