"""AnimateDiff as the teacher and AnimateDiff-Lightning as the student, loaded on one base."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import torch
from diffusers import ControlNetModel
from torch import Tensor

from motionecho.config import Placement
from motionecho.device import resolve_device, resolve_dtype
from motionecho.models.animatediff import control, loading, text
from motionecho.models.animatediff.control import Controlled, Using
from motionecho.models.animatediff.fused import fused
from motionecho.models.animatediff.loading import load_motion_unet, load_vae
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.codec import FramewiseCodec
from motionecho.models.pair import ModelPair, Role
from motionecho.models.spec import PairSpec
from motionecho.models.speed import vae as fast_vae
from motionecho.models.speed.graphs import recorded
from motionecho.models.speed.layout import kernels
from motionecho.models.speed.offload import one_at_a_time
from motionecho.models.weights.checkpoint import State, read, shapes
from motionecho.models.weights.random_weights import random_tensors
from motionecho.schedules import Discrete, Grid, trailing, uniform

SCHEDULE = Discrete.from_betas(0.00085, 0.012, "linear")
Files = Mapping[str, State]


def load(spec: PairSpec, placement: Placement, dtype: str) -> ModelPair:
    """Build the pair; float16 on a GPU and float32 on a CPU unless asked otherwise."""
    device = resolve_device(placement.device)
    kind = resolve_dtype(dtype, torch.float16 if device.type == "cuda" else torch.float32)
    if spec.is_random:
        return assemble(spec, random_files(), placement, kind, random_control)
    paths = spec.pull()  # a missing file is named before anything is built
    files = {key: read(path) for key, path in paths.items()}
    return assemble(spec, files, placement, kind, lambda: read(spec.pull("structure")["control"]))


def networks(files: Mapping[str, Path]) -> dict[str, Callable[[], object]]:
    """Map each network to what loads it from its file, on the CPU, or raises Misfit."""
    base = cache(lambda: read(files["base/unet"]))
    found: dict[str, Callable[[], object]] = {
        "teacher": lambda: load_motion_unet(base(), read(files["teacher"])),
        "student": lambda: load_motion_unet(base(), read(files["student"])),
        "autoencoder": lambda: load_vae(read(files["base/vae"])),
        "text encoder": lambda: text.load_text(read(files["base/text"])),
    }
    if "control" in files:
        found["ControlNet"] = lambda: control.load_control(base(), read(files["control"]))
    return found


def assemble(
    spec: PairSpec,
    files: Files,
    placement: Placement,
    dtype: torch.dtype,
    structure: Callable[[], State],
) -> ModelPair:
    """Build the pair of five files; raises Misfit naming the tensors of one that does not fit.

    A sixth, `structure`, is a ControlNet's, which is read once it is asked for.
    """
    device, offload = resolve_device(placement.device), placement.offload
    home = torch.device("cpu") if offload else device
    ops = kernels(device, placement.eager)
    last = torch.channels_last if ops and not offload else torch.preserve_format

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(home, dtype, memory_format=last if tensor.ndim == 4 else torch.preserve_format)

    # as tensors, for diffusers warns of casting a module
    def cast(tensors: State) -> State:
        return {name: placed(tensor) for name, tensor in tensors.items()}

    def state(key: str) -> State:
        return cast(files[key])

    grids: dict[Role, Grid] = {"student": trailing, "teacher": uniform(SCHEDULE)}

    def network(role: Role, base: State) -> MotionUNet:
        return MotionUNet(load_motion_unet(base, state(role)), grids[role], spec.layers, noise="predicted")

    @cache
    def plain(role: Role) -> MotionUNet:
        return network(role, state("base/unet"))

    @cache
    def controlnet() -> ControlNetModel:
        return control.load_control(files["base/unet"], cast(structure()))

    def controlled(role: Role, outlines: Tensor, scale: float, using: Using = nullcontext) -> Controlled:
        return Controlled(plain(role), controlnet(), outlines, scale, using)

    base = state("base/unet")  # once, for both networks use it
    student, teacher = network("student", base), network("teacher", base)
    if ops and not offload:
        fused(student.network, ops)
        fused(teacher.network, ops)
    vae = load_vae(state("base/vae"))
    vae = fast_vae.fused(vae, ops) if ops and not offload else fast_vae.frame_by_frame(vae)
    encoder = text.load_text(state("base/text"))
    encoder.tower.to(home)
    codec = FramewiseCodec(vae, 0.0, loading.LATENT_SCALE, spec, home)
    networks = student, teacher, codec, encoder.tokens, encoder
    pair = ModelPair(spec, SCHEDULE, *networks, home, plain, controlled)
    if offload:
        return one_at_a_time(pair, codec, device, encoder.tower)
    return pair if placement.eager else recorded(pair, codec)


def random_control(seed: int = 5) -> State:
    """Make random weights of a ControlNet in the layout of the public file, at full size."""
    return random_tensors(shapes(control.empty_control().state_dict()), seed)


def random_files(seed: int = 0) -> dict[str, State]:
    """Make random weights in the layout of the public files, at full size."""
    newer, older = loading.empty_unet(middle=True), loading.empty_unet(middle=False)
    wanted = {
        "base/unet": loading.base_shapes(newer),
        "base/vae": shapes(loading.empty_vae().state_dict()),
        "base/text": text.public_shapes(text.empty_text()),
        "teacher": loading.module_shapes(older),  # AnimateDiff v3 has none in the middle
        "student": loading.module_shapes(newer),
    }
    drawn = {key: random_tensors(its, seed + k) for k, (key, its) in enumerate(wanted.items())}
    return {
        key: {name: tensor for name, tensor in state.items() if not name.endswith(loading.POSITIONS)}
        for key, state in drawn.items()
    }  # positions are sines
