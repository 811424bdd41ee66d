"""DiTFlow: where every place of a frame is attended to in the others (Pondaven et al. 2025).

    D_ij(p) = sum over places q of A_ij(p, q) (q - p)       attention motion flow, in patches (between_frames)
    L = mean of |D_ij(p) - D^ref_ij(p)|^2 over i, j and p where the reference moves

The reference's flow goes to the place that is attended to most, in whole patches. Kept of a reference: int8
[f, h*w, f, 2] a layer. The public code descends on the latent (`steer=descent`), and replaces keys and
values of the first block by the reference's, which is left out here.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser, Probe, Target
from motionecho.guidance.between_frames import BetweenFrames, attended
from motionecho.guidance.strategy import Strategy, layers_of


def places(like: Tensor) -> Tensor:
    """List the places of frames [..., h, w] in patches, (x, y), as [h*w, 2] float32 on the same device."""
    h, w = like.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(h, device=like.device), torch.arange(w, device=like.device), indexing="ij"
    )
    return torch.stack([x, y], -1).flatten(0, 1).float()


def flow(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Measure where attention goes on average, differentiably: [b, f, h*w, f, 2] in patches."""
    where = places(queries)
    return attended(queries, keys, temperature, lambda maps: maps @ where) - where[:, None]


def strongest(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Measure where attention is strongest: [b, f, h*w, f, 2] in whole patches, int8 where they fit."""
    where, kind = places(queries), torch.int8 if max(queries.shape[-2:]) <= 128 else torch.int16
    at = attended(queries, keys, temperature, lambda maps: maps.argmax(-1))
    return (where[at] - where[:, None]).to(kind)


def loss(moved: Tensor, target: Tensor) -> Tensor:
    """Compare flows [b, ...places, 2] where the target moves; [b], 0 for one that nowhere does."""
    moves = target.any(-1)
    errors = (moved - target).square().mean(-1) * moves
    return errors.flatten(1).sum(1) / moves.flatten(1).sum(1).clamp_min(1)


@dataclass(frozen=True)
class AttentionFlow(BetweenFrames):
    """The energy: how far apart attention motion flows are, averaged over `layers`."""

    temperature: float
    unit: float = 1.0

    def target(self, probe: Probe) -> Target:
        """Keep each layer's strongest flow, int8 [f, h*w, f, 2]."""
        return {layer: strongest(*self.of(probe, layer), self.temperature)[0] for layer in self.layers}

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """The loss of each sample, [b]."""
        each = (
            loss(flow(*self.of(probe, layer), self.temperature), target[layer].float())
            for layer in self.layers
        )
        return reduce(add, each) / len(self.layers)


def strategy(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """DiTFlow on a network."""
    layers, time = layers_of(denoiser, reference), float(reference.reference_timestep)
    return Strategy(AttentionFlow(layers, time, reference.temperature))
