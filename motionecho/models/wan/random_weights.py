"""Random weights in the layout of Wan's files: networks at full size, and a text encoder of one block."""

import torch
from torch import Tensor
from transformers import UMT5Config

from motionecho.models.wan.forms import Form, Setup
from motionecho.models.wan.loading import dtype_of, empty_transformer, empty_vae
from motionecho.models.wan.text import TOKENS
from motionecho.models.wan.umt5 import public_shapes
from motionecho.models.weights.checkpoint import Shapes, shapes
from motionecho.models.weights.random_weights import random_tensors

BYTES, END, FIRST = 256, 1, 2  # of a prompt, whose tokenizer is a file that is not there
RANK = 64


def random_files(
    setup: Setup, dtype: torch.dtype, only: tuple[str, ...] = (), seed: int = 0
) -> dict[str, dict[str, Tensor]]:
    """Make what a pair's files hold, or some of them; none is float32 for longer than it is drawn."""
    form = setup.form
    network = shapes(empty_transformer(form).state_dict())
    wanted = {
        "teacher": network,
        "student": lora_shapes(form) if setup.lora else network,
        "vae": shapes(empty_vae(form.vae).state_dict()),
        "text": public_shapes(
            UMT5Config(vocab_size=BYTES + FIRST, d_model=form.text, d_ff=64, num_layers=1, num_heads=1)
        ),
    }
    return {
        key: _drawn(its, dtype, seed + k)
        for k, (key, its) in enumerate(wanted.items())
        if not only or key in only
    }


def lora_shapes(form: Form, rank: int = RANK) -> Shapes:
    """Return the shapes of a LoRA on all attention layers, named as diffusers saves them."""
    found = {}
    for name, module in empty_transformer(form).named_modules():
        if isinstance(module, torch.nn.Linear) and ".attn" in name:
            found[f"transformer.{name}.lora_A.weight"] = torch.Size([rank, module.in_features])
            found[f"transformer.{name}.lora_B.weight"] = torch.Size([module.out_features, rank])
    return found


def spelled(prompts: list[str]) -> Tensor:
    """Turn prompts into ids int64 [b, 512], a byte each, as the random text encoder reads them; 0 is none."""
    ids = torch.zeros(len(prompts), TOKENS, dtype=torch.int64)
    for row, prompt in zip(ids, prompts, strict=True):
        letters = [FIRST + byte for byte in prompt.encode(errors="replace")[: TOKENS - 1]]
        row[: len(letters) + 1] = torch.tensor([*letters, END])
    return ids


def _drawn(wanted: Shapes, dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    return {
        name: random_tensors({name: shape}, 1000 * seed + k)[name].to(dtype_of(name, dtype))
        for k, (name, shape) in enumerate(wanted.items())
    }
