"""MotionDirector: factors of the layers over time, trained on the reference alone (Zhao et al. 2023).

    spatial path   e of one frame i, without layers over time, against its noise n_i
    temporal path  L = mean d^2 + mean (sqrt(2) d - d_a)^2,  d = e - n,  a a random frame (the anchor)

The second term is the appearance-debiased one: phi(e) = sqrt(beta^2 + 1) e - beta e_a with beta = 1. What the
spatial path learns, of how the clip looks, takes part in the temporal pass of its step and is then thrown
away. There is no motion loss at sampling; MotionClone's is watched where activation is to be adaptive.
Kept of a reference: 170 to 210 pairs of factors. Cost: training, then nothing.
"""

import torch
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser
from motionecho.guidance import lora, motionclone
from motionecho.guidance.strategy import Strategy
from motionecho.guidance.training import Recipe

BETA = 1.0


def temporal_loss(predicted: Tensor, noise: Tensor, anchor: int | Tensor) -> Tensor:
    """The loss of the temporal path of each sample, [b]; both [b, c, f, h, w], anchor a frame of them."""
    gap = (predicted - noise).float()
    own = gap.index_select(2, _index(anchor, gap))
    debiased = (BETA**2 + 1) ** 0.5 * gap - BETA * own
    return gap.square().flatten(1).mean(1) + debiased.square().flatten(1).mean(1)


def spatial_loss(predicted: Tensor, noise: Tensor) -> Tensor:
    """The loss of the spatial path of each sample, [b]; both [b, c, 1, h, w]."""
    return (predicted - noise).float().square().flatten(1).mean(1)


def _index(frame: int | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(frame, device=like.device).reshape(1)


RECIPE = Recipe(lora.factors_over_time, temporal_loss, spatial_loss)


def strategy(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """MotionDirector on a network, with MotionClone's loss as what may be watched."""
    return Strategy(motionclone.monitor(denoiser, reference), RECIPE)
