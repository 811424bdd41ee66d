"""diffusers' autoencoder on a GPU: channels last, all frames of a clip at once, norms and SiLU in one kernel.

The convolutions' biases are added by the kernel that follows, as in the UNet, and what is to be doubled is
convolved before that. Same weights, same numbers to rounding.
"""

from types import ModuleType

import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from motionecho.models.speed.blocks import NormSiLU, Residual, frames, rows
from motionecho.models.speed.layout import Doubled, channels_last


def fused(vae: AutoencoderKL, ops: ModuleType) -> AutoencoderKL:
    """Rebuild the network on the kernels of `ops`; its weights keep their values and lose their names."""
    for half in (vae.encoder, vae.decoder):
        for parent in list(half.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, ResnetBlock2D):
                    setattr(parent, name, Residual(child, ops))
                elif isinstance(child, Attention):
                    setattr(parent, name, VaeAttention(child, ops))
                elif isinstance(child, Upsample2D):
                    setattr(parent, name, Doubled(child.conv, ops))
        half.conv_norm_out, half.conv_act = NormSiLU(half.conv_norm_out, ops), nn.Identity()
    channels_last(vae)
    return vae


def frame_by_frame(vae: AutoencoderKL) -> AutoencoderKL:
    """Have the network take one frame at a time: a clip's activations at full size fill a small card."""
    vae.enable_slicing()
    return vae


class VaeAttention(nn.Module):
    """An attention of a frame's pixels to each other, in one head as wide as the network.

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
        return frames(self.ops.add_linear(whole, mixed.view(whole.shape), self.out))
