"""CogVideoX's pair, loaded: a teacher, and a student that is a LoRA beside it or a network of its own."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from motionecho.config import Placement
from motionecho.denoiser import Denoiser
from motionecho.device import free_bytes, resolve_device, resolve_dtype
from motionecho.errors import UserError
from motionecho.models.codec import CausalCodec
from motionecho.models.cogvideox.denoiser import CogVideoXDenoiser
from motionecho.models.cogvideox.forms import FIVE_B, VideoForm, schedule_of
from motionecho.models.cogvideox.loading import (
    TRANSFORMER,
    empty_transformer,
    latent_form,
    load_transformer,
    load_vae,
)
from motionecho.models.cogvideox.random_weights import random_files
from motionecho.models.cogvideox.text import READING
from motionecho.models.pair import ModelPair, Role
from motionecho.models.spec import PairSpec
from motionecho.models.speed.offload import one_at_a_time
from motionecho.models.t5.encoder import read_encoder
from motionecho.models.t5.random_weights import spelled
from motionecho.models.t5.text import TextStates
from motionecho.models.texts import Encode
from motionecho.models.transformer_pairs import kept_bytes
from motionecho.models.weights.checkpoint import State, read, read_part
from motionecho.models.weights.lora import read_student, student_of
from motionecho.schedules import trailing

Files = Mapping[str, State]  # of teacher, student, vae and text
Tokens = Callable[[list[str]], Tensor]
SPELLED = partial(spelled, tokens=READING.tokens)


def load(spec: PairSpec, placement: Placement, dtype: str, form: VideoForm = FIVE_B) -> ModelPair:
    """Build the pair; bfloat16 on a GPU and float32 on a CPU unless asked otherwise.

    Raises UserError on float16, and where weights are missing or do not fit.
    """
    device = resolve_device(placement.device)
    kind = resolve_dtype(dtype, torch.bfloat16 if device.type == "cuda" else torch.float32)
    if kind == torch.float16:
        raise UserError(
            f"pair {spec.name} makes black videos in float16: run it in bfloat16 or float32 (--dtype)"
        )
    if spec.is_random:
        return assemble(spec, form, random_files(form, kind), SPELLED, placement, kind)
    paths = spec.pull()  # a missing file is named before anything is built
    parts: Files = {key: read_part(paths, key) for key in ("teacher", "vae")}
    files = {**parts, "student": read_student(paths), "text": read_encoder(paths, READING.kind)}
    return assemble(spec, form, files, READING.tokenizer_of(paths), placement, kind)


def load_text(spec: PairSpec, placement: Placement) -> Encode:
    """Load the text encoder alone; see models.texts."""
    if not spec.is_random:
        return READING.load_text(spec, placement)
    state = random_files(FIVE_B, torch.float32, only=("text",))["text"]
    return READING.encode_by(SPELLED, state, resolve_device(placement.device))


def networks(files: Mapping[str, Path], form: VideoForm = FIVE_B) -> dict[str, Callable[[], object]]:
    """Map each network to what loads it from its file, on the CPU, or raises Misfit."""
    whole = partial(load_transformer, form=form)
    return {
        "teacher": lambda: whole(read_part(files, "teacher")),
        "student": lambda: student_of(read_student(files), empty_transformer(form), TRANSFORMER, whole),
        "autoencoder": lambda: load_vae(read(files["vae"]), form.vae),
        "text encoder": lambda: read_encoder(files, READING.kind),
    }


def assemble(
    spec: PairSpec, form: VideoForm, files: Files, tokens: Tokens, placement: Placement, dtype: torch.dtype
) -> ModelPair:
    """Build the pair of its files' tensors; raises Misfit naming those of one that does not fit."""
    device = resolve_device(placement.device)
    home = torch.device("cpu") if placement.offload else device
    vae = load_vae(files["vae"], form.vae, dtype, home)
    codec = CausalCodec(vae, latent_form(vae), spec, home)
    whole = partial(load_transformer, form=form, dtype=dtype, device=home)
    network = whole(files["teacher"])
    other, using = student_of(files["student"], network, TRANSFORMER, whole)
    again = kept_bytes(spec.layers, codec.shape, 70 * form.width) > free_bytes(device) / 2
    denoisers: dict[Role, Denoiser] = {
        "teacher": CogVideoXDenoiser(network, trailing, spec.layers, checkpointing=again),
        # the solver that it was distilled with adds noise at every step, too, if not all of it anew
        "student": CogVideoXDenoiser(other, trailing, spec.layers, "fresh", using, checkpointing=again),
    }
    states = TextStates(READING, files["text"], device, at=device)
    pair = ModelPair(
        spec, schedule_of(), denoisers["student"], denoisers["teacher"], codec,
        tokens=tokens, text=states, device=home, plain=denoisers.__getitem__, remember=states.remember,
    )  # fmt: skip
    return one_at_a_time(pair, codec, device) if placement.offload else pair
