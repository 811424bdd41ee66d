"""From public files, in diffusers' layout, to the networks of an AnimateDiff model.

Its UNet is Stable Diffusion 1.5's with motion modules between the layers; either comes in a file of its own.
"""

import re

import torch
from diffusers import AutoencoderKL, UNetMotionModel
from diffusers.models.embeddings import SinusoidalPositionalEmbedding

from motionecho.models.weights.checkpoint import (
    Shapes,
    State,
    filled,
    inferred,
    length_of,
    ratio_of,
    require_match,
    shapes,
)

BASE, MODULES, VAE = "Stable Diffusion 1.5's UNet", "AnimateDiff's motion modules", "Stable Diffusion's VAE"
WIDTHS, TEXT_WIDTH, LENGTH, HEADS = (320, 640, 1280, 1280), 768, 32, 8
VAE_WIDTHS, LATENT_SCALE = (128, 256, 512, 512), 0.18215
MIDDLE = "mid_block.motion_modules."  # AnimateDiff v2 and Lightning have these, v3 has not
POSITIONS = ".pos_embed.pe"  # sines, which a file may leave out


def load_motion_unet(base: State, modules: State) -> UNetMotionModel:
    """Build the UNet of a base and a file of motion modules, sharing their memory.

    Raises Misfit naming tensors of the one or the other that are missing, unexpected or misshapen.
    """
    middle = any(name.startswith(MIDDLE) for name in modules)
    widths, text_width = inferred(lambda: widths_of(base), lambda: base_shapes(empty_unet()), base)
    net = empty_unet(widths, text_width, middle, _length(modules))
    require_match(base_shapes(net), base, BASE)
    like = next(iter(base.values()))  # where and as what the rest is
    absent = {
        name: SinusoidalPositionalEmbedding(shape[2], shape[1]).pe.to(like)
        for name, shape in module_shapes(net).items()
        if name.endswith(POSITIONS) and name not in modules
    }
    modules = absent | dict(modules)
    require_match(module_shapes(net), modules, MODULES)
    return filled(net, dict(base) | modules)


def empty_unet(
    widths: tuple[int, ...] = WIDTHS, text_width: int = TEXT_WIDTH, middle: bool = True, length: int = LENGTH
) -> UNetMotionModel:
    """Build the network without memory: names and shapes alone."""
    with torch.device("meta"):
        return UNetMotionModel(
            block_out_channels=widths,
            cross_attention_dim=text_width,
            num_attention_heads=HEADS,
            motion_num_attention_heads=HEADS,
            motion_max_seq_length=length,
            use_motion_mid_block=middle,
        )


def base_shapes(net: UNetMotionModel) -> Shapes:
    """Return the shapes of Stable Diffusion's file."""
    return {name: shape for name, shape in shapes(net.state_dict()).items() if "motion_modules" not in name}


def module_shapes(net: UNetMotionModel) -> Shapes:
    """Return the shapes of a file of motion modules."""
    return {name: shape for name, shape in shapes(net.state_dict()).items() if "motion_modules" in name}


def load_vae(state: State) -> AutoencoderKL:
    """Build the autoencoder; files of before 2023 call its attention's tensors otherwise.

    Frames [n, 3, 8h, 8w] in [-1, 1]; latents [n, 4, h, w], to be multiplied by LATENT_SCALE. Raises Misfit.
    """
    tensors = {_renamed(name): tensor for name, tensor in state.items()}
    firsts = [f"encoder.down_blocks.{k}.resnets.0.conv1.bias" for k in range(len(VAE_WIDTHS))]
    widths = inferred(
        lambda: tuple(length_of(tensors, name, VAE) for name in firsts),
        lambda: shapes(empty_vae().state_dict()),
        tensors,
    )
    vae = empty_vae(widths)
    require_match(shapes(vae.state_dict()), tensors, VAE)
    return filled(vae, tensors)


def empty_vae(widths: tuple[int, ...] = VAE_WIDTHS) -> AutoencoderKL:
    """Build the network without memory: names and shapes alone."""
    with torch.device("meta"):
        return AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            latent_channels=4,
            layers_per_block=2,
            scaling_factor=LATENT_SCALE,
        )


def _renamed(name: str) -> str:
    older = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    return re.sub(r"(attentions\.0\.)(query|key|value|proj_attn)\b", lambda m: m[1] + older[m[2]], name)


def widths_of(base: State) -> tuple[tuple[int, ...], int]:
    """Read off the widths of the levels and of the text; raises Misfit where it is no such base."""
    firsts = [f"down_blocks.{k}.resnets.0.conv1.bias" for k in range(len(WIDTHS))]
    widths = tuple(length_of(base, name, BASE) for name in firsts)
    key = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    return widths, ratio_of(base, key, widths[0], BASE)


def _length(modules: State) -> int:
    """Read off the longest clip that the positions reach to, the published one where the file has none."""
    lengths = {t.shape[1] for name, t in modules.items() if name.endswith(POSITIONS) and t.ndim == 3}
    return min(lengths, default=LENGTH)
