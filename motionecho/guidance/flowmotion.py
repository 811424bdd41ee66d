"""FlowMotion: clean predictions are compared with the reference's, and no gradient goes through the network.

    D(x) = |x_i - x_j| of neighbouring frames, and of every frame with each other
    L = w |x0 - x0^ref|^2 + 5 |D(x0) - D(x0^ref)|^2         both means (HKUST-LongGroup 2026); w = 20

x0^ref is what the network makes of the noised reference under the empty prompt; at `reference_timestep` 0 it
is the reference itself. The first term copies appearance: lower w where the prompt suffers. It costs a plain
pass.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import CLEAN, Denoiser, Probe, Tap, Target
from motionecho.guidance.strategy import AtOneTime, Strategy

DIFFERENCES = 5.0


@cache
def couples(frames: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """List the frames that are compared: each with the next one, then each with all others."""
    pairs = [(i, i + 1) for i in range(frames - 1)]
    pairs += [(i, j) for i in range(frames) for j in range(frames) if i != j]
    first, second = zip(*pairs, strict=True) if pairs else ((), ())
    return first, second


def loss(x0: Tensor, target: Tensor, appearance: float) -> Tensor:
    """Compare clean videos [b, c, f, h, w]; [b]."""
    first, second = (torch.tensor(k, device=x0.device, dtype=torch.long) for k in couples(x0.shape[2]))
    ours, theirs = ((x.index_select(2, first) - x.index_select(2, second)).abs() for x in (x0, target))
    same, moving = ((a - b).square().flatten(1).mean(1) for a, b in ((x0, target), (ours, theirs)))
    return appearance * same + DIFFERENCES * moving


@dataclass(frozen=True)
class CleanPrediction(AtOneTime):
    """The energy: how far apart clean videos are, and the differences of their frames; of no layers."""

    appearance: float
    unit: float = 1.0

    @property
    def taps(self) -> tuple[Tap, ...]:
        return CLEAN

    def target(self, probe: Probe) -> Target:
        """Keep the reference's clean video [c, f, h, w], float16."""
        return {"x0": probe.seen[CLEAN[0]][0].half()}

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """The loss of each sample, [b]."""
        return loss(probe.seen[CLEAN[0]].float(), target["x0"].float(), self.appearance)


def strategy(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """FlowMotion on a network."""
    return Strategy(CleanPrediction((), float(reference.reference_timestep), reference.appearance_weight))
