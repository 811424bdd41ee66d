"""diffusers' autoencoder on a GPU: channels last, all frames of a clip at once, norms and SiLU in one kernel.

The convolutions' biases are added by the kernel that follows, as in the UNet, and what is to be doubled is
convolved before that. Same weights, same numbers to rounding.
"""

from types import ModuleType
from typing import Any

import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from motionecho.backbones.fast import Doubled, channels_last

Conv = Any


def fused(vae: AutoencoderKL, ops: ModuleType) -> AutoencoderKL:
    """The same network on the kernels of `ops`; its weights keep their values and lose their names."""
    for half in (vae.encoder, vae.decoder):
        for parent in list(half.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, ResnetBlock2D):
                    setattr(parent, name, Residual(child, ops))
                elif isinstance(child, Attention):
                    setattr(parent, name, PixelAttention(child, ops))
                elif isinstance(child, Upsample2D):
                    setattr(parent, name, Doubled(child.conv))
        half.conv_norm_out, half.conv_act = NormSiLU(half.conv_norm_out, ops), nn.Identity()
    channels_last(vae)
    return vae


def frame_by_frame(vae: AutoencoderKL) -> AutoencoderKL:
    """The same network, one frame at a time: a clip's activations at full size would fill a small card."""
    vae.enable_slicing()
    return vae


class NormSiLU(nn.Module):
    """Group normalisation and SiLU of frames [n, c, h, w], after a shift [1 or n, c]."""

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


class PixelAttention(nn.Module):
    """Pixels of a frame attend to each other, in one head as wide as the network.

    No flash kernel takes heads of 512; SDPA's memory-efficient one does, without a map (2,560 pixels: .2 GB).
    """

    def __init__(self, layer: Attention, ops: ModuleType):
        super().__init__()
        self.norm, self.out, self.heads, self.ops = layer.group_norm, layer.to_out[0], layer.heads, ops
        self.projections = nn.ModuleList([layer.to_q, layer.to_k, layer.to_v])

    def forward(self, x: Tensor, temb: None = None) -> Tensor:
        whole = rows(x)
        tokens = self.ops.group_norm(whole, self.norm, over_time=False).flatten(1, 3)  # [n, h*w, c]
        parts = (project(tokens) for project in self.projections)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return frames(self.ops.join(whole, F.linear(mixed, self.out.weight).view(whole.shape), self.out.bias))


def convolved(x: Tensor, conv: Conv) -> Tensor:
    """Without the bias, which is the next kernel's to add."""
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding)


def rows(x: Tensor) -> Tensor:
    """[n, c, h, w] as videos [n, 1, h, w, c] of `ops`, of a frame each; a view where x is channels last."""
    return x.permute(0, 2, 3, 1)[:, None]


def frames(x: Tensor) -> Tensor:
    return x[:, 0].permute(0, 3, 1, 2)
