"""Loads VideoCrafter2 as the teacher and T2V-Turbo-V2 as its student."""

import torch

from motionecho.backbones.checkpoint import State, component, read
from motionecho.backbones.device import resolve_device, resolve_dtype
from motionecho.backbones.pair import ModelPair
from motionecho.backbones.registry import RANDOM, PairSpec
from motionecho.backbones.videocrafter.backbone import EmbeddedScales, VideoCrafter
from motionecho.backbones.videocrafter.loading import load_unet
from motionecho.backbones.videocrafter.random import random_turbo_v2, random_videocrafter2
from motionecho.backbones.videocrafter.text import TextEncoder, load_text
from motionecho.backbones.videocrafter.vae import LATENT_SCALE, load_vae
from motionecho.backbones.videocrafter.vae import PREFIX as vae_prefix
from motionecho.errors import UserError


def load(spec: PairSpec, device: str = "auto", dtype: str = "auto") -> ModelPair:
    """Build the pair; float16 on a GPU and float32 on a CPU unless asked otherwise."""
    place = resolve_device(device)
    kind = resolve_dtype(dtype, torch.float16 if place.type == "cuda" else torch.float32)
    if spec.weights_at == RANDOM:
        return assemble(spec, random_videocrafter2(), random_turbo_v2(), place, kind)
    # a missing file is named before anything is built
    paths = spec.pull() if "://" in spec.weights_at else spec.paths()
    return assemble(spec, read(paths["videocrafter2"]), read(paths["turbo"]), place, kind)


def assemble(
    spec: PairSpec, videocrafter2: State, turbo: State, device: torch.device, dtype: torch.dtype
) -> ModelPair:
    """The pair of two checkpoints; raises UserError naming the tensors of one that does not fit."""
    teacher = load_unet(videocrafter2)
    student = load_unet(turbo)
    if student.config.scale_width is None:
        raise UserError(f"pair {spec.name}: the student's checkpoint has no time_cond_proj.weight; "
                        "it is a plain VideoCrafter2, not a distilled T2V-Turbo")  # fmt: skip
    scales = EmbeddedScales(motion=None if student.config.motion_width is None else EmbeddedScales.motion)
    # cast as tensors: diffusers warns of casting a module
    vae = load_vae({name: t.to(device, dtype) for name, t in component(videocrafter2, vae_prefix).items()})
    vae.enable_slicing()  # frame by frame: a clip's activations at full size would fill a small card
    text = load_text(videocrafter2)
    return ModelPair(
        spec,
        student=VideoCrafter(student.to(device, dtype), fps=spec.fps, scales=scales),
        teacher=VideoCrafter(teacher.to(device, dtype), fps=spec.fps),
        vae=vae,
        text=TextEncoder(text.tower.to(device, dtype), text.tokenizer),
        latent_shift=0.0,
        latent_scale=LATENT_SCALE,
        device=device,
    )
