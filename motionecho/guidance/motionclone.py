"""MotionClone's guidance: the strongest temporal attention of the reference, kept as a sparse target.

At one fixed time and with an empty prompt, every query frame's strongest key frame (top-1) is stored; a
generated video is pulled towards giving those key frames the same probability (Sec. 4.1).
"""

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import ClassVar

import torch
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser, Kind, Probe, Target
from motionecho.errors import UserError
from motionecho.guidance.strategy import AtOneTime, Strategy, layers_of

LOSS_UNIT = 2000.0  # of reported losses and thresholds, whatever the strength


@dataclass(frozen=True)
class Top1Attention(AtOneTime):
    """The energy: the mean squared error of the kept probabilities, summed over `layers`."""

    unit: float = LOSS_UNIT
    kind: ClassVar[Kind] = "time_attention"

    def target(self, probe: Probe) -> Target:
        """Keep each layer's strongest probability [h*w, heads, f, 1] and its key frame (int32, same)."""
        kept: Target = {}
        for tap in self.taps:
            top = probe.seen[tap][0].topk(1, dim=-1)
            kept[f"{tap.layer}:value"] = top.values.contiguous()
            kept[f"{tap.layer}:key"] = top.indices.int().contiguous()
        return kept

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """|| M (A_ref - A(z)) ||^2 of each sample, [b]."""
        errors: list[Tensor] = []
        for tap in self.taps:
            weights, key = probe.seen[tap], target[f"{tap.layer}:key"]
            # not by `gather`, whose gradient torch sorts in order to add it up in one order
            frame = torch.arange(weights.shape[-1], dtype=key.dtype, device=key.device)
            picked = weights.masked_fill(frame != key, 0).sum(-1, keepdim=True)
            errors.append((picked - target[f"{tap.layer}:value"]).square().flatten(1).mean(1))
        return reduce(add, errors)


def strategy(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """MotionClone on a network: the layers that settings name, else the pair's own."""
    return Strategy(Top1Attention(layers_of(denoiser, reference), float(reference.reference_timestep)))


def monitor(denoiser: Denoiser, reference: ReferenceSettings) -> Top1Attention:
    """Make the energy on the pair's own layers, for strategies that have none of their own."""
    if "motionclone" not in denoiser.layers:
        raise UserError(f'strategy "{reference.strategy}" watches MotionClone\'s loss: this pair has none')
    return Top1Attention(denoiser.layers["motionclone"], float(reference.reference_timestep))
