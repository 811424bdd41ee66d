"""Texts that are encoded before the networks are there, since their encoder is larger than these."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from motionecho.config import Placement
from motionecho.errors import Damaged
from motionecho.models.spec import PairSpec
from motionecho.runs.tensor_file import read_tensors, write_tensors
from motionecho.runs.waits import counted


@dataclass(frozen=True)
class EncodedText:
    """A text as its pair tokenizes and encodes it: ids int64 [n], states [m, width] of those that count."""

    ids: Tensor
    states: Tensor

    def save(self, path: str | Path, **facts: str) -> None:
        """Write a safetensors file, whole or not at all; its header has `facts` and a sha256 of all."""
        write_tensors(path, facts, {"ids": self.ids, "states": self.states})

    @classmethod
    def load(cls, path: str | Path, key: str | None = None) -> Self:
        """Read a file that `save` wrote; raises Damaged where it is another one, or not what was written."""
        try:
            _, tensors = read_tensors(path, "text", key)
            return cls(tensors["ids"], tensors["states"])
        except Exception as problem:  # a damaged file fails in many ways, and all of them mean the same here
            raise Damaged(f'"{path}" is not a whole text: {problem}') from problem


Encode = Callable[[str], EncodedText]  # raises BadSample on a text that cannot be read


def load_text(spec: PairSpec, placement: Placement) -> Encode:
    """Load the text encoder of a pair with a text stage, and nothing else of it.

    Raises UserError where weights are missing, do not fit, or there is no room for them.
    """
    encode: Encode = importlib.import_module(spec.module).load_text(spec, placement)
    return encode


def encoded(spec: PairSpec, placement: Placement, texts: Sequence[str]) -> list[EncodedText]:
    """Load the text encoder, encode texts, and drop it; without any nothing is loaded."""
    if not texts:
        return []
    encode = load_text(spec, placement)
    found = [encode(text) for text in counted("texts", texts)]
    del encode
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # or the networks would find its place taken
    return found
