"""Loads the embedded pair from the weights that ship with the package."""

import json
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from motionecho.backbones.device import resolve_device, resolve_dtype
from motionecho.backbones.motion_unet import MotionUNet
from motionecho.backbones.pair import ModelPair
from motionecho.backbones.registry import PairSpec
from motionecho.backbones.toy.nets import SCHEDULE, TextEncoder, build_unet, build_vae
from motionecho.backbones.toy.words import tokenize
from motionecho.schedules import Consistency

LAYERS = (
    "up_blocks.0.motion_modules.0.transformer_blocks.0.attn1",
    "up_blocks.0.motion_modules.1.transformer_blocks.0.attn1",
)
Net = TypeVar("Net", bound=nn.Module)


def load(spec: PairSpec, device: str = "auto", dtype: str = "auto") -> ModelPair:
    """Build the pair; float32 unless asked otherwise, since it is small enough everywhere."""
    place, kind = resolve_device(device), resolve_dtype(dtype, torch.float32)
    spec.weights()  # a missing file is named before anything is built

    def filled(component: str, net: Net) -> Net:
        net.load_state_dict(load_file(spec.files[component]))
        placed = net.to(place)  # diffusers warns of a cast, even where it casts nothing
        return (placed if kind == torch.float32 else placed.to(kind)).eval().requires_grad_(False)

    text = filled("text", TextEncoder())

    def encode(prompts: list[str]) -> Tensor:
        return text(torch.tensor([tokenize(prompt) for prompt in prompts], device=place)).float()

    facts = json.loads((spec.files["vae"].parent / "config.json").read_text())
    student, teacher = (
        MotionUNet(filled(role, build_unet()), SCHEDULE, Consistency(origin_steps=50), LAYERS, "v")
        for role in ("student", "teacher")
    )
    return ModelPair(spec, student, teacher, filled("vae", build_vae()), encode,
                     facts["latent_shift"], facts["latent_scale"], place)  # fmt: skip
