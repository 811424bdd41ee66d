"""A random text encoder of one block, which reads a prompt by its bytes: its tokenizer is not there."""

import torch
from torch import Tensor

from motionecho.models.t5.encoder import public_shapes
from motionecho.models.t5.text import Reading
from motionecho.models.weights.checkpoint import Shapes

BYTES, END, FIRST = 256, 1, 2


def encoder_shapes(reading: Reading, width: int) -> Shapes:
    """Return the shapes of the encoder's tensors, whose states are [n, width]."""
    config = reading.kind.sized(
        vocab_size=BYTES + FIRST, d_model=width, d_kv=64, d_ff=64, num_layers=1, num_heads=1
    )
    return public_shapes(reading.kind, config)


def spelled(prompts: list[str], tokens: int) -> Tensor:
    """Turn prompts into ids int64 [b, tokens], a byte each; 0 is none."""
    ids = torch.zeros(len(prompts), tokens, dtype=torch.int64)
    for row, prompt in zip(ids, prompts, strict=True):
        letters = [FIRST + byte for byte in prompt.encode(errors="replace")[: tokens - 1]]
        row[: len(letters) + 1] = torch.tensor([*letters, END])
    return ids
