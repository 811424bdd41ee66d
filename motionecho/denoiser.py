"""The one protocol behind which every denoiser stands: what it answers, and how guidance reads it."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from motionecho.device import repeatable
from motionecho.errors import UserError, nearest
from motionecho.schedules import Answer, Grid, Level

# time_attention: [b, h*w, heads, f, f], float32, rows summing to one
# features: [b, f, c, h, w], what a layer hands on; up to a shift that is the same for all frames
# queries, keys: [b, f, c, h, w] of attention over all frames at once, behind norm and position, heads side
#   by side in c; queries are scaled so that queries . keys is the logits' mean over heads
# clean: [b, c, f, h, w], the clean video itself, which is of no layer
Kind = Literal["time_attention", "features", "queries", "keys", "clean"]
Noise = Literal["fresh", "predicted", "mixed"]
Target = dict[str, Tensor]  # named tensors of one reference; batched ones lead with [b]


@dataclass(frozen=True)
class Tap:
    """One thing that can be read of a pass: what a layer, by its public name, makes of a kind."""

    layer: str
    kind: Kind = "time_attention"


CLEAN = (Tap("", "clean"),)


class Seen(Exception):
    """The signal that all taps have been seen; no error."""


@dataclass
class Probe:
    """A list of taps that one pass fills; with `ends` the pass stops behind the last of them.

    Otherwise the autograd graph ends there: nothing later can change what was seen.
    """

    taps: tuple[Tap, ...]
    ends: bool = False
    seen: dict[Tap, Tensor] = field(default_factory=dict)

    def show(self, tap: Tap, value: Tensor) -> None:
        """Take what a layer shows, and end the pass or its graph behind the last tap."""
        self.seen[tap] = value
        if len(self.seen) < len(self.taps):
            return
        if self.ends:
            raise Seen
        torch.set_grad_enabled(False)


SHOWN: dict[Kind, str] = {
    "time_attention": "temporal attention layer",
    "features": "layer that shows features",
    "queries": "attention layer over all frames",
    "keys": "attention layer over all frames",
    "clean": "layer",
}


@contextmanager
def probing(probe: Probe | None, layers: Mapping[Kind, Collection[str]]) -> Iterator[None]:
    """Run a pass of a network that can show each kind of the `layers` named for it.

    Gradients are on or off afterwards as before; raises UserError on a tap that the network does not have.
    """
    for tap in probe.taps if probe else ():
        known = layers.get(tap.kind, ())
        if tap.layer not in known:
            raise UserError(f'"{tap.layer}" is no {SHOWN[tap.kind]} of this model{nearest(tap.layer, known)}')
    before = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(before)


class Energy(Protocol):
    """A measure of how far two motions are apart: pure functions of probes, hashable to name graphs."""

    @property
    def taps(self) -> tuple[Tap, ...]: ...

    @property
    def unit(self) -> float:
        """The factor on reported losses and on thresholds."""
        ...

    @property
    def times(self) -> tuple[float, ...]:
        """The times at which a reference is looked at."""
        ...

    def time_for(self, t: float) -> float:
        """Which of these times has the target for a pass at time t."""
        ...

    def target(self, probe: Probe) -> Target:
        """Reduce the reference's probe (b = 1) to the tensors worth keeping, without batch dimension."""
        ...

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """The motion loss of each sample, [b], differentiable in the probe."""
        ...


@dataclass(frozen=True)
class Look:
    """One watched pass. The backward pass runs when `gradient` is called, and not before.

    It has to be called before the network's next pass, which may compute in the same memory.
    """

    x0: Tensor  # [b, c, f, h, w]
    loss: Tensor  # [b] on the device, without unit
    gradient: Callable[[Tensor], Tensor]  # weights [b] -> d(weights . loss)/dz [b, c, f, h, w]
    passes: int = 1  # backward passes that a gradient costs


@dataclass(frozen=True)
class Ask:
    """A request to one prediction: nothing more, the motion loss too (`watch`), or guidance by it.

    strength 0 leaves the sample alone. above [b] is on the CPU: a sample whose loss is below it is not
    guided; None guides all.
    """

    watch: bool = False
    strength: float = 0.0
    above: Tensor | None = None


class Denoiser(Protocol):
    """A network over video latents z [b, c, f, h, w] (float32) at one level: answers the clean video it sees.

    `text` is whatever the pair's text encoder made, batch first: [b, tokens, width].
    """

    @property
    def network(self) -> nn.Module:
        """The network itself, which whoever manages memory may move."""
        ...

    @property
    def grid(self) -> Grid: ...

    @property
    def noise(self) -> Noise:
        """How it is renoised as a student: with fresh noise (Eq. 4), the noise it predicted, or a mixture."""
        ...

    @property
    def answer(self) -> Answer:
        """What the network's own output means."""
        ...

    @property
    def layers(self) -> Mapping[str, tuple[str, ...]]:
        """The layers that each strategy reads unless settings name others."""
        ...

    @property
    def attends_time(self) -> bool:
        """Whether it has attention over time alone; else it attends to all frames and places at once."""
        ...

    @property
    def transformers(self) -> Mapping[str, tuple[str, ...]]:
        """The names of its transformers over time ("temporal") and within frames ("spatial")."""
        ...

    @property
    def over_time(self) -> tuple[str, ...]:
        """The names of all layers that mix frames, without which it makes pictures."""
        ...

    def shrinks(self, layer: str) -> int:
        """By what factor height and width of latents are smaller at a layer."""
        ...

    @property
    def passes(self) -> int:
        """How many forward passes one answer costs."""
        ...

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        """The clean video [b, c, f, h, w], float32, seen in z; fills `probe` on the way."""
        ...

    def look(
        self, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, gradient: bool = True
    ) -> Look:
        """Answer with the motion loss too; with `gradient`, whoever calls for its gradient gets it."""
        ...

    def conditional(self, text: Tensor) -> "tuple[Denoiser, Tensor]":
        """The branch that looks are of, with its share of the text: where descents look again and again."""
        ...

    def weight(self, name: str) -> Tensor:
        """A view [out, in] of a public linear layer's weight, wherever fusing has put it.

        Of an offloaded pair it is of the weight at home, which the network takes along wherever it goes.
        Raises UserError on a name that the network does not have.
        """
        ...


class Eager:
    """The ways of a denoiser whose passes are not recorded, beside its own `x0` and `weight`."""

    attends_time = True
    transformers: Mapping[str, tuple[str, ...]] = {}  # none that could be trained by their public names
    over_time: tuple[str, ...] = ()

    def look(
        self: "Denoiser",
        z: Tensor,
        at: Level,
        text: Tensor,
        energy: Energy,
        target: Target,
        gradient: bool = True,
    ) -> Look:
        return eager_look(self, z, at, text, energy, target, gradient)

    def conditional(self: "Denoiser", text: Tensor) -> "tuple[Denoiser, Tensor]":
        return self, text

    def shrinks(self, layer: str) -> int:
        raise UserError(f"this pair does not tell how large {layer} is, which a strategy asks for")


def eager_look(
    denoiser: Denoiser, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, gradient: bool
) -> Look:
    """`Denoiser.look` by autograd, for a network whose passes are not recorded."""
    if energy.taps == CLEAN:
        return clean_look(denoiser, z, at, text, energy, target, gradient)
    probe = Probe(energy.taps)
    with torch.set_grad_enabled(gradient), repeatable():
        z = z.detach().requires_grad_(gradient)
        x0 = denoiser.x0(z, at, text, probe).detach()
        loss = energy.loss(probe, target)

    def slope(weights: Tensor) -> Tensor:
        with repeatable():
            return torch.autograd.grad(loss, z, weights)[0]

    return Look(x0, loss.detach(), slope)


def clean_look(
    denoiser: Denoiser, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, gradient: bool
) -> Look:
    """Look by an energy of the clean video: its gradient there stands for that at z.

    So the network's own output is taken as constant, and no backward pass goes through it (FlowMotion).
    """
    with torch.no_grad():
        x0 = denoiser.x0(z, at, text)
    with torch.set_grad_enabled(gradient), repeatable():
        seen = x0.detach().requires_grad_(gradient)
        loss = energy.loss(Probe(CLEAN, seen={CLEAN[0]: seen}), target)

    def slope(weights: Tensor) -> Tensor:
        with repeatable():
            return torch.autograd.grad(loss, seen, weights)[0]

    return Look(x0, loss.detach(), slope, passes=0)


def observe(denoiser: Denoiser, z: Tensor, at: Level, text: Tensor, taps: Sequence[Tap]) -> Probe:
    """Fill a probe by a pass that ends right behind the last of the taps; without a gradient."""
    if tuple(taps) == CLEAN:
        with torch.no_grad():
            return Probe(CLEAN, seen={CLEAN[0]: denoiser.x0(z, at, text)})
    probe = Probe(tuple(taps), ends=True)
    with torch.no_grad(), suppress(Seen):
        denoiser.x0(z, at, text, probe)
    return probe
