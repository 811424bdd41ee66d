"""MotionClone's guidance: the strongest temporal attention of the reference, kept as a sparse target.

At one fixed time and with an empty prompt, every query frame's strongest key frame (top-1) is stored; a
generated video is pulled towards giving those key frames the same probability (Sec. 4.1). A transformer that
attends to all frames at once has no such map: there it is the strongest place of each other frame.
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
from motionecho.guidance.between_frames import BetweenFrames, attended
from motionecho.guidance.strategy import AtOneTime, Strategy, layers_of

LOSS_UNIT = 2000.0  # of reported losses and thresholds, whatever the strength


@dataclass(frozen=True)
class Top1Attention(AtOneTime):
    """The energy: the mean squared error of the kept probabilities, summed over `layers`."""

    unit: float = LOSS_UNIT
    kinds: ClassVar[tuple[Kind, ...]] = ("time_attention",)

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


@dataclass(frozen=True)
class Top1Between(BetweenFrames):
    """The energy of a transformer: the mean squared error of the kept probabilities, summed over `layers`."""

    unit: float = LOSS_UNIT

    def target(self, probe: Probe) -> Target:
        """Keep each layer's strongest place (int16 [f, h*w, f]) and its probability (float32, same)."""
        kept: Target = {}
        for layer in self.layers:
            found = attended(*self.of(probe, layer), 1.0, lambda maps: torch.stack([*maps.max(-1)], -1))[0]
            kept[f"{layer}:value"] = found[..., 0].contiguous()
            kept[f"{layer}:place"] = found[..., 1].short().contiguous()
        return kept

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """The loss of each sample, [b]; a frame's map of itself does not count."""
        errors: list[Tensor] = []
        for layer in self.layers:
            kept = target[f"{layer}:place"], target[f"{layer}:value"]
            off = attended(*self.of(probe, layer), 1.0, _error_at, *kept).mean(2)  # [b, f, f]
            frames = off.shape[-1]
            own = torch.eye(frames, dtype=torch.bool, device=off.device)
            errors.append(off.masked_fill(own, 0).sum((1, 2)) / (frames * max(1, frames - 1)))
        return reduce(add, errors)


def _error_at(maps: Tensor, place: Tensor, value: Tensor) -> Tensor:
    """Return squared errors of the probabilities at some places, [b, i, p, j] each."""
    where = torch.arange(maps.shape[-1], dtype=place.dtype, device=place.device)
    return (maps.masked_fill(where != place[..., None], 0).sum(-1) - value).square()


def strategy(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """MotionClone on a network: the layers that settings name, else the pair's own."""
    layers, time = layers_of(denoiser, reference), float(reference.reference_timestep)
    return Strategy(Top1Attention(layers, time) if denoiser.attends_time else Top1Between(layers, time))


def monitor(denoiser: Denoiser, reference: ReferenceSettings) -> Top1Attention:
    """Make the energy on the pair's own layers, for strategies that have none of their own."""
    if "motionclone" not in denoiser.layers:
        raise UserError(f'strategy "{reference.strategy}" watches MotionClone\'s loss: this pair has none')
    return Top1Attention(denoiser.layers["motionclone"], float(reference.reference_timestep))
