"""Wan's blocks on fused kernels: the same function of the same weights, to rounding.

A block is ten products and attentions, and between them what reads and writes tokens once: a gated sum with
the norm that follows, the norm of queries or keys with their turn, the GELU.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from motionecho.denoiser import Noise
from motionecho.models.blockwise import State
from motionecho.models.wan.denoiser import Conditions, WanDenoiser
from motionecho.schedules import Grid

Merged = tuple[Tensor, Tensor]  # weight [outs, in] and bias [outs] of layers side by side


class FusedWan(WanDenoiser):
    """A WanDenoiser on the kernels of `ops`, triton or its plain twin.

    What reads the same tokens is one product, and public layers keep views of its weight. With `using`, where
    factors hook into layers, each layer is called by itself.
    """

    def __init__(
        self,
        network: WanTransformer3DModel,
        grid: Grid,
        layers: Mapping[str, tuple[str, ...]],
        noise: Noise = "fresh",
        using: Callable[[], AbstractContextManager[Any]] = nullcontext,
        checkpointing: bool = False,
        *,
        ops: ModuleType,
    ):
        super().__init__(network, grid, layers, noise, using, checkpointing)
        self.ops, self.merged = ops, dict[nn.Module, Merged]()
        if using is nullcontext:
            for block in network.blocks:
                itself, other = block.attn1, block.attn2
                self.merged[itself] = merged(itself.to_q, itself.to_k, itself.to_v)
                self.merged[other] = merged(other.to_k, other.to_v)

    def _cut(self, latents: Tensor) -> Tensor:
        """Cut latents into tokens by a product: patches do not overlap."""
        conv = self.network.patch_embedding
        for axis, size in zip((4, 3, 2), reversed(conv.kernel_size), strict=True):
            latents = latents.unflatten(axis, (-1, size))
        patches = latents.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)  # [b, n, c pf ph pw]
        return F.linear(patches, conv.weight.flatten(1), conv.bias)

    def computed(self, block: Any, state: State, its: Conditions) -> State:
        ops, norm2, norm3, (tokens,) = self.ops, block.norm2, block.norm3, state
        table = block.scale_shift_table + its.modulation.float()
        shift, scale, gate, shift_3, scale_3, gate_3 = table.unbind(1)
        normal = self._modulated(block.norm1, tokens, scale, shift)
        mixed = self._among(block.attn1, normal, its.rotation)
        tokens, normal = ops.add_scaled_norm(tokens, mixed, gate, norm2.weight, norm2.bias, norm2.eps)
        told = self._of_text(block.attn2, normal, its.text)
        tokens, normal = ops.add_scaled_norm(tokens, told, None, 1 + scale_3, shift_3, norm3.eps)
        first, last = block.ffn.net[0].proj, block.ffn.net[2]
        wide = ops.gelu_linear(normal, first) if self.merged else ops.gelu(first(normal))
        return (ops.add_gated(tokens, last(wide), gate_3),)

    def _modulated(self, norm: Any, tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        normal: Tensor = self.ops.scaled_norm(tokens, 1 + scale, shift, norm.eps)
        return normal

    def _among(self, layer: Any, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Let tokens [b, n, c] attend to each other."""
        parts = self._projected(layer, x, layer.to_q, layer.to_k, layer.to_v)
        query, key, value = (part.unflatten(-1, (layer.heads, -1)) for part in parts)
        query = self.ops.rms_norm(query, layer.norm_q, rotation)
        key = self.ops.rms_norm(key, layer.norm_k, rotation)
        out: Tensor = layer.to_out[0](self.ops.attend_apart(query, key, value).flatten(2))
        return out

    def _of_text(self, layer: Any, x: Tensor, text: Tensor) -> Tensor:
        """Let tokens [b, n, c] attend to those of the text."""
        parts = (layer.to_q(x), *self._projected(layer, text, layer.to_k, layer.to_v))
        query, key, value = (part.unflatten(-1, (layer.heads, -1)) for part in parts)
        query, key = self.ops.rms_norm(query, layer.norm_q), self.ops.rms_norm(key, layer.norm_k)
        out: Tensor = layer.to_out[0](self.ops.attend_to(query, key, value).flatten(2))
        return out

    def _projected(self, attention: nn.Module, x: Tensor, *layers: nn.Module) -> tuple[Tensor, ...]:
        """Project by several layers, which are one where they are merged."""
        if attention in self.merged:
            return F.linear(x, *self.merged[attention]).chunk(len(layers), -1)
        return tuple(layer(x) for layer in layers)


def merged(*layers: nn.Linear) -> Merged:
    """Lay layers side by side; what they had becomes a view of it, under the same names."""
    weight, bias = (
        torch.cat([layer.get_parameter(name).detach() for layer in layers]) for name in ("weight", "bias")
    )
    widths = [len(layer.weight) for layer in layers]
    parts = zip(layers, weight.split(widths), bias.split(widths), strict=True)
    for layer, own_weight, own_bias in parts:
        layer.weight.data, layer.bias.data = own_weight, own_bias
    return weight, bias
