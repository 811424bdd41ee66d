"""Wan's files in their three layouts, at a tenth of its width, with random weights."""

import json
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from motionecho.models.t5.encoder import UMT5, EncoderKind, public_shapes
from motionecho.models.wan.forms import Form
from motionecho.models.wan.loading import TRANSFORMER, original_name, vae_original_name
from motionecho.models.weights import lora as factors
from motionecho.models.weights.checkpoint import shapes
from motionecho.models.weights.random_weights import random_tensors

VAE: dict[str, Any] = {"base_dim": 4, "num_res_blocks": 2}
VAE_2_2 = VAE | {
    "z_dim": 6, "in_channels": 12, "out_channels": 12, "patch_size": 2, "is_residual": True,
    "scale_factor_spatial": 16, "latents_mean": [0.1] * 6, "latents_std": [0.5] * 6,
}  # fmt: skip
TINY = Form(heads=2, ffn=64, blocks=3, head=12, text=32, vae=VAE)
WHOLE = "diffusion_pytorch_model"


def network(seed: int = 0, form: Form = TINY) -> WanTransformer3DModel:
    """A network as diffusers builds it, none of its tensors zero."""
    net = WanTransformer3DModel(
        num_attention_heads=form.heads,
        attention_head_dim=form.head,
        ffn_dim=form.ffn,
        num_layers=form.blocks,
        in_channels=form.channels,
        out_channels=form.channels,
        text_dim=form.text,
    )
    net.load_state_dict(random_tensors(shapes(net.state_dict()), seed))
    return net.eval().requires_grad_(False)


def autoencoder(config: dict[str, Any] = VAE, seed: int = 9) -> AutoencoderKLWan:
    vae = AutoencoderKLWan(**config)
    vae.load_state_dict(random_tensors(shapes(vae.state_dict()), seed))
    return vae.eval().requires_grad_(False)


def original(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The same tensors under the names of Wan's own code."""
    return {prefix + original_name(name): tensor for name, tensor in state.items()}


def original_vae(state: dict[str, Tensor], nested: bool = False) -> dict[str, Tensor]:
    return {vae_original_name(name, nested): tensor for name, tensor in state.items()}


def flat_patches(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with a linear layer over whole patches, as rCM's own code has it."""
    name = next(name for name in state if name.endswith("patch_embedding.weight"))
    return state | {name: state[name].flatten(1)}


def lora(rank: int = 4, alpha: float | None = None, seed: int = 3, net: Any = None) -> dict[str, Tensor]:
    """Factors of every linear layer of a block, as `WanPipeline.save_lora_weights` names them."""
    linears = {
        name: module
        for name, module in (net or network()).named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith("blocks.")
    }
    named = {}
    for name, module in linears.items():
        named[f"{name}.lora_A.weight"] = torch.Size([rank, module.in_features])
        named[f"{name}.lora_B.weight"] = torch.Size([module.out_features, rank])
    state = {f"transformer.{name}": t for name, t in random_tensors(named, seed).items()}
    if alpha is not None:
        state |= {f"transformer.{name}.alpha": torch.tensor(alpha) for name in linears}
    return state


def beside(net: Any, state: dict[str, Tensor]) -> factors.SideBranch:
    return factors.beside(net, state, TRANSFORMER, original_name)


def original_lora(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same LoRA as its other makers name it."""
    named = {}
    for name, tensor in state.items():
        plain = original_name(name.removeprefix("transformer."))
        named[f"diffusion_model.{plain.replace('lora_A', 'lora_down').replace('lora_B', 'lora_up')}"] = tensor
    return named


def text_encoder(width: int = TINY.text, seed: int = 21, kind: EncoderKind = UMT5) -> dict[str, Tensor]:
    config = kind.sized(vocab_size=64, d_model=width, d_kv=16, d_ff=48, num_layers=2, num_heads=2)
    return random_tensors(public_shapes(kind, config), seed)


def write_tokenizer(folder: Path) -> None:
    """Put a tokenizer of letters where diffusers' folders have theirs."""
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -4.0)]
    made = Tokenizer(models.Unigram([*words, *((letter, -3.0) for letter in ascii_lowercase)], unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    facts = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "pad_token": "<pad>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts | {"unk_token": "<unk>"}))


def write_shards(folder: Path, state: dict[str, Tensor], name: str = WHOLE, parts: int = 2) -> Path:
    """Put tensors in several files with their index, as diffusers and transformers do."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, Tensor]] = [{} for _ in range(parts)]
    for k, (key, tensor) in enumerate(state.items()):
        shards[k % parts][key] = tensor.contiguous()
    weight_map = {}
    for k, shard in enumerate(shards):
        file = f"{name}-{k + 1:05}-of-{parts:05}.safetensors"
        save_file(shard, folder / file)
        weight_map |= dict.fromkeys(shard, file)
    index = folder / f"{name}.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))
    return index


WAN = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
ENCODER = "FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers"


def write(folder: Path) -> Path:
    """Put the files of the small pairs below a folder that mirrors the hub, each as it is published."""
    write_shards(folder / WAN / "transformer", network(0).state_dict())
    (folder / WAN / "vae").mkdir()
    save_file(autoencoder().state_dict(), folder / WAN / "vae" / f"{WHOLE}.safetensors")
    write_shards(folder / ENCODER / "text_encoder", text_encoder(), "model", parts=3)
    write_tokenizer(folder / ENCODER / "tokenizer")
    other = network(1).state_dict()
    pickles = {
        "worstcoder/rcm-Wan/rCM_Wan2.1_T2V_1.3B_480p.pt": flat_patches(original(other, "net.")),
        "tianweiy/CausVid/bidirectional_checkpoint2/model.pt": {"generator": original(other, "model.")},
    }
    for name, content in pickles.items():
        (folder / name).parent.mkdir(parents=True)
        torch.save(content, folder / name)
    blade = folder / "GYP666/VIDEO-BLADE/BLADE_wanx_weight/pytorch_lora_weights.safetensors"
    blade.parent.mkdir(parents=True)
    save_file(lora(), blade)
    return folder
