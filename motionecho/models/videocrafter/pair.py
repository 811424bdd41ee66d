"""VideoCrafter2 as the teacher and one of its T2V-Turbos as the student, loaded."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import torch

from motionecho.config import Placement
from motionecho.device import resolve_device, resolve_dtype
from motionecho.errors import UserError
from motionecho.models.codec import FramewiseCodec
from motionecho.models.pair import ModelPair, Role
from motionecho.models.spec import PairSpec
from motionecho.models.speed import vae as fast_vae
from motionecho.models.speed.graphs import recorded
from motionecho.models.speed.layout import kernels
from motionecho.models.speed.offload import one_at_a_time
from motionecho.models.videocrafter import vae as autoencoder
from motionecho.models.videocrafter.denoiser import (
    SCHEDULE,
    TURBO_V1_GRID,
    TURBO_V2_GRID,
    EmbeddedScales,
    VideoCrafter,
)
from motionecho.models.videocrafter.loading import load_unet
from motionecho.models.videocrafter.lora import merged
from motionecho.models.videocrafter.random_weights import random_student, random_videocrafter2
from motionecho.models.videocrafter.text import OpenClipStates, load_text
from motionecho.models.videocrafter.unet import UNet, beside, fused
from motionecho.models.weights.checkpoint import State, component, read, unpickled


def load(spec: PairSpec, placement: Placement, dtype: str) -> ModelPair:
    """Build the pair; float16 on a GPU and float32 on a CPU unless asked otherwise."""
    device = resolve_device(placement.device)
    kind = resolve_dtype(dtype, torch.float16 if device.type == "cuda" else torch.float32)
    if spec.is_random:
        teacher, student = random_videocrafter2(), random_student(lora=spec.name == "turbo-v1")
    else:
        paths = spec.pull()  # a missing file is named before anything is built
        teacher, student = read(paths["teacher"]), unpickled(paths["student"])
    return assemble(spec, teacher, student, placement, kind)


def networks(files: Mapping[str, Path]) -> dict[str, Callable[[], object]]:
    """Map each network to what loads it from its file, on the CPU, or raises Misfit."""
    whole = cache(lambda: read(files["teacher"]))
    return {
        "teacher": lambda: load_unet(whole()),
        "autoencoder": lambda: autoencoder.load_vae(whole()),
        "text encoder": lambda: load_text(whole()),
        "student": lambda: load_student(whole(), unpickled(files["student"])),
    }


def load_student(videocrafter2: State, student: State | list[torch.Tensor]) -> UNet:
    """Load T2V-Turbo, whole or as the LoRA that makes it of VideoCrafter2."""
    net = load_unet(merged(videocrafter2, student) if isinstance(student, list) else student)
    if net.config.scale_width is None:
        raise UserError("the student's checkpoint has no time_cond_proj.weight; "
                        "it is a plain VideoCrafter2, not a distilled T2V-Turbo")  # fmt: skip
    return net


def assemble(
    spec: PairSpec,
    videocrafter2: State,
    turbo: State | list[torch.Tensor],
    placement: Placement,
    dtype: torch.dtype,
) -> ModelPair:
    """Build the pair of two checkpoints; raises UserError naming the tensors of one that does not fit."""
    device, offload = resolve_device(placement.device), placement.offload
    home = torch.device("cpu") if offload else device
    ops, train_ops = (kernels(device, placement.eager, train) for train in (False, True))

    def plain(role: Role) -> VideoCrafter:
        net = load_unet(videocrafter2) if role == "teacher" else load_student(videocrafter2, turbo)
        net, second = net.to(home, dtype), net.config.motion_width is not None
        if train_ops:
            beside(net, train_ops)
        if role == "teacher":
            return VideoCrafter(net, fps=spec.fps, layers=spec.layers)
        grid = TURBO_V2_GRID if second else TURBO_V1_GRID
        scales = EmbeddedScales(motion=EmbeddedScales.motion if second else None)
        return VideoCrafter(net, grid, scales, fps=spec.fps, layers=spec.layers)

    student, teacher = plain("student"), plain("teacher")
    if ops:
        fused(student.network, ops)
        fused(teacher.network, ops)

    # cast as tensors: diffusers warns of casting a module
    parts = component(videocrafter2, autoencoder.PREFIX)
    vae = autoencoder.load_vae({name: t.to(home, dtype) for name, t in parts.items()})
    vae = fast_vae.fused(vae, ops) if ops and not offload else fast_vae.frame_by_frame(vae)
    text, codec = load_text(videocrafter2), FramewiseCodec(vae, 0.0, autoencoder.LATENT_SCALE, spec, home)
    pair = ModelPair(
        spec,
        SCHEDULE,
        student=student,
        teacher=teacher,
        codec=codec,
        tokens=text.tokenizer,
        text=OpenClipStates(text.tower.to(home, dtype), text.tokenizer),
        device=home,
        plain=cache(plain),
    )
    if offload:
        return one_at_a_time(pair, codec, device, text.tower)
    return pair if placement.eager else recorded(pair, codec)
