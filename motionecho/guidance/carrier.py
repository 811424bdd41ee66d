"""The carrying of adapters: what was trained on a reference, put on a network for as long as it samples.

Factors of one reference are added to the weights themselves, in the memory that kernels and recorded graphs
read. All else acts beside the layers, each sample by its own tensors; that takes a plain network, whose
layers are called one by one.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from motionecho.denoiser import Denoiser

# Named tensors of one reference; of a batch they lead with [b]:
#   <linear>/up [out, r]  <linear>/down [r, in]  <block>/frames [1, f, c]  <attention>/places [h*w, f, c]
Adapter = dict[str, Tensor]
UP, DOWN, FRAMES, PLACES = "/up", "/down", "/frames", "/places"
Hook = Callable[..., Tensor]


def factors(adapter: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return (up, down) by layer."""
    layers = (name.removesuffix(UP) for name in adapter if name.endswith(UP))
    return {layer: (adapter[layer + UP], adapter[layer + DOWN]) for layer in layers}


def mergeable(adapter: Mapping[str, Tensor]) -> bool:
    """Tell whether a batch's adapter is factors alone, the same for every sample."""
    alike = (len(tensor) == 1 or bool((tensor == tensor[:1]).all()) for tensor in adapter.values())
    return all(name.endswith((UP, DOWN)) for name in adapter) and all(alike)


@contextmanager
def merged(denoiser: Denoiser, adapter: Mapping[str, Tensor], scale: float) -> Iterator[None]:
    """Add scale times up down [out, r] [r, in] to each layer's weight, summed in float32 and rounded once.

    Afterwards every weight has its own bits again, from a copy: subtracting would drift.
    """
    before: dict[str, Tensor] = {}
    try:
        for layer, (up, down) in factors(adapter).items():
            weight = denoiser.weight(layer)
            before[layer] = weight.clone()
            added = torch.addmm(before[layer].to(up.device).float(), up.float(), down.float(), alpha=scale)
            weight.copy_(added)
        yield
    finally:
        for layer, weight in before.items():
            denoiser.weight(layer).copy_(weight)


@dataclass
class SidePath:
    """The adapters [n, ...] of a batch, acting beside the layers of a plain network.

    `rows` says whose turn it is where a pass is of some samples alone. A pass may hold them several times
    over, as guided teachers do. `values` brings places into the form in which they are used.
    """

    adapter: Mapping[str, Tensor]
    scale: float = 1.0
    dropout: float = 0.0
    values: Callable[[Tensor], Tensor] = lambda places: places
    rows: Tensor | None = field(default=None, init=False)
    batch: int = field(default=0, init=False)  # of the pass that runs

    @contextmanager
    def on(self, network: nn.Module) -> Iterator[None]:
        """Act on the network's passes in here."""

        def begin(_: nn.Module, inputs: Any) -> None:
            self.batch = len(inputs[0])

        with ExitStack() as stack:
            stack.enter_context(_removed(network.register_forward_pre_hook(begin)))
            for name, hook in self._hooks():
                layer: Any = network.get_submodule(name)
                stack.enter_context(_removed(layer.register_forward_hook(hook)))
            yield

    @contextmanager
    def of(self, rows: Tensor) -> Iterator[None]:
        """Take the samples `rows` for those of the passes in here."""
        self.rows = rows
        try:
            yield
        finally:
            self.rows = None

    def _hooks(self) -> Iterator[tuple[str, Hook]]:
        for name in self.adapter:
            layer, part = name.rpartition("/")[0], name[name.rindex("/") :]
            if part == UP:
                yield layer, partial(self._add_factors, layer)
            elif part == FRAMES:
                for linear in ("attn1.to_q", "attn1.to_k", "attn2.to_q", "attn2.to_k"):
                    yield f"{layer}.{linear}", partial(self._add_embedding, name)
            elif part == PLACES:
                yield f"{layer}.to_v", partial(self._add_embedding, name)

    def _own(self, name: str) -> Tensor:
        return self.adapter[name] if self.rows is None else self.adapter[name][self.rows]

    def _add_factors(self, layer: str, _: nn.Module, inputs: Any, out: Tensor) -> Tensor:
        up, down = self._own(layer + UP), self._own(layer + DOWN)  # [n, out, r], [n, r, in]
        tokens = inputs[0].reshape(self.batch // len(up), len(up), -1, down.shape[-1])
        added = tokens @ down.mT.to(tokens) @ up.mT.to(tokens)
        return out + self.scale * F.dropout(added, self.dropout).view_as(out)

    def _add_embedding(self, name: str, layer: Any, inputs: Any, out: Tensor) -> Tensor:
        embedding, tokens = self._own(name), inputs[0]  # [n, 1 or h*w, F, c]
        frames_first = tokens.ndim == 4  # [n, f, h*w, c], and otherwise [n*h*w, f, c]
        embedding = embedding[:, :, : tokens.shape[1]]
        if name.endswith(PLACES):
            embedding = self.values(embedding)
        added = F.linear(embedding.to(tokens), layer.weight)  # the projection has no bias
        whole = out.reshape(self.batch // len(added), len(added), len(out) // self.batch, *out.shape[1:])
        if frames_first:
            whole, added = whole[:, :, 0], added.transpose(1, 2)
        return (whole + self.scale * added).view_as(out)


@contextmanager
def without_time(denoiser: Denoiser) -> Iterator[None]:
    """Bypass all layers that mix frames of a plain network: what is left makes pictures."""

    def bypass(_: nn.Module, inputs: Any, named: Any, out: Tensor) -> Tensor:
        same: Tensor = inputs[0] if inputs else named["hidden_states"]
        return same

    with ExitStack() as stack:
        for name in denoiser.over_time:
            layer = denoiser.network.get_submodule(name)
            stack.enter_context(_removed(layer.register_forward_hook(bypass, with_kwargs=True)))
        yield


@contextmanager
def _removed(handle: RemovableHandle) -> Iterator[None]:
    """Keep a hook for as long as this lasts."""
    try:
        yield
    finally:
        handle.remove()
