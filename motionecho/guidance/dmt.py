"""DMT: layout in space and time, as differences of features' spatial means (Yatim et al. 2024).

    F_j = mean over h, w of a layer's features of frame j                                   [c]
    L   = sum over layers of mean over anchors i of 1 - mean_j cos(F_j - F_i, F_j^ref - F_i^ref)

The term j = i is the cosine of nothing, 0, so that a video's loss with itself is 1/f a layer; the energy
leaves this constant out. Defaults move the latent itself (`steer=descent`) and begin with the low frequencies
of the inverted reference. Kept of a reference: [f, c] a layer. Cost: K looks and one more pass a step.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import torch.nn.functional as F
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser, Probe, Target
from motionecho.guidance.strategy import AtOneTime, Strategy, layers_of


def target(features: Tensor) -> Tensor:
    """Average features of a reference, [f, c, h, w], over space: [f, c]."""
    return features.float().mean((-2, -1))


def loss(features: Tensor, target: Tensor) -> Tensor:
    """Compare features [b, f, c, h, w] with spatial means [b, f, c]; [b], the anchors' own terms included."""
    means = features.float().mean((-2, -1))
    ours, theirs = (x[:, None] - x[:, :, None] for x in (means, target.float()))  # [b, anchor, f, c]
    return 1 - F.cosine_similarity(ours, theirs, dim=-1, eps=1e-8).mean((1, 2))


def initial(inverted: Tensor, fresh: Tensor, factor: int = 4) -> Tensor:
    """Put low frequencies of inverted noise in the place of those of fresh noise, both [..., h, w]."""

    def low(z: Tensor) -> Tensor:
        planes, (h, w) = z.reshape(-1, 1, *z.shape[-2:]), z.shape[-2:]
        return resized(resized(planes, (h // factor, w // factor)), (h, w)).reshape(z.shape)

    return low(inverted) + fresh - low(fresh)


def resized(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [n, c, h, w] bilinearly, corners aligned, without aliasing."""
    return F.interpolate(frames, size, mode="bilinear", align_corners=True, antialias=True)


@dataclass(frozen=True)
class SpatialMeans(AtOneTime):
    """The energy: how differently frames differ, summed over `layers`; 0 where motions are alike."""

    unit: float = 1.0

    def target(self, probe: Probe) -> Target:
        """Keep each layer's spatial means [f, c]."""
        return {tap.layer: target(probe.seen[tap][0]) for tap in self.taps}

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """The loss of each sample, [b], less what a video has with itself."""
        each = (loss(probe.seen[tap], target[tap.layer]) - 1 / probe.seen[tap].shape[1] for tap in self.taps)
        return reduce(add, each)


def strategy(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """DMT on a network."""
    return Strategy(SpatialMeans(layers_of(denoiser, reference), float(reference.reference_timestep)))
