"""Encoders of T5's kind out of their files, by the names of transformers or Wan's own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from motionecho.device import free_bytes
from motionecho.errors import UserError
from motionecho.models.weights.checkpoint import (
    Misfit,
    Mismatch,
    State,
    filled,
    inferred,
    length_of,
    ratio_of,
    read,
    require_match,
    shapes,
)
from motionecho.models.weights.sources import SUFFIXES

BUCKETS = 32  # of distances between words
WIDTHS, WORDS, TWIN = "encoder.final_layer_norm.weight", "shared.weight", "encoder.embed_tokens.weight"
UNUSED = ("spiece_model",)  # a tokenizer that some put into the file
CARD_SPARE, GB = 1 << 30, 1e9  # bytes that a pass takes beside the weights
WAY_OUT = (
    "free some of it, or make a batch, whose stage `text` can run on another machine "
    "(in its engine file, `stages: {text: {memory: 16GiB}}` or `{gpus: 1}`)"
)
# Wan's own names, and those of transformers
TABLE = (
    (r"token_embedding\.weight", WORDS),
    (r"norm\.weight", WIDTHS),
    (r"blocks\.(\d+)\.norm1\.weight", r"encoder.block.\1.layer.0.layer_norm.weight"),
    (r"blocks\.(\d+)\.attn\.([qkvo])\.weight", r"encoder.block.\1.layer.0.SelfAttention.\2.weight"),
    (r"blocks\.(\d+)\.pos_embedding\.embedding\.weight",
     r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias.weight"),
    (r"blocks\.(\d+)\.norm2\.weight", r"encoder.block.\1.layer.1.layer_norm.weight"),
    (r"blocks\.(\d+)\.ffn\.gate\.0\.weight", r"encoder.block.\1.layer.1.DenseReluDense.wi_0.weight"),
    (r"blocks\.(\d+)\.ffn\.fc1\.weight", r"encoder.block.\1.layer.1.DenseReluDense.wi_1.weight"),
    (r"blocks\.(\d+)\.ffn\.fc2\.weight", r"encoder.block.\1.layer.1.DenseReluDense.wo.weight"),
)  # fmt: skip


@dataclass(frozen=True)
class EncoderKind:
    """One kind of T5: what it is called, its classes, and the words that the published one of 4096 knows."""

    what: str
    config: type[Any]
    model: type[Any]
    words: int

    @property
    def published(self) -> Any:
        return self.sized(
            vocab_size=self.words, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64
        )

    def sized(self, **sizes: int) -> Any:
        """Make the config of an encoder of these sizes."""
        return self.config(feed_forward_proj="gated-gelu", **sizes)


UMT5 = EncoderKind("UMT5's encoder", UMT5Config, UMT5EncoderModel, 256384)  # places by layer
T5 = EncoderKind("T5's encoder", T5Config, T5EncoderModel, 32128)  # places by the first layer alone


def read_encoder(files: Mapping[str, Path], kind: EncoderKind) -> dict[str, Tensor]:
    """Map the encoder's tensors into memory, from the files under `text`, by the names of transformers.

    Raises Misfit naming tensors that are missing, unexpected or misshapen.
    """
    parts = [path for key, path in files.items() if key.partition("/")[0] == "text"]
    state: dict[str, Tensor] = {}
    for path in parts:
        if path.suffix in SUFFIXES:  # a folder has descriptions beside them
            state |= {renamed(name): tensor for name, tensor in read(path).items() if name not in UNUSED}
    twin = state.pop(TWIN, None)
    if twin is not None and twin.shape != state.get(WORDS, twin).shape:
        raise Misfit(f'the checkpoint does not fit {kind.what}: tensor "{TWIN}" is not "{WORDS}"',
                     [Mismatch(TWIN, "wrong shape", None, list(twin.shape))])  # fmt: skip
    if twin is not None:
        state.setdefault(WORDS, twin)
    config = inferred(lambda: config_of(state, kind), lambda: public_shapes(kind, kind.published), state)
    require_match(public_shapes(kind, config), state, kind.what)
    return state


def load_encoder(
    state: State, kind: EncoderKind, at: torch.device, dtype: torch.dtype = torch.bfloat16
) -> nn.Module:
    """Build the encoder on a device, or on the CPU where a card has no room for it.

    Raises UserError saying what it needs and what there is, where neither has.
    """
    needs = sum(tensor.numel() for tensor in state.values()) * dtype.itemsize
    if at.type == "cuda" and free_bytes(at) < needs + CARD_SPARE:
        at = torch.device("cpu")
    if free_bytes(at) < needs:
        raise UserError(f"the text encoder needs {needs / GB:.1f} GB of memory and "
                        f"{free_bytes(at) / GB:.1f} GB are free: {WAY_OUT}")  # fmt: skip
    with torch.device("meta"):
        encoder: nn.Module = kind.model(config_of(state, kind))
    placed = {name: tensor.to(at, dtype) for name, tensor in state.items()}
    return filled(encoder, placed | {TWIN: placed[WORDS]})


def renamed(name: str) -> str:
    """Return a tensor's name as transformers has it; names that are in no table stay."""
    for pattern, other in TABLE:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(other)
    return name


def width_of(state: State, kind: EncoderKind) -> int:
    """Return the width of the states."""
    return length_of(state, WIDTHS, kind.what)


def config_of(state: State, kind: EncoderKind) -> Any:
    """Read the sizes off the tensors; raises Misfit where one of them is missing or none of this kind."""
    width, first, what = width_of(state, kind), "encoder.block.0.layer", kind.what
    heads = ratio_of(state, f"{first}.0.SelfAttention.relative_attention_bias.weight", BUCKETS, what)
    layers = {name.split(".")[2] for name in state if name.startswith("encoder.block.")}
    return kind.sized(
        vocab_size=ratio_of(state, WORDS, width, what),
        d_model=width,
        d_kv=ratio_of(state, f"{first}.0.SelfAttention.q.weight", width, what) // heads,
        d_ff=ratio_of(state, f"{first}.1.DenseReluDense.wi_0.weight", width, what),
        num_layers=len(layers),
        num_heads=heads,
    )


def public_shapes(kind: EncoderKind, config: Any) -> dict[str, torch.Size]:
    """Return names and shapes of the files' tensors, the words once."""
    with torch.device("meta"):
        named = shapes(kind.model(config).state_dict())
    return {name: shape for name, shape in named.items() if name != TWIN}
