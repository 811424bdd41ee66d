"""VideoCrafter's autoencoder is Stable Diffusion's: diffusers' AutoencoderKL under the LDM's tensor names."""

import re

import torch
from diffusers import AutoencoderKL

from motionecho.models.weights.checkpoint import State, component, filled, inferred, length_of, require_match

WHAT = "VideoCrafter's autoencoder"
PREFIX = "first_stage_model."
LATENT_SCALE = 0.18215
LEVELS, BLOCKS = 4, 2


def load_vae(state: State) -> AutoencoderKL:
    """Build the autoencoder of a whole VideoCrafter2 checkpoint, or of its bare tensors.

    Frames [n, 3, 8h, 8w] in [-1, 1]; latents [n, 4, h, w], to be multiplied by LATENT_SCALE. Raises UserError
    naming tensors that are missing, unexpected or misshapen.
    """
    tensors = component(state, PREFIX)

    def widths() -> tuple[int, ...]:
        firsts = (f"encoder.down.{level}.block.0.conv1.bias" for level in range(LEVELS))
        return tuple(length_of(tensors, name, WHAT) for name in firsts)

    vae = empty_vae(inferred(widths, lambda: public_shapes(empty_vae()), tensors))
    require_match(public_shapes(vae), tensors, WHAT)
    return filled(
        vae, {name: tensors[public_name(name)].reshape(t.shape) for name, t in vae.state_dict().items()}
    )


def empty_vae(widths: tuple[int, ...] = (128, 256, 512, 512)) -> AutoencoderKL:
    """Build the network without memory: names and shapes alone."""
    with torch.device("meta"):
        return AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * LEVELS,
            up_block_types=("UpDecoderBlock2D",) * LEVELS,
            latent_channels=4,
            layers_per_block=BLOCKS,
            scaling_factor=LATENT_SCALE,
        )


def public_shapes(vae: AutoencoderKL) -> dict[str, torch.Size]:
    """Return the LDM's names and shapes; its attention is 1x1 convolutions, not linear layers."""
    return {
        public_name(name): torch.Size([*t.shape, 1, 1]) if "attentions" in name and t.ndim == 2 else t.shape
        for name, t in vae.state_dict().items()
    }


def public_name(name: str) -> str:
    """Return the LDM's name of one of diffusers' tensors."""

    def mirrored(match: re.Match[str]) -> str:  # diffusers numbers the decoder's levels in running order
        return f"decoder.up.{LEVELS - 1 - int(match[1])}"

    rules = (
        (r"^decoder\.up_blocks\.(\d)", mirrored),
        (r"^encoder\.down_blocks\.(\d)", r"encoder.down.\1"),
        (r"mid_block\.resnets\.0", "mid.block_1"),
        (r"mid_block\.resnets\.1", "mid.block_2"),
        (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
        (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
        (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
        (r"\.resnets\.", ".block."),
        (r"conv_shortcut", "nin_shortcut"),
        (r"(down|up)samplers\.0", r"\1sample"),
        (r"conv_norm_out", "norm_out"),
    )
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
