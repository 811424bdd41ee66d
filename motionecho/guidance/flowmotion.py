"""FlowMotion: clean predictions are compared with the reference's, and no gradient goes through the network.

    D(x) = |x_i - x_j| of neighbouring frames, and of every frame with each other
    L = w |x0 - x0^ref|^2 + 5 |D(x0) - D(x0^ref)|^2         both means (HKUST-LongGroup 2026); w = 20

x0^ref is what the network makes of the noised reference under the empty prompt; at `reference_timestep` 0 it
is the reference itself. The first term copies appearance: lower w where the prompt suffers. It costs a plain
pass.
"""

from dataclasses import dataclass

from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import CLEAN, Denoiser, Probe, Tap, Target
from motionecho.guidance.strategy import AtOneTime, Strategy

DIFFERENCES = 5.0


def loss(x0: Tensor, target: Tensor, appearance: float) -> Tensor:
    """Compare clean videos [b, c, f, h, w]; [b]."""
    frames = x0.shape[2]

    def squares(a: Tensor, b: Tensor) -> Tensor:
        return (a.abs() - b.abs()).square().flatten(1).sum(1)

    def apart(first: slice, second: slice) -> Tensor:
        return squares(x0[:, :, first] - x0[:, :, second], target[:, :, first] - target[:, :, second])

    same = (x0 - target).square().flatten(1).mean(1)
    # by views alone: indices would come from the host, and have a gradient that is sorted
    moving = apart(slice(1, None), slice(-1)) + sum(
        2 * apart(slice(k, None), slice(-k)) for k in range(1, frames)
    )
    entries = x0[0, :, 0].numel() * max(1, (frames - 1) * (frames + 1))
    return appearance * same + DIFFERENCES * moving / entries


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
