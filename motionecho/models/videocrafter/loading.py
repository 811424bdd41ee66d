"""From a state dict in the public layout to the UNet that it belongs to."""

from dataclasses import replace
from functools import cache
from typing import Any

import torch

from motionecho.models.videocrafter.unet import UNet, UNetConfig
from motionecho.models.weights.checkpoint import (
    Shapes,
    State,
    component,
    filled,
    inferred,
    length_of,
    ratio_of,
    require_match,
    shapes,
)

WHAT = "VideoCrafter's UNet"
PREFIX = "model.diffusion_model."
TURBO = ("time_cond_proj.weight", "motion_cond_proj.weight", "combine_proj.weight")  # V1 has the first alone


def load_unet(state: State, **overrides: Any) -> UNet:
    """Build the UNet whose tensors these are, for evaluation, sharing their memory.

    `state` is a whole VideoCrafter2 checkpoint or a bare UNet (T2V-Turbo), with or without the projections
    of guidance and motion scale. Raises UserError naming tensors that are missing, unexpected or misshapen.
    """
    tensors = component(state, PREFIX)
    config = inferred(lambda: infer_config(tensors), lambda: published_shapes(*_scales(tensors)), tensors)
    net = empty_unet(replace(config, **overrides))
    require_match(shapes(net.state_dict()), tensors, WHAT)
    return filled(net, tensors)


def empty_unet(config: UNetConfig) -> UNet:
    """Build the network without memory: names and shapes alone."""
    with torch.device("meta"):
        return UNet(config)


@cache
def published_shapes(scale: bool = False, motion: bool = False) -> Shapes:
    """Return shapes at full size, with or without the projections of guidance and motion scale."""
    config = UNetConfig(scale_width=256 if scale else None, motion_width=256 if motion else None)
    return shapes(empty_unet(config).state_dict())


def infer_config(tensors: State) -> UNetConfig:
    """Read the widths off biases and tensor sizes, which a transposed weight cannot mislead."""

    def width(name: str) -> int:
        return length_of(tensors, name, WHAT)

    def over(name: str, known: int) -> int:
        return ratio_of(tensors, name, known, WHAT)

    distilled, moved = _scales(tensors)
    plain = UNetConfig()
    channels = width("input_blocks.0.0.bias")
    levels = range(len(plain.multipliers))
    firsts = [f"input_blocks.{1 + level * (plain.blocks + 1)}.0.out_layers.3.bias" for level in levels]
    return UNetConfig(
        channels=channels,
        multipliers=tuple(width(name) // channels for name in firsts),
        head_width=over("init_attn.0.proj_in.weight", 8 * channels),
        text_width=over("input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", width(firsts[0])),
        scale_width=over(TURBO[0], channels) if distilled else None,
        motion_width=over(TURBO[1], channels) if moved else None,
    )


def _scales(tensors: State) -> tuple[bool, bool]:
    return any(name in tensors for name in TURBO), any(name in tensors for name in TURBO[1:])
