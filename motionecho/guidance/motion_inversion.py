"""MotionInversion: embeddings of the reference's motion, added in attention over time (Wang et al. 2024).

    q = W_q (u + P_j)   k = W_k (u + P_j)   v = W_v (u + V_{p, j})      of frame j and place p

P has no place, so it cannot hold a layout; V is used as it is while it is trained, afterwards as differences
of frames (`difference`: objects) or not at all (`none`: camera). The three projections have no bias, so that
what is added to q, k and v is W P and W V. Both begin at 0 and are trained as MotionDirector's factors are.
Kept of a reference: P [1, f, c] a block and V [h*w, f, c] an attention. Cost: training, then a sum.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser
from motionecho.guidance import motionclone, motiondirector
from motionecho.guidance.carrier import FRAMES, PLACES, Adapter
from motionecho.guidance.strategy import Strategy, layers_of
from motionecho.guidance.training import Recipe

Mode = Literal["learn", "difference", "none"]


def query_key(tokens: Tensor, embedding: Tensor) -> Tensor:
    """Add the embedding [1, F, c] to tokens [b*h*w, f, c], F at least f: the input of W_q and W_k."""
    return tokens + embedding[:, : tokens.shape[1]].to(tokens)


def value(tokens: Tensor, embedding: Tensor, mode: Mode) -> Tensor:
    """Add the embedding [h*w, F, c] in its mode to tokens [b*h*w, f, c]: the input of W_v."""
    return tokens + in_mode(embedding[:, : tokens.shape[1]], mode).to(tokens).repeat(
        len(tokens) // len(embedding), 1, 1
    )


def in_mode(embedding: Tensor, mode: Mode) -> Tensor:
    """Bring [..., f, c] into its mode: as it is, differences of frames behind the first, or nothing."""
    if mode == "none":
        return torch.zeros_like(embedding)
    if mode == "learn":
        return embedding
    return torch.cat([embedding[..., :1, :], embedding.diff(dim=-2)], dim=-2)


def embeddings(denoiser: Denoiser, z0: Tensor, reference: ReferenceSettings) -> Adapter:
    """Make the embeddings of every block that is to have them, all zero, for clips z0 [b, c, f, h, w]."""
    b, _, frames, height, width = z0.shape
    made: Adapter = {}
    for block in layers_of(denoiser, replace(reference, strategy="motioninversion")):
        inner = denoiser.weight(f"{block}.attn1.to_q").shape[1]
        made[f"{block}{FRAMES}"] = torch.zeros(b, 1, frames, inner)
        shrunk = denoiser.shrinks(block)
        places = -(-height // shrunk) * -(-width // shrunk)  # a downsampling rounds up
        for attention in ("attn1", "attn2"):
            made[f"{block}.{attention}{PLACES}"] = torch.zeros(b, places, frames, inner)
    return made


RECIPE = Recipe(embeddings, motiondirector.temporal_loss, motiondirector.spatial_loss)


def strategy(denoiser: Denoiser, reference: ReferenceSettings) -> Strategy:
    """MotionInversion on a network, with MotionClone's loss as what may be watched."""
    return Strategy(motionclone.monitor(denoiser, reference), RECIPE)
