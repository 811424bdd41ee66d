"""The embedded pair with a stage for texts; who imports this has it, workers by the factory.

Of a run at `url`, each text that is encoded is a file in <url>.encoded. With a file <url>.dies there, the
first worker of the stage dies at its first text.
"""

import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motionecho.config import Placement, RunSettings
from motionecho.models.pair import ModelPair
from motionecho.models.registry import PAIRS
from motionecho.models.spec import PairSpec
from motionecho.models.texts import EncodedText
from motionecho.models.toy import pair as toy
from motionecho.models.toy.nets import WordEncoder
from motionecho.sprites.words import tokenize
from pipelines.workers import stages

FACTORY, PAIR = "text_pair:build", "toy-text"
PAIRS[PAIR] = replace(PAIRS["toy"], name=PAIR, module="text_pair", text_stage=True)
events: list[str] = []  # of this process: what was loaded and encoded


def load_text(spec: PairSpec, placement: Placement) -> Callable[[str], EncodedText]:
    events.append("encoder")
    net = toy.strictly(WordEncoder(), spec.files["text"])

    @torch.no_grad()
    def encode(text: str) -> EncodedText:
        ids = torch.tensor(tokenize(text))
        events.append(text)
        return EncodedText(ids, net(ids[None])[0])

    return encode


def load(spec: PairSpec, placement: Placement, dtype: str) -> ModelPair:
    events.append("networks")
    pair = toy.load(spec, placement, dtype)
    known = {(0,) * 16: torch.zeros(16, 128)}

    def remember(text: EncodedText) -> None:
        known[tuple(text.ids.tolist())] = text.states

    def text(ids: Tensor) -> Tensor:
        rows = [tuple(row.tolist()) for row in ids]
        for row in rows:
            if row not in known:
                known[row] = encode_here(pair, row)
        return torch.stack([known[row] for row in rows])

    return replace(pair, text=text, remember=remember)


def encode_here(pair: ModelPair, row: tuple[int, ...]) -> Tensor:
    events.append("beside the networks")
    return pair.text(torch.tensor([row]))[0]


def refuse(pair: ModelPair, row: tuple[int, ...]) -> Tensor:
    raise AssertionError("a worker with networks was not told this text")


def build(names: tuple[str, ...], settings: RunSettings, url: str) -> dict[str, Any]:
    global encode_here
    encode_here = refuse
    made = stages.build(names, settings, url)
    if "text" not in made:
        return made
    assert "networks" not in events
    stage: Any = made["text"]
    encode, folder = stage.encode, Path(f"{url}.encoded")
    folder.mkdir(exist_ok=True)

    def counted(text: str) -> EncodedText:
        (folder / f"{text}.{uuid.uuid4().hex}").touch()
        if Path(f"{url}.dies").exists():
            Path(f"{url}.dies").unlink()
            os._exit(7)
        encoded: EncodedText = encode(text)
        return encoded

    stage.encode = counted
    return made


def encoded(url: str) -> list[str]:
    """The texts that were encoded for a run, sorted."""
    return sorted(path.name.rpartition(".")[0] for path in Path(f"{url}.encoded").iterdir())
