"""diffusers' UNetMotionModel (AnimateDiff's architecture) wrapped as a denoiser that can be probed."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from motionecho.denoiser import (
    Eager,
    Kind,
    Noise,
    Probe,
    Tap,
    probing,
)
from motionecho.models.weights.checkpoint import layer_weight
from motionecho.schedules import Answer, Grid, Level, boundary, clean

# what shows its output as features, beside the second convolution of a residual block
FEATURED = (AnimateDiffTransformer3D, ResnetBlock2D, Upsample2D)


class _TemporalAttention:
    """An attention processor: fused as usual, the explicit map where the running probe names this layer."""

    def __init__(self, name: str, owner: "MotionUNet"):
        self.tap, self.owner = Tap(name), owner

    @property
    def shows(self) -> bool:
        """Whether the running probe asks for this layer's map."""
        return self.owner.probe is not None and self.tap in self.owner.probe.taps

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
                 attention_mask: Tensor | None = None, **_: object) -> Tensor:  # fmt: skip
        mixed = self.mixed(attn, hidden_states, encoder_hidden_states, attention_mask)
        return attn.to_out[1](attn.to_out[0](mixed))

    def mixed(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
              attention_mask: Tensor | None = None) -> Tensor:  # fmt: skip
        """Compute all but the last projection, of tokens [b*h*w, f, c]."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            project(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project, x in ((attn.to_q, hidden_states), (attn.to_k, source), (attn.to_v, source))
        )
        probe = self.owner.probe
        if probe is None or not self.shows:
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=attention_mask, scale=attn.scale
            )
        else:
            weights = (query.float() @ key.float().mT * attn.scale).softmax(-1)  # [b*h*w, heads, f, f]
            probe.show(self.tap, weights.unflatten(0, (self.owner.batch, -1)))
            mixed = weights.to(value.dtype) @ value
        return mixed.transpose(1, 2).flatten(2)


class MotionUNet(Eager):
    """A denoiser; `layers` are the layers that each strategy reads, named as modules of the network.

    `answer` is what its output means. A consistency student's prediction is its input at t = 0 (`boundary`).
    """

    passes = 1

    def __init__(
        self,
        network: UNetMotionModel,
        grid: Grid,
        layers: Mapping[str, tuple[str, ...]],
        answer: Answer = "eps",
        noise: Noise = "fresh",
        bounded: bool = False,
    ):
        self.network, self.grid, self.layers = network, grid, layers
        self.answer, self.noise, self.bounded = answer, noise, bounded
        self.probe: Probe | None = None
        self.batch = 0
        # kept by their public names, which fusing takes from the network
        self._linear = {name: layer for name, layer in network.named_modules() if _is_linear(layer)}
        attentions = [
            n for n, m in network.named_modules() if "motion_modules" in n and isinstance(m, Attention)
        ]
        for name in attentions:
            network.get_submodule(name).set_processor(_TemporalAttention(name, self))
        shown = [n for n, m in network.named_modules() if isinstance(m, FEATURED) or n.endswith(".conv2")]
        self._probeable: dict[Kind, list[str]] = {"time_attention": attentions, "features": shown}
        kinds = {"temporal": AnimateDiffTransformer3D, "spatial": Transformer2DModel}
        self.transformers = {
            kind: tuple(n for n, m in network.named_modules() if isinstance(m, its))
            for kind, its in kinds.items()
        }
        self.over_time = self.transformers["temporal"]
        self.levels = len(network.down_blocks)

    def x0(
        self,
        z: Tensor,
        at: Level,
        text: Tensor,
        probe: Probe | None = None,
        added: Mapping[str, Any] = MappingProxyType({}),
    ) -> Tensor:
        """Answer as a denoiser does; `added` are further arguments of the network."""
        with probing(probe, self._probeable), ExitStack() as stack:
            self.probe, self.batch = probe, len(z)
            stack.callback(setattr, self, "probe", None)
            for tap in probe.taps if probe else ():
                if tap.kind == "features":
                    layer = self.network.get_submodule(tap.layer)
                    stack.callback(layer.register_forward_hook(partial(self._show, tap)).remove)
            timestep = torch.as_tensor(at.t, device=z.device).expand(len(z))
            context = text.to(self.network.dtype).repeat_interleave(z.shape[2], 0)
            out = self.network(z.to(self.network.dtype), timestep, context, **added).sample.float()
            x0 = clean(self.answer, z, out, at)
            return boundary(z, x0, at) if self.bounded else x0

    def _show(self, tap: Tap, layer: nn.Module, inputs: object, out: Tensor) -> None:
        if self.probe is not None:
            self.probe.show(tap, out.unflatten(0, (self.batch, -1)))

    def shrinks(self, layer: str) -> int:
        level = {"down_blocks": lambda k: k, "up_blocks": lambda k: self.levels - 1 - k}
        where, k = layer.split(".")[:2]
        return 2 ** (level[where](int(k)) if where in level else self.levels - 1)

    def weight(self, name: str) -> Tensor:
        return layer_weight(self._linear.get(name), name, self._linear)


def _is_linear(layer: nn.Module) -> bool:
    pointwise = isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
    return isinstance(layer, nn.Linear) or pointwise
