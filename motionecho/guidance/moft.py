"""MOFT: the channels in which motion lives, of features less their mean over time (Xiao et al. 2024).

    M = X - mean_f X                 features of one layer; appearance that stays is gone
    C = the channels of largest weight in the first principal direction of the reference's M
    L = mean over frames and places of 1 - cos_C(M, M^ref)

Kept of a reference: M on C, [f, |C|, h, w], and which channels C are. Cost: as MotionClone's.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser, Probe, Target
from motionecho.guidance.strategy import AtOneTime, Strategy, layers_of


def motion_of(features: Tensor) -> Tensor:
    """Take the mean over time from features [..., f, c, h, w], float32."""
    features = features.float()
    return features - features.mean(-4, keepdim=True)


def channels(motion: Tensor, share: float) -> Tensor:
    """Pick, in order, the channels of [f, c, h, w] that weigh most in its first principal direction, int64.

    Never fewer than two, for a cosine of one is a sign.
    """
    flat = motion.transpose(0, 1).flatten(1).double()  # [c, f*h*w]
    direction = torch.linalg.eigh(flat @ flat.T).eigenvectors[:, -1]
    kept = min(len(flat), max(2, int(share * len(flat))))
    return direction.abs().topk(kept).indices.sort().values


def picked(features: Tensor, channels: Tensor) -> Tensor:
    """Take each sample's own channels [b, k] of features [b, f, c, h, w]: [b, f, k, h, w]."""
    # not by `gather`: in one order its gradient copies from the host, which no graph records; a product with
    # ones and zeros is as exact
    ones = channels[..., None] == torch.arange(features.shape[2], device=channels.device)  # [b, k, c]
    return (ones[:, None].to(features.dtype) @ features.flatten(3)).unflatten(3, features.shape[3:])


def loss(motion: Tensor, target: Tensor) -> Tensor:
    """Compare motions on the same channels, both [b, f, k, h, w]: 1 - cosine over channels, averaged; [b]."""
    return 1 - F.cosine_similarity(motion, target.float(), dim=2, eps=1e-8).flatten(1).mean(1)


@dataclass(frozen=True)
class MotionChannels(AtOneTime):
    """The energy: the angle between motions in the reference's own channels, summed over `layers`."""

    share: float
    unit: float = 1.0

    def target(self, probe: Probe) -> Target:
        """Keep each layer's channels (int32 [k]) and its motion on them (float16 [f, k, h, w])."""
        kept: Target = {}
        for tap in self.taps:
            motion = motion_of(probe.seen[tap][0])
            chosen = channels(motion, self.share)
            unit = motion[:, chosen]
            scale = unit.square().mean().sqrt().clamp_min(1e-12)  # a cosine does not see it, float16 does
            kept[f"{tap.layer}:motion"] = (unit / scale).half().contiguous()
            kept[f"{tap.layer}:channels"] = chosen.int()
        return kept

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """The loss of each sample, [b]."""
        each = []
        for tap in self.taps:
            features = picked(probe.seen[tap], target[f"{tap.layer}:channels"])
            each.append(loss(motion_of(features), target[f"{tap.layer}:motion"]))
        return reduce(add, each)


def strategy(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """MOFT on a network."""
    layers, time = layers_of(denoiser, reference), float(reference.reference_timestep)
    return Strategy(MotionChannels(layers, time, reference.channel_share))
