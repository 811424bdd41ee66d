"""From public files to Wan's transformer and autoencoder, strictly, and by the names that a file has itself.

Three layouts are read: diffusers' folders, single files in the original names, and students' own checkpoints.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor

from motionecho.errors import UserError
from motionecho.models.codec import LatentForm
from motionecho.models.wan.forms import FORMS, Form
from motionecho.models.weights.checkpoint import Shapes, State, filled, require_match, shapes

TRANSFORMER, AUTOENCODER = "Wan's transformer", "Wan's autoencoder"
PATCH, IMAGE_CHANNELS = "patch_embedding.weight", 36  # of video, its mask and a picture
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.", "net.")  # the longer one first
PICTURED = (
    "is of a model that makes videos of a picture, while this pair has text alone: take the T2V weights"
)
OTHER_KINDS = {
    "img_emb": PICTURED, "image_embedder": PICTURED, "k_img": PICTURED, "add_k_proj": PICTURED,
    "to_gate_compress": "was trained for sparse attention, which is not here: take one with full attention",
}  # fmt: skip
# from diffusers' names to the original ones, which call norm2 and norm3 the other way round
RENAMED = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    (".attn1.", ".self_attn."), (".attn2.", ".cross_attn."),
    (".to_q", ".q"), (".to_k", ".k"), (".to_v", ".v"), (".to_out.0", ".o"),
    (".norm2", ".norm3"), (".ffn.net.0.proj", ".ffn.0"), (".ffn.net.2", ".ffn.2"), ("proj_out", "head.head"),
    (".scale_shift_table", ".modulation"), ("scale_shift_table", "head.modulation"),
)  # fmt: skip
VAE_RENAMED: tuple[tuple[str, Any], ...] = (
    (r"\.norm1\.", ".residual.0."), (r"\.conv1\.", ".residual.2."), (r"\.norm2\.", ".residual.3."),
    (r"\.conv2\.", ".residual.6."), (r"\.conv_shortcut\.", ".shortcut."),
    (r"\.conv_in\.", ".conv1."), (r"\.norm_out\.", ".head.0."), (r"\.conv_out\.", ".head.2."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.(\d)\.", lambda m: f".middle.{2 * int(m[1])}."),
    (r"^quant_conv\.", "conv1."), (r"^post_quant_conv\.", "conv2."),
)  # fmt: skip
FLAT: tuple[tuple[str, Any], ...] = (  # Wan2.1's blocks in a row
    (r"\.down_blocks\.", ".downsamples."),
    (r"\.up_blocks\.(\d)\.resnets\.(\d)\.", lambda m: f".upsamples.{4 * int(m[1]) + int(m[2])}."),
    (r"\.up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f".upsamples.{4 * int(m[1]) + 3}."),
)
NESTED: tuple[tuple[str, str], ...] = (  # Wan2.2's, each level by itself
    (r"\.down_blocks\.(\d)\.resnets\.", r".downsamples.\1.downsamples."),
    (r"\.down_blocks\.(\d)\.downsampler\.", r".downsamples.\1.downsamples.2."),
    (r"\.up_blocks\.(\d)\.resnets\.", r".upsamples.\1.upsamples."),
    (r"\.up_blocks\.(\d)\.upsampler\.", r".upsamples.\1.upsamples.3."),
)


def load_transformer(
    state: State, form: Form, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> WanTransformer3DModel:
    """Build the transformer of these tensors, for evaluation; of their own dtype it shares their memory.

    What diffusers keeps in float32 stays so. Raises Misfit naming tensors that are missing, unexpected or
    misshapen, UserError on a model of another kind.
    """
    tensors, net = bare(state), empty_transformer(form)
    _refuse_other_kinds(tensors)
    named = original_name if any(".self_attn." in name for name in tensors) else str
    wanted = {named(name): shape for name, shape in shapes(net.state_dict()).items()}
    flat = torch.Size([form.width, wanted[PATCH][1:].numel()])
    if PATCH in tensors and tensors[PATCH].shape == flat:  # rCM's is a linear layer of whole patches
        tensors[PATCH] = tensors[PATCH].view(wanted[PATCH])
    require_match(wanted, tensors, TRANSFORMER)
    put = {
        name: tensors[named(name)].to(device, dtype and dtype_of(name, dtype)) for name in net.state_dict()
    }
    return filled(net, put).to(device)


def empty_transformer(form: Form) -> WanTransformer3DModel:
    """Build the network without memory, names and shapes alone, but for the positions, which no file has."""
    sizes: dict[str, Any] = {
        "num_attention_heads": form.heads, "attention_head_dim": form.head, "ffn_dim": form.ffn,
        "num_layers": form.blocks, "in_channels": form.channels, "out_channels": form.channels,
        "text_dim": form.text,
    }  # fmt: skip
    with torch.device("meta"):
        net = WanTransformer3DModel(**sizes)
    net.rope = type(net.rope)(form.head, net.config.patch_size, net.config.rope_max_seq_len)
    return net


def dtype_of(name: str, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of a transformer's tensor where most are of `dtype`: diffusers keeps some float32."""
    kept = WanTransformer3DModel._keep_in_fp32_modules
    return torch.float32 if any(part in kept for part in name.split(".")) else dtype


def form_of(state: State, forms: tuple[Form, ...] = FORMS) -> Form:
    """Return the form that a transformer's tensors are of, by their width; the first where it is no such."""
    bias = bare(state).get("patch_embedding.bias")
    return next((form for form in forms if bias is not None and bias.shape == (form.width,)), forms[0])


def bare(state: State) -> dict[str, Tensor]:
    """Return the tensors of a transformer by their names in it, without what a checkpoint wraps them in."""
    wrapped: Any = state.get("generator")  # CausVid's, beside what it was trained with
    tensors = dict(wrapped if isinstance(wrapped, Mapping) else state)
    most = len(tensors) / 2
    prefix = next((p for p in PREFIXES if sum(name.startswith(p) for name in tensors) > most), "")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def original_name(name: str) -> str:
    """Return the original name of a tensor or module that diffusers' transformer has."""
    for theirs, original in RENAMED:
        name = name.replace(theirs, original)
    return name


def load_vae(
    state: State,
    config: Mapping[str, Any],
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> AutoencoderKLWan:
    """Build the autoencoder of diffusers' file or the original one. The encoder stays in float32.

    Frames [n, 3, 4k+1, h, w] in [-1, 1]; `config` is what it has unlike Wan2.1's. Raises Misfit.
    """
    vae = empty_vae(config)
    original = any(".upsamples." in name for name in state)

    def named(name: str) -> str:
        return vae_original_name(name, vae.config.is_residual) if original else name

    wanted: Shapes = {named(name): shape for name, shape in shapes(vae.state_dict()).items()}
    require_match(wanted, state, AUTOENCODER)

    def kind(name: str) -> torch.dtype | None:  # encoded in bfloat16, a clip leads elsewhere
        return torch.float32 if dtype and name.startswith(("encoder.", "quant_conv.")) else dtype

    return filled(vae, {name: state[named(name)].to(device, kind(name)) for name in vae.state_dict()})


def latent_form(vae: AutoencoderKLWan) -> LatentForm:
    """Return what the autoencoder makes of clips."""
    config = vae.config
    halved = config.temperal_downsample
    return LatentForm(
        channels=config.z_dim,
        stride=2 ** sum(halved),
        shrink=2 ** len(halved) * (config.patch_size or 1),
        mean=tuple(config.latents_mean),
        std=tuple(config.latents_std),
    )


def empty_vae(config: Mapping[str, Any]) -> AutoencoderKLWan:
    """Build the network without memory: names and shapes alone."""
    with torch.device("meta"):
        return AutoencoderKLWan(**config)


def vae_original_name(name: str, nested: bool = False) -> str:
    """Return what Wan's own file calls a tensor of diffusers' autoencoder; `nested` where it is Wan2.2's."""
    for pattern, replacement in (*VAE_RENAMED, *(NESTED if nested else FLAT)):
        name = re.sub(pattern, replacement, name)
    return name


def _refuse_other_kinds(tensors: State) -> None:
    patch = tensors.get(PATCH)
    pictured = patch is not None and patch.ndim == 5 and patch.shape[1] == IMAGE_CHANNELS
    reasons = [why for mark, why in OTHER_KINDS.items() if any(mark in name for name in tensors)]
    for why in (*([PICTURED] if pictured else []), *reasons):
        raise UserError(f"the checkpoint {why}")
