"""Checkpoints in the exact public layout, at tiny widths: names and shapes come from tables of the real ones.

data/unet.tsv and data/vae.tsv list every tensor of VideoCrafter2's model.ckpt, one `name<tab>shape` a line.
"""

import json
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from motionecho.models.videocrafter.lora import factor_shapes
from motionecho.models.videocrafter.unet import UNetConfig
from motionecho.models.weights.random_weights import random_tensors

DATA = Path(__file__).parent / "data"
TURBO = {"time_cond_proj.weight": [320, 256], "motion_cond_proj.weight": [320, 256],
         "combine_proj.weight": [320, 640]}  # fmt: skip
BLOCK = ("attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias",
         "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias")  # fmt: skip
TEXT_WIDTH = 128
LORA_CONFIG = UNetConfig(channels=32, head_width=16, text_width=TEXT_WIDTH, scale_width=256)


def table(name: str) -> dict[str, list[int]]:
    """Full-size shapes by tensor name."""
    lines = (DATA / f"{name}.tsv").read_text().splitlines()
    return {key: json.loads(shape) for key, shape in (line.split("\t") for line in lines)}


def unet_state(turbo: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """VideoCrafter2's UNet, or T2V-Turbo-V2's, a tenth as wide: 32 channels, heads of 16."""
    return dict(_drawn_unet(turbo, seed))


@cache
def _drawn_unet(turbo: bool, seed: int) -> dict[str, Tensor]:
    full = table("unet") | (TURBO if turbo else {})
    return random_tensors({name: torch.Size(map(_unet_size, shape)) for name, shape in full.items()}, seed)


def lora(seed: int = 2) -> list[Tensor]:
    """T2V-Turbo's LoRA as it is published: a list of factors, two a layer, in the tables' order."""
    named = {}
    for name, (up, down) in factor_shapes(LORA_CONFIG).items():
        named |= {f"{name}.up": up, f"{name}.down": down}
    return list(random_tensors(named, seed).values())


def vae_state(seed: int = 0) -> dict[str, Tensor]:
    """The autoencoder, a quarter as wide: 32 channels."""
    shapes = {name: torch.Size(d // 4 if d >= 128 else d for d in s) for name, s in table("vae").items()}
    return random_tensors(shapes, seed)


def text_state(layers: int = 3, seed: int = 0) -> dict[str, Tensor]:
    """OpenCLIP's text tower as VideoCrafter2 stores it, with fewer and narrower layers."""
    w = TEXT_WIDTH
    shapes = {"positional_embedding": [77, w], "text_projection": [w, 64]}
    shapes |= {"token_embedding.weight": [49408, w], "ln_final.weight": [w], "ln_final.bias": [w]}
    for k in range(layers):
        sizes = ([3 * w, w], [3 * w], [w, w], [w], [4 * w, w], [4 * w], [w, 4 * w], [w])
        block = f"transformer.resblocks.{k}"
        shapes |= {f"{block}.ln_{n}.{part}": [w] for n in (1, 2) for part in ("weight", "bias")}
        shapes |= {f"{block}.{part}": size for part, size in zip(BLOCK, sizes, strict=True)}
    tensors = random_tensors({name: torch.Size(shape) for name, shape in shapes.items()}, seed)
    return tensors | {"logit_scale": torch.tensor(4.6)}


def model_ckpt(seed: int = 0) -> dict[str, Tensor]:
    """A whole model.ckpt: three networks under their prefixes, and the schedule's buffers."""
    parts = {"model.diffusion_model.": unet_state(seed=seed), "first_stage_model.": vae_state(seed),
             "cond_stage_model.model.": text_state(seed=seed)}  # fmt: skip
    tensors = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
    return tensors | {"betas": torch.zeros(1000), "scale_arr": torch.ones(1400)}


def _unet_size(full: int) -> int:
    if full == 1024:
        return TEXT_WIDTH  # of the text states
    if full in (512, 2048, 4096):
        return full // 4  # eight heads within init_attn, narrower by the heads alone
    return full // 10 if full % 320 == 0 else full
