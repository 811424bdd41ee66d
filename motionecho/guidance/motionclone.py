"""MotionClone's guidance: the strongest temporal attention of the reference, kept as a sparse target.

At one fixed timestep and with an empty prompt, every query frame's strongest key frame (top-1) is stored;
a generated video is pulled towards giving those key frames the same probability (Sec. 4.1).
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from motionecho.denoiser import Probe
from motionecho.guidance.steering import Target


@dataclass(frozen=True)
class MotionClone:
    """Top-1 temporal attention matching; the loss sums the mean squared errors of `layers`."""

    layers: tuple[str, ...]

    def target(self, probe: Probe) -> Target:
        """Keep each layer's strongest probability [h*w, heads, f, 1] and its key frame (int32, same)."""
        kept: Target = {}
        for layer in self.layers:
            top = probe.maps[layer][0].topk(1, dim=-1)
            kept[f"{layer}:value"] = top.values.contiguous()
            kept[f"{layer}:key"] = top.indices.int().contiguous()
        return kept

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """|| M (A_ref - A(z)) ||^2 of each sample, [b]."""
        errors: list[Tensor] = []
        for layer in self.layers:
            weights, key = probe.maps[layer], target[f"{layer}:key"]
            # not by `gather`, whose gradient torch sorts in order to add it up in one order
            frame = torch.arange(weights.shape[-1], dtype=key.dtype, device=key.device)
            picked = weights.masked_fill(frame != key, 0).sum(-1, keepdim=True)
            errors.append((picked - target[f"{layer}:value"]).square().flatten(1).mean(1))
        return reduce(add, errors)
