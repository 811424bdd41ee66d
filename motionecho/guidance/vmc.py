"""VMC: MotionDirector's factors with a loss of frame differences (Jeong et al. 2023).

    L = 1 - mean cos(|e_{j+1} - e_j|, |n_{j+1} - n_j|)      over frames, of each channel and pixel

This is what the public code computes, of absolute values; the paper speaks of the vectors themselves. The
public code trains the full weights of to_q, to_k and to_v; here they get factors (`lora_layers=qkv`).
"""

import torch.nn.functional as F
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser
from motionecho.guidance import lora, motionclone
from motionecho.guidance.strategy import Strategy
from motionecho.guidance.training import Recipe


def loss(predicted: Tensor, noise: Tensor) -> Tensor:
    """The residual loss of each sample, [b]; both [b, c, f, h, w]."""
    ours, theirs = (x.float().diff(dim=2).abs() for x in (predicted, noise))
    return 1 - F.cosine_similarity(ours, theirs, dim=2, eps=1e-8).flatten(1).mean(1)


RECIPE = Recipe(lora.factors_over_time, lambda predicted, noise, anchor: loss(predicted, noise))


def strategy(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """VMC on a network, with MotionClone's loss as what may be watched."""
    return Strategy(motionclone.monitor(denoiser, reference), RECIPE)
