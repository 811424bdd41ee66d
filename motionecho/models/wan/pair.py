"""Wan's pairs, loaded: a teacher, and a student of its own network or a LoRA beside the teacher's."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from motionecho.config import Placement
from motionecho.denoiser import Denoiser
from motionecho.device import free_bytes, resolve_device, resolve_dtype
from motionecho.models.codec import CausalCodec
from motionecho.models.pair import ModelPair, Role
from motionecho.models.spec import PairSpec
from motionecho.models.speed.causal_vae import fused_decoder
from motionecho.models.speed.graphs import recorded
from motionecho.models.speed.layout import kernels
from motionecho.models.speed.offload import one_at_a_time
from motionecho.models.t5.encoder import read_encoder
from motionecho.models.t5.random_weights import spelled
from motionecho.models.t5.text import TextStates
from motionecho.models.texts import Encode
from motionecho.models.transformer_pairs import kept_bytes
from motionecho.models.wan.denoiser import WanDenoiser
from motionecho.models.wan.forms import FORMS, Form, Setup, setup_of
from motionecho.models.wan.fused import FusedWan
from motionecho.models.wan.loading import (
    TRANSFORMER,
    empty_transformer,
    form_of,
    latent_form,
    load_transformer,
    load_vae,
    original_name,
)
from motionecho.models.wan.random_weights import random_files
from motionecho.models.wan.text import READING
from motionecho.models.weights.checkpoint import State, read, read_part
from motionecho.models.weights.lora import read_student, student_of
from motionecho.schedules import uniform

Files = Mapping[str, State]  # of teacher, student, vae and text
Tokens = Callable[[list[str]], Tensor]
SPELLED = partial(spelled, tokens=READING.tokens)


def load(spec: PairSpec, placement: Placement, dtype: str, setup: Setup | None = None) -> ModelPair:
    """Build the pair; bfloat16 on a GPU and float32 on a CPU unless asked otherwise.

    Raises UserError where weights are missing or do not fit, or the student's are the teacher's own.
    """
    device, setup = resolve_device(placement.device), setup or setup_of(spec.name)
    kind = resolve_dtype(dtype, torch.bfloat16 if device.type == "cuda" else torch.float32)
    if spec.is_random:
        return assemble(spec, setup, random_files(setup, kind), SPELLED, placement, kind)
    paths = spec.pull()  # a missing file is named before anything is built
    parts: Files = {key: read_part(paths, key) for key in ("teacher", "vae")}
    files = {**parts, "student": read_student(paths), "text": read_encoder(paths, READING.kind)}
    return assemble(spec, setup, files, READING.tokenizer_of(paths), placement, kind)


def load_text(spec: PairSpec, placement: Placement) -> Encode:
    """Load the text encoder alone; see models.texts."""
    if not spec.is_random:
        return READING.load_text(spec, placement)
    state = random_files(setup_of(spec.name), torch.float32, only=("text",))["text"]
    return READING.encode_by(SPELLED, state, resolve_device(placement.device))


def networks(files: Mapping[str, Path], forms: tuple[Form, ...] = FORMS) -> dict[str, Callable[[], object]]:
    """Map each network to what loads it from its file, on the CPU, or raises Misfit."""
    teacher = cache(lambda: read_part(files, "teacher"))
    form = cache(lambda: form_of(teacher(), forms))

    def student() -> object:
        empty = empty_transformer(form())
        whole = partial(load_transformer, form=form())
        return student_of(read_student(files), empty, TRANSFORMER, whole, original_name)

    return {
        "teacher": lambda: load_transformer(teacher(), form()),
        "student": student,
        "autoencoder": lambda: load_vae(read(files["vae"]), form().vae),
        "text encoder": lambda: read_encoder(files, READING.kind),
    }


def assemble(
    spec: PairSpec, setup: Setup, files: Files, tokens: Tokens, placement: Placement, dtype: torch.dtype
) -> ModelPair:
    """Build the pair of its files' tensors; raises Misfit naming those of one that does not fit."""
    device, form, schedule = resolve_device(placement.device), setup.form, setup.schedule
    home = torch.device("cpu") if placement.offload else device
    ops = None if placement.offload else kernels(device, placement.eager)
    vae = load_vae(files["vae"], form.vae, dtype, home)
    codec = CausalCodec(fused_decoder(vae, ops) if ops else vae, latent_form(vae), spec, home)
    whole = partial(load_transformer, form=form, dtype=dtype, device=home)
    network = whole(files["teacher"])
    other, using = student_of(files["student"], network, TRANSFORMER, whole, original_name)
    token = 32 * form.width + 2 * form.ffn  # measured of diffusers' blocks of the small model, at four sizes
    again = kept_bytes(spec.layers, codec.shape, token) > free_bytes(device) / 2

    def built(role: Role, ops: ModuleType | None) -> Denoiser:
        build = partial(FusedWan, ops=ops) if ops else WanDenoiser
        if role == "teacher":
            return build(network, uniform(schedule), spec.layers, checkpointing=again)
        return build(other, setup.grid, spec.layers, setup.noise, using, checkpointing=again)

    states = TextStates(READING, files["text"], device, at=device)
    pair = ModelPair(
        spec, schedule, built("student", ops), built("teacher", ops), codec, tokens=tokens, text=states,
        device=home, plain=partial(built, ops=None), remember=states.remember,
    )  # fmt: skip
    if placement.offload:
        return one_at_a_time(pair, codec, device)
    return pair if placement.eager else recorded(pair, codec)
