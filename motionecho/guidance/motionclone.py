"""MotionClone's guidance: the strongest temporal attention of the reference, kept as a sparse target.

At one fixed timestep and with an empty prompt, every query frame's strongest key frame (top-1) is stored;
a generated video is pulled towards giving those key frames the same probability (Sec. 4.1).
"""

from dataclasses import dataclass

from torch import Tensor

from motionecho.backbones.protocol import Probe
from motionecho.guidance.base import Target


@dataclass(frozen=True)
class MotionClone:
    """Top-1 temporal attention matching over `layers`; the loss is a sum over layers of mean squared errors."""

    layers: tuple[str, ...]

    def target(self, probe: Probe) -> Target:
        """Keep value [h*w, heads, f, 1] and key frame (int32, same shape) of the strongest probability per layer."""
        kept: Target = {}
        for layer in self.layers:
            top = probe.maps[layer][0].topk(1, dim=-1)
            kept[f"{layer}:value"], kept[f"{layer}:key"] = (
                top.values.contiguous(),
                top.indices.int().contiguous(),
            )
        return kept

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """|| M (A_ref - A(z)) ||^2 of each sample, [b]."""
        total = 0
        for layer in self.layers:
            picked = probe.maps[layer].gather(-1, target[f"{layer}:key"].long())
            total = total + (picked - target[f"{layer}:value"]).square().flatten(1).mean(1)
        return total  # type: ignore[return-value]
