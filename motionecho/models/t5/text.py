"""Texts as a family of models reads them by an encoder of T5's kind.

The published encoders hold 4.8 and 5.7 billion weights, more than most networks that they serve. So one is
loaded when a text is met that was not encoded before, and never stays.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from motionecho.config import Placement
from motionecho.device import resolve_device
from motionecho.errors import UserError
from motionecho.models.spec import TEXT_PARTS, PairSpec
from motionecho.models.t5.encoder import EncoderKind, load_encoder, read_encoder, width_of
from motionecho.models.texts import Encode, EncodedText
from motionecho.models.weights.checkpoint import State

PAD = 0
KEPT = 64  # texts whose states are remembered: at most 4 MB each
CPU = torch.device("cpu")
Files = Mapping[str, Path]
Tokenize = Callable[[list[str]], Tensor]
Row = tuple[int, ...]  # the ids of a text, its end token included, without pads


@dataclass(frozen=True)
class Reading:
    """How a family reads: what cleans a prompt, the encoder, and to how many `tokens` each text is filled up.

    Where `pads_count` the encoder reads pads as it does words, and what it makes of them is the network's to
    see; else nothing attends to them, and zeros are in their place.
    """

    kind: EncoderKind
    tokens: int
    pads_count: bool
    clean: Callable[[str], str] = str

    def tokenizer_of(self, files: Files) -> Tokenize:
        """Return what turns prompts into ids int64 [b, tokens], 0 where there is none; longer ones are cut.

        The tokenizer is in the folder of the files under `tokenizer`; raises UserError where it cannot be
        read.
        """
        tokenizer = _tokenizer(self._folder(files))

        def tokens(prompts: list[str]) -> Tensor:
            cleaned = [self.clean(prompt) for prompt in prompts]
            ids = tokenizer(cleaned, padding="max_length", max_length=self.tokens, truncation=True).input_ids
            return torch.tensor(ids, dtype=torch.int64)

        return tokens

    def lost(self, prompt: str, spec: PairSpec) -> str:
        """Return the end of a prompt that is not read; "" where all is, or the tokenizer is not here."""
        text = self.clean(prompt)
        # a token is a letter at least
        if len(text.encode(errors="replace")) < self.tokens // 2 or spec.is_random:
            return ""
        try:
            tokenizer = _tokenizer(self._folder(spec.paths(only=("tokenizer",))))
        except UserError:  # whoever makes videos is told; to look at a table nobody needs weights
            return ""
        begins = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        # the last token is the end's
        return text[begins[self.tokens - 1][0] :].strip() if len(begins) >= self.tokens else ""

    def load_text(self, spec: PairSpec, placement: Placement) -> Encode:
        """Load tokenizer and encoder, and no network; on a card that has no room the CPU takes its place.

        Raises UserError where files are missing or do not fit, or there is no room on either.
        """
        files = spec.pull(only=TEXT_PARTS)
        state = read_encoder(files, self.kind)
        return self.encode_by(self.tokenizer_of(files), state, resolve_device(placement.device))

    def encode_by(self, tokens: Tokenize, state: State, at: torch.device) -> Encode:
        """Load the encoder, to stay as long as what is returned; raises as `load_encoder`."""
        encoder = load_encoder(state, self.kind, at)

        def encode(text: str) -> EncodedText:
            row = row_of(tokens([text])[0])
            return EncodedText(torch.tensor(row), self.states_of(encoder, row).cpu())

        return encode

    @torch.no_grad()
    def states_of(self, encoder: nn.Module, row: Row) -> Tensor:
        """Encode one text: states [n, width], of its pads too where they count.

        Where they do not they are left out, which is the same as nothing attending to them, but sooner.
        """
        pads = self.tokens - len(row) if self.pads_count else 0
        ids = torch.tensor([[*row, *[PAD] * pads]], device=next(encoder.parameters()).device)
        states: Tensor = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        return states

    def _folder(self, files: Files) -> Path:
        folders = {path.parent for key, path in files.items() if key.partition("/")[0] == "tokenizer"}
        if len(folders) != 1:
            name = self.kind.what.partition("'")[0]
            raise UserError(f"the tokenizer of {name} has to be in one folder, with its tokenizer.json")
        return folders.pop()


class TextStates:
    """An encoder of ids [b, tokens] to states [b, tokens, width], float32 on `device`.

    A row's states depend on its ids alone: what `remember` was told is given out as it is. For any other row
    the encoder is loaded on `at`, in `dtype`, and dropped again; float16 would overflow. Rows of pads alone
    are zeros.
    """

    def __init__(
        self,
        reading: Reading,
        state: State,
        device: torch.device,
        at: torch.device = CPU,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.reading, self.state, self.device, self.at, self.dtype = reading, state, device, at, dtype
        self.known: OrderedDict[Row, Tensor] = OrderedDict()  # the last few, [n, width] each

    def remember(self, text: EncodedText) -> None:
        """Take in what was encoded before."""
        self._keep(row_of(text.ids), text.states)

    def __call__(self, ids: Tensor) -> Tensor:
        reading, rows = self.reading, [row_of(each) for each in ids.cpu()]
        found = {row: self.known[row] for row in rows if row in self.known}
        missing = {row for row in rows if row and row not in found}
        if missing:
            encoder = load_encoder(self.state, reading.kind, self.at, self.dtype)
            found |= {row: reading.states_of(encoder, row) for row in sorted(missing)}
            del encoder
        states = torch.zeros(*ids.shape, width_of(self.state, reading.kind), device=self.device)
        for place, row in zip(states, rows, strict=True):
            if row:
                place[: len(found[row])] = found[row].to(self.device, torch.float32)
                self._keep(row, found[row])
        return states

    def _keep(self, row: Row, states: Tensor) -> None:
        self.known[row] = states
        self.known.move_to_end(row)
        while len(self.known) > KEPT:
            self.known.popitem(last=False)


def row_of(ids: Tensor) -> Row:
    """Return ids [n] up to the last that is none of a pad; one that a prompt spells out is part of it."""
    there = (ids != PAD).nonzero()
    return tuple(ids[: int(there[-1]) + 1].tolist()) if len(there) else ()


@cache
def _tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as problem:  # each kind of damage is another exception there
        said = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise UserError(f"{folder} holds no tokenizer that can be read: {said[:200]}") from problem
