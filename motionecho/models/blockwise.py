"""Transformers of video as denoisers: block by block, so that a pass can be looked into and end early.

Tokens of video are [b, n, c], n = f h' w' with w' fastest: latents in patches of 1 x p x p.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from motionecho.denoiser import Eager, Kind, Noise, Probe, Tap, probing
from motionecho.models.weights.checkpoint import layer_weight
from motionecho.schedules import Answer, Grid, Level, clean

Places = tuple[int, int, int]  # frames, height and width in patches
State = tuple[Tensor, ...]  # what blocks hand on: the tokens of video, then those that go along beside them


class Blockwise(Eager, ABC):
    """A denoiser that attends to all frames and places at once; `layers` are those that each strategy reads.

    A block, `<stem>.K`, shows its output as features, and its attention, `<stem>.K.attn1`, the queries and
    keys; of video alone. `using` is entered around every pass. With `checkpointing` a gradient keeps what
    lies between blocks, and computes the rest again. A family says how a pass begins, goes on and ends.
    """

    passes = 1
    attends_time = False
    answer: Answer
    stem: str  # the name of the network's list of blocks

    def __init__(
        self,
        network: Any,
        grid: Grid,
        layers: Mapping[str, tuple[str, ...]],
        noise: Noise = "fresh",
        using: Callable[[], AbstractContextManager[Any]] = nullcontext,
        checkpointing: bool = False,
    ):
        self.network, self.grid, self.layers, self.noise = network, grid, layers, noise
        self.using, self.checkpointing = using, checkpointing
        self.blocks = {f"{self.stem}.{k}": block for k, block in enumerate(getattr(network, self.stem))}
        attentions = [f"{name}.attn1" for name in self.blocks]
        self._probeable: dict[Kind, list[str]] = {
            "features": [*self.blocks],
            "queries": attentions,
            "keys": attentions,
        }
        self._linear = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear)}

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        patch = self.shrinks("")
        places = (z.shape[2], z.shape[3] // patch, z.shape[4] // patch)
        with self.using(), probing(probe, self._probeable):
            state, its = self.enter(z, at, text, places)
            for name, block in self.blocks.items():
                asked = [tap for tap in probe.taps if tap.layer == f"{name}.attn1"] if probe else []
                if probe and asked:
                    seen = self.attended(block, state, its)
                    for tap in asked:
                        probe.show(tap, _on_grid(seen[tap.kind], places))
                state = self._through(block, state, its)
                if probe and (output := Tap(name, "features")) in probe.taps:
                    probe.show(output, _on_grid(state[0], places))
            return clean(self.answer, z, self.leave(state[0], its, places).float(), at)

    @abstractmethod
    def enter(self, z: Tensor, at: Level, text: Tensor, places: Places) -> tuple[State, Any]:
        """Cut latents into tokens; return them with what every block is given beside them."""
        ...

    @abstractmethod
    def computed(self, block: Any, state: State, its: Any) -> State:
        """Compute what a block makes of tokens."""
        ...

    @abstractmethod
    def attended(self, block: Any, state: State, its: Any) -> dict[Kind, Tensor]:
        """Compute queries (scaled, see Kind) and keys [b, n, c] of video in a block's attention."""
        ...

    @abstractmethod
    def leave(self, tokens: Tensor, its: Any, places: Places) -> Tensor:
        """Turn tokens of video into the network's output [b, c, f, h, w]."""
        ...

    def _through(self, block: nn.Module, state: State, its: Any) -> State:
        if self.checkpointing and torch.is_grad_enabled() and state[0].requires_grad:
            # computed again when the pass is over, and what was entered around it left
            again: State = checkpoint(
                self.computed, block, state, its, use_reentrant=False, preserve_rng_state=False,
                context_fn=lambda: (nullcontext(), self.using()),
            )  # fmt: skip
            return again
        return self.computed(block, state, its)

    def weight(self, name: str) -> Tensor:
        return layer_weight(self._linear.get(name), name, self._linear)


def side_by_side(queries: Tensor, keys: Tensor) -> dict[Kind, Tensor]:
    """Lay heads [b, n, heads, d] side by side, queries scaled as Kind says."""
    heads, width = queries.shape[-2:]
    return {"queries": queries.flatten(2) / (heads * width**0.5), "keys": keys.flatten(2)}


def _on_grid(tokens: Tensor, places: Places) -> Tensor:
    """Lay tokens [b, n, c] out as [b, f, c, h, w]."""
    return tokens.unflatten(1, places).movedim(-1, 2)
