"""CogVideoX's files in the layout of diffusers, at a tiny width, with random weights."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor

from motionecho.models.cogvideox.forms import VideoForm
from motionecho.models.cogvideox.settings import HUB
from motionecho.models.t5.encoder import T5
from motionecho.models.weights.checkpoint import shapes
from motionecho.models.weights.random_weights import lora_shapes, random_tensors
from tests.models.wan.public import WHOLE, text_encoder, write_shards, write_tokenizer

VAE: dict[str, Any] = {
    "block_out_channels": (8, 8, 8, 8), "latent_channels": 16, "layers_per_block": 1, "norm_num_groups": 4,
    "scaling_factor": 0.7,
}  # fmt: skip
TINY = VideoForm(heads=2, head=16, blocks=3, time=24, text=32, vae=VAE)
BLADE = "GYP666/VIDEO-BLADE/BLADE_cogvideox_weight/pytorch_lora_weights.safetensors"


def network(seed: int = 0, form: VideoForm = TINY, **other: Any) -> CogVideoXTransformer3DModel:
    """A network as diffusers builds it, none of its tensors zero."""
    sizes: dict[str, Any] = {
        "num_attention_heads": form.heads, "attention_head_dim": form.head, "num_layers": form.blocks,
        "time_embed_dim": form.time, "text_embed_dim": form.text, "use_rotary_positional_embeddings": True,
    }  # fmt: skip
    net = CogVideoXTransformer3DModel(**sizes | other)
    net.load_state_dict(random_tensors(shapes(net.state_dict()), seed))
    return net.eval().requires_grad_(False)


def autoencoder(seed: int = 9) -> AutoencoderKLCogVideoX:
    vae = AutoencoderKLCogVideoX(**VAE)
    vae.load_state_dict(random_tensors(shapes(vae.state_dict()), seed))
    return vae.eval().requires_grad_(False)


def lora(rank: int = 4, seed: int = 3) -> dict[str, Tensor]:
    """Factors of all attention layers, as `CogVideoXPipeline.save_lora_weights` names them."""
    return random_tensors(lora_shapes(network(), rank), seed)


def merged(state: dict[str, Tensor]) -> CogVideoXTransformer3DModel:
    """A network with up down added to its weights; alpha is the rank."""
    net = network()
    for key, down in state.items():
        if key.endswith("lora_A.weight"):
            layer: Any = net.get_submodule(key.removeprefix("transformer.").removesuffix(".lora_A.weight"))
            layer.weight += state[key.replace("lora_A", "lora_B")] @ down
    return net


def write(folder: Path) -> Path:
    """Put the pair's files below a folder that mirrors the hub, each as it is published."""
    write_shards(folder / HUB / "transformer", network().state_dict())
    (folder / HUB / "vae").mkdir()
    save_file(autoencoder().state_dict(), folder / HUB / "vae" / f"{WHOLE}.safetensors")
    write_shards(folder / HUB / "text_encoder", text_encoder(kind=T5), "model")
    write_tokenizer(folder / "google/flan-t5-xxl")
    (folder / BLADE).parent.mkdir(parents=True)
    save_file(lora(), folder / BLADE)
    return folder


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
