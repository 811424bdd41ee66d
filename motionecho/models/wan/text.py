"""Wan's text encoder: UMT5, its states cut to the tokens of a text and filled up with zeros.

The published one holds 5.7 billion weights, more than most networks that it serves. So it is loaded when a
text is met that was not encoded before, and never stays.
"""

import html
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ftfy
import torch
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from motionecho.config import Placement
from motionecho.device import resolve_device
from motionecho.errors import UserError
from motionecho.models.spec import TEXT_PARTS, PairSpec
from motionecho.models.texts import Encode, EncodedText
from motionecho.models.wan.umt5 import load_umt5, read_umt5, width_of
from motionecho.models.weights.checkpoint import State

TOKENS, PAD = 512, 0
KEPT = 64  # texts whose states are remembered: at most 4 MB each
CPU = torch.device("cpu")
Files = Mapping[str, Path]
Tokenize = Callable[[list[str]], Tensor]
Row = tuple[int, ...]  # the ids of a text, its end token included, without pads


def clean(prompt: str) -> str:
    """Return a prompt as Wan was trained to read it: broken letters mended, no HTML, single blanks."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(ftfy.fix_text(prompt)))).strip()


def tokenizer_of(files: Files) -> Tokenize:
    """Return what turns prompts into ids int64 [b, 512], 0 where there is none; longer ones are cut.

    The tokenizer is in the folder of the files under `tokenizer`; raises UserError where it cannot be read.
    """
    tokenizer = _tokenizer(_folder(files))

    def tokens(prompts: list[str]) -> Tensor:
        cleaned = [clean(prompt) for prompt in prompts]
        ids = tokenizer(cleaned, padding="max_length", max_length=TOKENS, truncation=True).input_ids
        return torch.tensor(ids, dtype=torch.int64)

    return tokens


def lost(prompt: str, spec: PairSpec) -> str:
    """Return the end of a prompt that is not read; "" where all of it is, or the tokenizer is not here."""
    text = clean(prompt)
    if len(text.encode(errors="replace")) < TOKENS // 2 or spec.is_random:  # a token is a letter at least
        return ""
    try:
        tokenizer = _tokenizer(_folder(spec.paths(only=("tokenizer",))))
    except UserError:  # whoever makes videos is told; to look at a table nobody needs weights
        return ""
    begins = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    return text[begins[TOKENS - 1][0] :].strip() if len(begins) >= TOKENS else ""  # the last one is the end's


class UMT5States:
    """An encoder of ids [b, 512] to states [b, 512, width], float32 on `device`, zeros at padded places.

    A row's states depend on its ids alone: what `remember` was told is given out as it is. For any other row
    the encoder is loaded on `at`, in `dtype`, and dropped again; float16 would overflow.
    """

    def __init__(
        self, state: State, device: torch.device, at: torch.device = CPU, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        self.state, self.device, self.at, self.dtype = state, device, at, dtype
        self.known: OrderedDict[Row, Tensor] = OrderedDict()  # the last few, [n, width] each

    def remember(self, text: EncodedText) -> None:
        """Take in what was encoded before."""
        self._keep(row_of(text.ids), text.states)

    def __call__(self, ids: Tensor) -> Tensor:
        rows = [row_of(each) for each in ids.cpu()]
        found = {row: self.known[row] for row in rows if row in self.known}
        missing = {row for row in rows if row and row not in found}
        if missing:
            encoder = load_umt5(self.state, self.at, self.dtype)
            found |= {row: states_of(encoder, row) for row in sorted(missing)}
            del encoder
        states = torch.zeros(*ids.shape, width_of(self.state), device=self.device)
        for place, row in zip(states, rows, strict=True):
            if row:
                place[: len(row)] = found[row].to(self.device, torch.float32)
                self._keep(row, found[row])
        return states

    def _keep(self, row: Row, states: Tensor) -> None:
        self.known[row] = states
        self.known.move_to_end(row)
        while len(self.known) > KEPT:
            self.known.popitem(last=False)


def load_text(spec: PairSpec, placement: Placement) -> Encode:
    """Load tokenizer and encoder, and no network; on a card that has no room the CPU takes its place.

    Raises UserError where files are missing or do not fit, or there is no room on either.
    """
    files = spec.pull(only=TEXT_PARTS)
    return encode_by(tokenizer_of(files), read_umt5(files), resolve_device(placement.device))


def encode_by(tokens: Tokenize, state: State, at: torch.device) -> Encode:
    """Load the encoder of these tensors, to stay as long as what is returned; raises as `load_umt5`."""
    encoder = load_umt5(state, at)

    def encode(text: str) -> EncodedText:
        row = row_of(tokens([text])[0])
        return EncodedText(torch.tensor(row), states_of(encoder, row).cpu())

    return encode


@torch.no_grad()
def states_of(encoder: UMT5EncoderModel, row: Row) -> Tensor:
    """Encode one text, without pads: states [n, width] as with pads that nothing attends to, but sooner."""
    ids = torch.tensor([row], device=encoder.device)
    states: Tensor = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
    return states


def row_of(ids: Tensor) -> Row:
    """Return ids [n] up to the last that is none of a pad; one that a prompt spells out is part of it."""
    there = (ids != PAD).nonzero()
    return tuple(ids[: int(there[-1]) + 1].tolist()) if len(there) else ()


def _folder(files: Files) -> Path:
    folders = {path.parent for key, path in files.items() if key.partition("/")[0] == "tokenizer"}
    if len(folders) != 1:
        raise UserError("the tokenizer of UMT5 has to be in one folder, with its tokenizer.json")
    return folders.pop()


@cache
def _tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as problem:  # each kind of damage is another exception there
        said = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise UserError(f"{folder} holds no tokenizer that can be read: {said[:200]}") from problem
