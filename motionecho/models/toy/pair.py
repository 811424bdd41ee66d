"""The embedded pair, loaded from the weights that ship with the package."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from motionecho.config import Placement
from motionecho.denoiser import Denoiser
from motionecho.device import resolve_device, resolve_dtype
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.codec import FramewiseCodec
from motionecho.models.pair import ModelPair, Role
from motionecho.models.spec import PairSpec
from motionecho.models.speed.graphs import recorded
from motionecho.models.speed.offload import one_at_a_time
from motionecho.models.toy.nets import SCHEDULE, WordEncoder, build_unet, build_vae
from motionecho.models.weights.checkpoint import filled, read, require_match, shapes
from motionecho.schedules import Schedule, consistency, uniform
from motionecho.sprites.words import tokenize

Net = TypeVar("Net", bound=nn.Module)
Placed = Callable[[str, Any], Any]  # a component's name and its network to the network, filled and placed


def load(spec: PairSpec, placement: Placement, dtype: str) -> ModelPair:
    """Build the pair; float32 unless asked otherwise, since it is small enough everywhere."""

    def unets(placed: Placed) -> tuple[Denoiser, Denoiser]:
        student = placed("student", build_unet())
        return (
            MotionUNet(student, consistency(50), spec.layers, "v", bounded=True),
            MotionUNet(placed("teacher", build_unet()), uniform(SCHEDULE), spec.layers, "v"),
        )

    return assembled(spec, placement, dtype, SCHEDULE, unets)


def assembled(
    spec: PairSpec,
    placement: Placement,
    dtype: str,
    schedule: Schedule,
    denoisers: Callable[[Placed], tuple[Denoiser, Denoiser]],
) -> ModelPair:
    """Put student and teacher together with the embedded autoencoder, text encoder and words.

    `denoisers` makes the two of networks that it has placed: filled from their files, on the device.
    """
    place, kind = resolve_device(placement.device), resolve_dtype(dtype, torch.float32)
    home = torch.device("cpu") if placement.offload else place
    files = spec.paths()  # a missing file is named before anything is built

    def placed(component: str, net: Any) -> Any:
        put = strictly(net, files[component]).to(home)  # diffusers warns of a cast, even of an empty one
        if place.type == "cpu" and all(weight.ndim < 5 for weight in put.parameters()):
            put = put.to(memory_format=torch.channels_last)  # a third faster there
        return put if kind == torch.float32 else nn.Module.to(put, kind)  # diffusers' own warns of it

    text = placed("text", WordEncoder())

    def tokens(prompts: list[str]) -> Tensor:
        return torch.tensor([tokenize(prompt) for prompt in prompts])

    def encode(ids: Tensor) -> Tensor:
        states: Tensor = text(ids).float()
        return states

    facts = json.loads((files["vae"].parent / "config.json").read_text())
    student, teacher = denoisers(placed)
    vae = placed("vae", build_vae())
    codec = FramewiseCodec(vae, facts["latent_shift"], facts["latent_scale"], spec, home)
    plain: dict[Role, Denoiser] = {"student": student, "teacher": teacher}  # they are never fused
    pair = ModelPair(spec, schedule, student, teacher, codec, tokens, encode, home, plain.__getitem__)
    if placement.offload:
        return one_at_a_time(pair, codec, place, text)
    return pair if placement.eager else recorded(pair, codec)


def networks(files: Mapping[str, Path]) -> dict[str, Callable[[], nn.Module]]:
    """Map each network to what loads it from its file, or raises Misfit where tensors do not fit."""
    return networks_of(files, build_unet)


def networks_of(
    files: Mapping[str, Path], build: Callable[[], nn.Module]
) -> dict[str, Callable[[], nn.Module]]:
    """Map the networks of a pair whose student and teacher `build` makes, as `networks` does."""
    return {
        "teacher": lambda: strictly(build(), files["teacher"]),
        "autoencoder": lambda: strictly(build_vae(), files["vae"]),
        "text encoder": lambda: strictly(WordEncoder(), files["text"]),
        "student": lambda: strictly(build(), files["student"]),
    }


def strictly(net: Net, file: Path) -> Net:
    """Fill the network with the tensors of a file in float32; raises Misfit naming those that do not fit."""
    # the file is fp16 to be small, in which a CPU is several times slower
    tensors = {name: tensor.float() for name, tensor in read(file).items()}
    require_match(shapes(net.state_dict()), tensors, f"the pair's {file.stem}")
    return filled(net, tensors)
