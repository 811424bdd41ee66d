"""diffusers' UNetMotionModel on fused kernels: channels last throughout.

Blocks of the network are exchanged for others that hold the same weights and compute the same to rounding.
Frames are [n, c, h, w] in channels-last memory, so that tokens [n, h*w, c] are a view of them.
"""

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNetMotionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from motionecho.models.speed.blocks import FusedUpsample, NormSiLU, Residual, frames, rows
from motionecho.models.speed.layout import channels_last

Linear = Any


def fused(net: UNetMotionModel, ops: ModuleType) -> UNetMotionModel:
    """Rebuild the network on the kernels of `ops`; probes work as before, names of weights are lost."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ResnetBlock2D):
                setattr(parent, name, Residual(child, ops))
            elif isinstance(child, Transformer2DModel):
                setattr(parent, name, FrameTransformer(child, ops))
            elif isinstance(child, AnimateDiffTransformer3D):
                setattr(parent, name, MotionTransformer(child, ops))
            elif isinstance(child, Upsample2D):
                setattr(parent, name, FusedUpsample(child, ops))
    net.conv_norm_out, net.conv_act = NormSiLU(net.conv_norm_out, ops), nn.Identity()
    channels_last(net)
    return net


class FrameTransformer(nn.Module):
    """A transformer in which pixels of a frame attend to each other, then to the text."""

    def __init__(self, layer: Transformer2DModel, ops: ModuleType):
        super().__init__()
        self.norm, self.proj_in, self.proj_out, self.ops = layer.norm, layer.proj_in, layer.proj_out, ops
        self.blocks = nn.ModuleList(
            FusedBlock(block, FrameAttention(block.attn1, ops), TextAttention(block.attn2, ops), ops)
            for block in layer.transformer_blocks
        )

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object) -> tuple[Tensor]:
        whole = rows(hidden_states)
        tokens = self.ops.group_norm(whole, self.norm, over_time=False).flatten(1, 3)
        tokens = projected(tokens, self.proj_in)
        for block in self.blocks:
            tokens = block(tokens, encoder_hidden_states)
        return (frames(self.ops.add_linear(whole, tokens.view(whole.shape), self.proj_out)),)


class MotionTransformer(nn.Module):
    """A transformer in which each pixel attends to itself in all frames, twice."""

    def __init__(self, layer: AnimateDiffTransformer3D, ops: ModuleType):
        super().__init__()
        self.norm, self.proj_in, self.proj_out, self.ops = layer.norm, layer.proj_in, layer.proj_out, ops
        self.blocks = nn.ModuleList(
            FusedBlock(
                block, TimeAttention(block, block.attn1, ops), TimeAttention(block, block.attn2, ops), ops
            )
            for block in layer.transformer_blocks
        )

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: None = None, timestep: None = None,
        class_labels: None = None, num_frames: int = 1, cross_attention_kwargs: None = None,
    ) -> Tensor:  # fmt: skip
        video = rows(hidden_states)[:, 0].unflatten(0, (-1, num_frames))  # [b, f, h, w, c]
        tokens = self.ops.group_norm(video, self.norm, over_time=True).flatten(2, 3)
        tokens = self.proj_in(tokens)
        for block in self.blocks:
            tokens = block(tokens, None)
        video = self.ops.add_linear(video, tokens.view(video.shape), self.proj_out)
        return frames(video.flatten(0, 1)[:, None])


class FusedBlock(nn.Module):
    """A block of two attentions and a gated feed-forward, each added to tokens normalised for it.

    Attentions leave their last projection, `out`, to the sum.
    """

    def __init__(self, block: BasicTransformerBlock, first: nn.Module, second: nn.Module, ops: ModuleType):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = block.norm1, block.norm2, block.norm3
        self.first, self.second, self.ops = first, second, ops
        gated: Any = block.ff.net[0]
        self.widen, self.narrow = gated.proj, block.ff.net[2]

    def forward(self, x: Tensor, text: Tensor | None) -> Tensor:
        ops = self.ops
        mixed = self.first(ops.layer_norm(x, self.norm1), text)
        x, tokens = ops.add_norm(x, mixed, self.first.out, self.norm2)
        x, tokens = ops.add_norm(x, self.second(tokens, text), self.second.out, self.norm3)
        total: Tensor = ops.add_linear(x, ops.geglu(tokens, self.widen), self.narrow)
        return total


class FrameAttention(nn.Module):
    """An attention of tokens [n, p, c] to themselves."""

    def __init__(self, attn: Attention, ops: ModuleType):
        super().__init__()
        self.heads, self.out, self.weight, self.ops = attn.heads, attn.to_out[0], merged(attn), ops

    def forward(self, x: Tensor, text: Tensor | None) -> Tensor:
        mixed: Tensor = self.ops.attend(F.linear(x, self.weight).unflatten(-1, (3, self.heads, -1)))
        return mixed.flatten(2)


class TextAttention(nn.Module):
    """An attention of tokens [n, p, c] to text states [n, t, e]."""

    def __init__(self, attn: Attention, ops: ModuleType):
        super().__init__()
        self.heads, self.out, self.ops = attn.heads, attn.to_out[0], ops
        self.to_q, self.to_k, self.to_v = attn.to_q, attn.to_k, attn.to_v

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        parts = (self.to_q(x), self.to_k(text), self.to_v(text))
        mixed: Tensor = self.ops.attend_to(*(part.unflatten(-1, (self.heads, -1)) for part in parts))
        return mixed.flatten(2)


class TimeAttention(nn.Module):
    """An attention of tokens [b, f, p, c] to their pixel in all frames, after positions in time were added.

    What a probe asks for, the layer's own processor shows it.
    """

    def __init__(self, block: BasicTransformerBlock, attn: Attention, ops: ModuleType):
        super().__init__()
        self.attn, self.out, self.ops, self.weight = attn, attn.to_out[0], ops, merged(attn)
        self.positions: Any = block.pos_embed

    def forward(self, x: Tensor, text: None) -> Tensor:
        if self.positions is not None:
            x = x + self.positions.pe[0, : x.shape[1], None]
        attn: Any = self.attn
        if attn.processor.shows:
            shown = attn.processor.mixed(attn, x.transpose(1, 2).flatten(0, 1))  # [b*p, f, c]
            return shown.unflatten(0, (len(x), -1)).transpose(1, 2)
        qkv = F.linear(x, self.weight).unflatten(-1, (3, attn.heads, -1))
        mixed: Tensor = self.ops.attend_over_time(qkv)
        return mixed.flatten(-2)


def merged(attn: Attention) -> nn.Parameter:
    """Merge queries', keys' and values' weights into one, of which the three become views."""
    parts: list[Linear] = [attn.to_q, attn.to_k, attn.to_v]
    whole = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
    for part, rows_of_it in zip(parts, whole.data.chunk(3), strict=True):
        part.weight.data = rows_of_it
    return whole


def projected(tokens: Tensor, layer: Linear) -> Tensor:
    """Project by a linear layer, or by the 1x1 convolution that some bases have in its place."""
    return F.linear(tokens, layer.weight.flatten(1), layer.bias)
