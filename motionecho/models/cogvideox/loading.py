"""From diffusers' folders to CogVideoX's transformer and autoencoder, strictly."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel

from motionecho.errors import UserError
from motionecho.models.codec import LatentForm
from motionecho.models.cogvideox.forms import VideoForm
from motionecho.models.weights.checkpoint import State, filled, require_match, shapes

TRANSFORMER, AUTOENCODER = "CogVideoX's transformer", "CogVideoX's autoencoder"
PATCH = "patch_embed.proj.weight"
OTHERS = "CogVideoX-5b's are needed"
PICTURED = f"is of a model that makes videos of a picture, while this pair has text alone: {OTHERS}"
NEWER = f"is of CogVideoX1.5, whose patches span frames, while those of this pair do not: {OTHERS}"
MARKS = {"pos_embedding": PICTURED, "ofs_embedding": PICTURED}  # in the names of other models' tensors


def load_transformer(
    state: State, form: VideoForm, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> CogVideoXTransformer3DModel:
    """Build the transformer of these tensors, for evaluation; of their own dtype it shares their memory.

    Raises Misfit naming tensors that are missing, unexpected or misshapen, UserError on a model of another
    kind.
    """
    _refuse_other_kinds(state, form)
    net = empty_transformer(form)
    require_match(shapes(net.state_dict()), state, TRANSFORMER)
    return filled(net, {name: tensor.to(device, dtype) for name, tensor in state.items()})


def empty_transformer(form: VideoForm) -> CogVideoXTransformer3DModel:
    """Build the network without memory: names and shapes alone."""
    sizes: dict[str, Any] = {
        "num_attention_heads": form.heads, "attention_head_dim": form.head, "num_layers": form.blocks,
        "time_embed_dim": form.time, "in_channels": form.channels, "out_channels": form.channels,
        "text_embed_dim": form.text, "use_rotary_positional_embeddings": True,
    }  # fmt: skip
    with torch.device("meta"):
        return CogVideoXTransformer3DModel(**sizes)


def load_vae(
    state: State,
    config: Mapping[str, Any],
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> AutoencoderKLCogVideoX:
    """Build the autoencoder, frames [n, 3, 8k+1, h, w] in [-1, 1]; its encoder stays in float32.

    Raises Misfit.
    """
    vae = empty_vae(config)
    require_match(shapes(vae.state_dict()), state, AUTOENCODER)

    def kind(name: str) -> torch.dtype | None:  # encoded in bfloat16, a clip leads elsewhere
        return torch.float32 if dtype and name.startswith("encoder.") else dtype

    return filled(vae, {name: tensor.to(device, kind(name)) for name, tensor in state.items()})


def empty_vae(config: Mapping[str, Any]) -> AutoencoderKLCogVideoX:
    """Build the network without memory: names and shapes alone."""
    with torch.device("meta"):
        return AutoencoderKLCogVideoX(**config)


def latent_form(vae: AutoencoderKLCogVideoX) -> LatentForm:
    """Return what the autoencoder makes of clips: one scale for all channels."""
    config = vae.config
    return LatentForm(
        channels=config.latent_channels,
        stride=int(config.temporal_compression_ratio),
        shrink=2 ** (len(config.block_out_channels) - 1),
        mean=(0.0,) * config.latent_channels,
        std=(1 / config.scaling_factor,) * config.latent_channels,
    )


def _refuse_other_kinds(state: State, form: VideoForm) -> None:
    patch = state.get(PATCH)
    reasons = [why for mark, why in MARKS.items() if any(mark in name for name in state)]
    if patch is not None and patch.ndim == 4 and patch.shape[1] == 2 * form.channels:  # video and picture
        reasons.append(PICTURED)
    if patch is not None and patch.ndim == 2:
        reasons.append(NEWER)
    for why in reasons:
        raise UserError(f"the checkpoint {why}")
