"""LVDM's 3D UNet, the network of VideoCrafter2 and T2V-Turbo: four levels, two blocks each, skips across.

A stage is a list [ResBlock, SpatialTransformer, TemporalTransformer, Upsample], shortened where the network
has less; the deepest level has residual blocks alone.
"""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from motionecho.denoiser import Kind, Probe, probing
from motionecho.models.kernels import plain
from motionecho.models.speed.layout import channels_last
from motionecho.models.videocrafter.layers import (
    MERGED,
    Attention,
    Block,
    Downsample,
    ResBlock,
    SpatialTransformer,
    Stage,
    TemporalTransformer,
    Upsample,
    conv_in_frames,
)
from motionecho.models.videocrafter.signal import Signal, sinusoid
from motionecho.models.weights.checkpoint import GROUPS, layer_weight

LATENT_CHANNELS = 4
FEATURED = (ResBlock, TemporalTransformer, Upsample)


@dataclass(frozen=True)
class UNetConfig:
    """The widths of the network; the defaults are VideoCrafter2's."""

    channels: int = 320
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2  # per level
    attention_levels: tuple[int, ...] = (0, 1, 2)
    head_width: int = 64
    text_width: int = 1024
    scale_width: int | None = None  # of the guidance scale's embedding; T2V-Turbo: 256
    motion_width: int | None = None  # of the motion scale's embedding; T2V-Turbo-V2: 256


class UNet(nn.Module):
    """A predictor of the noise of video latents [b, 4, f, h, w]; h and w have to be divisible by 8."""

    def __init__(self, config: UNetConfig = UNetConfig()):
        super().__init__()
        self.config, self.ops = config, plain
        first, embedding = config.channels, 4 * config.channels
        self.time_embed = _two_layers(first, embedding)
        self.fps_embedding = _two_layers(first, embedding)
        if config.scale_width is not None:
            self.time_cond_proj = nn.Linear(config.scale_width, first, bias=False)
        if config.motion_width is not None:
            self.motion_cond_proj = nn.Linear(config.motion_width, first, bias=False)
            self.combine_proj = nn.Linear(2 * first, first, bias=False)

        def stage(width: int, width_out: int, level: int) -> Stage:
            seeing = attention(width_out) if level in config.attention_levels else []
            return Stage([ResBlock(width, width_out, embedding), *seeing])

        def attention(width: int) -> list[nn.Module]:
            heads = width // config.head_width
            return [SpatialTransformer(width, config.head_width, config.text_width),
                    TemporalTransformer(width, heads, config.head_width)]  # fmt: skip

        widths = [first * multiplier for multiplier in config.multipliers]
        width, skips = first, [first]
        self.input_blocks = nn.ModuleList([Stage([nn.Conv2d(LATENT_CHANNELS, first, 3, padding=1)])])
        for level, width_out in enumerate(widths):
            if level > 0:
                self.input_blocks.append(Stage([Downsample(width)]))
                skips.append(width)
            for _ in range(config.blocks):
                self.input_blocks.append(stage(width, width_out, level))
                width = width_out
                skips.append(width)
        self.init_attn = Stage([TemporalTransformer(first, 8, config.head_width, convolutional=True)])

        self.middle_block = Stage(
            [ResBlock(width, width, embedding), *attention(width), ResBlock(width, width, embedding)]
        )
        self.output_blocks = nn.ModuleList()
        for level, width_out in reversed(list(enumerate(widths))):
            for k in range(config.blocks + 1):
                layers = stage(width + skips.pop(), width_out, level)
                width = width_out
                if level > 0 and k == config.blocks:
                    layers.append(Upsample(width))
                self.output_blocks.append(layers)
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, first), nn.SiLU(), nn.Conv2d(first, LATENT_CHANNELS, 3, padding=1)
        )

        attentions = {n: m for n, m in self.named_modules() if isinstance(m, Attention) and m.over_time}
        featured = {n: m for n, m in self.named_modules() if isinstance(m, FEATURED)}
        for name, module in (attentions | featured).items():
            module.name = name
        parts = (".out_layers.3", ".temopral_conv")
        shown = [
            n + part for n, m in featured.items() for part in (parts if isinstance(m, ResBlock) else ("",))
        ]
        self.probeable: dict[Kind, tuple[str, ...]] = {
            "time_attention": tuple(attentions),
            "features": tuple(shown),
        }
        self.economical = False  # with a gradient, the largest activations are computed twice, not kept

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        fps: int = 16,
        w_embedding: Tensor | None = None,
        motion_embedding: Tensor | None = None,
        probe: Probe | None = None,
    ) -> Tensor:
        """Predict the noise of x [b, 4, f, h, w] at timesteps [b] by text [b, tokens, width] and frame rate.

        `w_embedding` and `motion_embedding` [b, 256] are the student's `scale_embedding`s. A probe is filled
        on the way.
        """
        embedding = self.embed(timesteps, fps, w_embedding, motion_embedding)
        signal = Signal(F.silu(embedding), context.to(self.dtype), probe, self.ops)
        with probing(probe, self.probeable):
            hidden = self.input_blocks[0](x.to(self.dtype).permute(0, 2, 3, 4, 1).contiguous(), signal)
            hidden = self.init_attn(hidden, signal)
            skips, fine = [hidden], hidden.shape[2] * hidden.shape[3] // 4  # pixels of the second level
            for stage in self.input_blocks[1:]:
                hidden = self._stage(stage, hidden, signal, fine)
                skips.append(hidden)
            hidden = self.middle_block(hidden, signal)
            for stage in self.output_blocks:
                hidden = self._stage(stage, _side_by_side(hidden, skips.pop()), signal, fine)
            hidden = signal.ops.group_norm(hidden, self.out[0], over_time=False, silu=True)
            return conv_in_frames(hidden, self.out[-1]).permute(0, 4, 1, 2, 3)

    def _stage(self, stage: nn.Module, x: Tensor, signal: Signal, fine: int) -> Tensor:
        if self.economical and torch.is_grad_enabled() and x.shape[2] * x.shape[3] >= fine:
            return cast(Tensor, checkpoint(stage, x, signal, use_reentrant=False))
        return cast(Tensor, stage(x, signal))

    def enable_gradient_checkpointing(self) -> None:
        self.economical = True

    def disable_gradient_checkpointing(self) -> None:
        self.economical = False

    def embed(
        self, timesteps: Tensor, fps: int, w_embedding: Tensor | None, motion_embedding: Tensor | None
    ) -> Tensor:
        """Embed what residual blocks are told: time, guidance scale, motion scale, frame rate, as [b, 4c]."""
        time = sinusoid(timesteps, self.config.channels).to(self.dtype)
        if w_embedding is not None:
            scale = self.time_cond_proj(w_embedding.to(self.dtype))
            if motion_embedding is not None:
                motion = self.motion_cond_proj(motion_embedding.to(self.dtype))
                scale = self.combine_proj(torch.cat([scale, motion], dim=1))
            time = time + scale
        rate = sinusoid(torch.full_like(timesteps, fps), self.config.channels).to(self.dtype)
        return self.time_embed(time) + self.fps_embedding(rate)

    def weight(self, name: str) -> Tensor:
        """Return a view [out, in] of a linear layer's weight by its public name, merged or not."""
        single, merged = self._named
        if name in merged:
            whole, k = merged[name]
            return whole.detach().chunk(len(MERGED))[k]
        return layer_weight(single.get(name), name, [*single, *merged])

    @cached_property
    def _named(self) -> tuple[dict[str, nn.Module], dict[str, tuple[nn.Parameter, int]]]:
        """Linear layers by name, and what is left of those that were merged; fusing asks anew."""
        linear = nn.Linear | nn.Conv1d
        single: dict[str, nn.Module] = {n: m for n, m in self.named_modules() if isinstance(m, linear)}
        merged = {
            f"{parent}.{part}": (layer.to_qkv, k)
            for parent, layer in self.named_modules()
            if isinstance(layer, Attention) and layer.to_qkv is not None
            for k, part in enumerate(MERGED)
        }
        return single, merged


def beside(net: UNet, ops: ModuleType) -> UNet:
    """Put the network on the kernels of `ops`, its layers under their names, for adapters beside them."""
    net.ops = ops
    channels_last(net)
    return net


def fused(net: UNet, ops: ModuleType) -> UNet:
    """Rebuild the network on the kernels of `ops`, its weights laid out as they are read.

    Those of self-attention are merged, and lose their names; those that follow a doubling are kept in either
    form, for with and without a gradient.
    """
    net.ops = ops
    vars(net).pop("_named", None)
    for layer in list(net.modules()):
        if isinstance(layer, Block):
            layer.merge()
        elif isinstance(layer, Upsample):
            layer.shorten(ops)
    channels_last(net)
    return net


def _side_by_side(x: Tensor, y: Tensor) -> Tensor:
    """Join the channels of both; in two dimensions, since torch's fast kernel takes four at most."""
    return torch.cat([x.flatten(0, -2), y.flatten(0, -2)], dim=-1).unflatten(0, x.shape[:-1])


def _two_layers(width: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width_out), nn.SiLU(), nn.Linear(width_out, width_out))
