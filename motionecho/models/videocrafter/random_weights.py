"""Checkpoints of random weights in the public layout, at full size."""

from torch import Tensor

from motionecho.models.videocrafter import loading, text, vae
from motionecho.models.videocrafter.lora import SCALE_WIDTH, factor_shapes
from motionecho.models.videocrafter.unet import UNetConfig
from motionecho.models.weights.checkpoint import shapes
from motionecho.models.weights.random_weights import random_tensors


def random_videocrafter2(seed: int = 0) -> dict[str, Tensor]:
    """Make what VideoCrafter2's model.ckpt holds: UNet, autoencoder and text tower under their prefixes."""
    parts = {
        loading.PREFIX: loading.published_shapes(),
        vae.PREFIX: vae.public_shapes(vae.empty_vae()),
        text.PREFIX: shapes(text.empty_text().state_dict()),
    }
    named = {prefix + name: shape for prefix, part in parts.items() for name, shape in part.items()}
    return random_tensors(named, seed)


def random_student(lora: bool = False, seed: int = 1) -> dict[str, Tensor] | list[Tensor]:
    """Make what T2V-Turbo-V2's unet_mg.pt holds, a bare UNet; or unet_lora.pt of T2V-Turbo, factors."""
    if not lora:
        return random_tensors(loading.published_shapes(scale=True, motion=True), seed)
    factors = factor_shapes(UNetConfig(scale_width=SCALE_WIDTH))
    named = {f"{name}.{k}": shape for name, ends in factors.items() for k, shape in enumerate(ends)}
    return list(random_tensors(named, seed).values())
