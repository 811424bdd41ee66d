"""Checkpoints of random weights in the public layout: a dry run of everything but the picture."""

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from motionecho.backbones.videocrafter.checkpoint import TEXT, UNET, VAE
from motionecho.backbones.videocrafter.loading import empty_unet
from motionecho.backbones.videocrafter.text import empty_text
from motionecho.backbones.videocrafter.unet import UNetConfig
from motionecho.backbones.videocrafter.vae import empty_vae, public_shapes


def random_videocrafter2(seed: int = 0) -> dict[str, Tensor]:
    """What VideoCrafter2's model.ckpt holds: UNet, autoencoder and text tower under their prefixes."""
    unet, text = empty_unet(UNetConfig()).state_dict(), empty_text().state_dict()
    shapes = {UNET + name: tensor.shape for name, tensor in unet.items()}
    shapes |= {VAE + name: shape for name, shape in public_shapes(empty_vae()).items()}
    shapes |= {TEXT + name: tensor.shape for name, tensor in text.items()}
    return random_tensors(shapes, seed)


def random_turbo_v2(seed: int = 1) -> dict[str, Tensor]:
    """What T2V-Turbo-V2's unet_mg.pt holds: a bare UNet with both scales' projections."""
    unet = empty_unet(UNetConfig(scale_width=256, motion_width=256)).state_dict()
    return random_tensors({name: tensor.shape for name, tensor in unet.items()}, seed)


def random_tensors(shapes: Mapping[str, torch.Size], seed: int) -> dict[str, Tensor]:
    """Weights that keep a signal's size, none of them zero: scales about 1, the rest by their fan-in."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        drawn = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            tensors[name] = drawn.mul_(prod(shape[1:]) ** -0.5)
        else:
            tensors[name] = drawn.mul_(0.1).add_(1.0 if name.endswith("weight") else 0.0)
    return tensors
