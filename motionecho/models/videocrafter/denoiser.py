"""VideoCrafter's UNet as a denoiser: VideoCrafter2 the teacher, T2V-Turbo its student."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from motionecho.denoiser import Eager, Probe
from motionecho.models.videocrafter.layers import SpatialTransformer, TemporalConv, TemporalTransformer
from motionecho.models.videocrafter.settings import LAYERS
from motionecho.models.videocrafter.signal import scale_embedding
from motionecho.models.videocrafter.unet import UNet
from motionecho.schedules import Answer, Discrete, Grid, Level, boundary, clean, consistency, uniform

SCHEDULE = Discrete.from_betas(0.00085, 0.012, "scaled_linear")
TURBO_V2_GRID = consistency(200)  # T2V-Turbo-V2 was distilled on 200 DDIM steps
TURBO_V1_GRID = consistency(50)  # and T2V-Turbo on 50


@dataclass(frozen=True)
class EmbeddedScales:
    """The guidance that T2V-Turbo was distilled with and is told about instead of a second pass.

    `text` is w of eps_c + w (eps_c - eps_u); `motion`, known to V2 alone, counts while t >= `motion_from`.
    """

    text: float = 7.5
    motion: float | None = 0.05
    motion_from: int = 500

    def embeddings(self, timesteps: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embed the text scale and the motion scale at timesteps [b], each as [b, 256]."""
        text = scale_embedding(torch.full(timesteps.shape, self.text, device=timesteps.device))
        if self.motion is None:
            return text, None
        return text, scale_embedding(torch.where(timesteps >= self.motion_from, self.motion, 0.0))


@dataclass
class VideoCrafter(Eager):
    """A denoiser over latents [b, 4, f, h, w]; `fps` is the frame rate that the network is told.

    The teacher by default; a student has the grid it was distilled on and the scales it was distilled with.
    """

    network: UNet
    grid: Grid = field(default_factory=lambda: uniform(SCHEDULE))
    scales: EmbeddedScales | None = None
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: LAYERS)
    fps: int = 8
    noise: Literal["fresh", "predicted"] = "fresh"
    passes: int = 1
    answer: Answer = "eps"

    def __post_init__(self) -> None:
        self.transformers = {
            "temporal": self._named(TemporalTransformer),
            "spatial": self._named(SpatialTransformer),
        }
        self.over_time = self._named((TemporalTransformer, TemporalConv))

    def _named(self, kinds: type | tuple[type, ...]) -> tuple[str, ...]:
        return tuple(name for name, layer in self.network.named_modules() if isinstance(layer, kinds))

    def shrinks(self, layer: str) -> int:
        """By 2 for every downsampling on the way there and none of the doublings on the way back."""
        where, k = layer.split(".")[:2]
        across = self.network.config.blocks + 1
        deepest = len(self.network.config.multipliers) - 1
        levels = {"input_blocks": int(k) // across, "output_blocks": deepest - int(k) // across}
        return 2 ** levels.get(where, 0 if where == "init_attn" else deepest)

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        out = self.network(z, **self._told(z, at.t, text), probe=probe).float()
        z = z if out.requires_grad else z.detach()  # behind a full probe there is no graph
        x0 = clean("eps", z, out, at)
        return x0 if self.scales is None else boundary(z, x0, at)

    def weight(self, name: str) -> Tensor:
        return self.network.weight(name)

    def _told(self, z: Tensor, t: float | Tensor, text: Tensor) -> dict[str, Any]:
        timesteps = torch.as_tensor(t, device=z.device).expand(len(z))
        told = {"timesteps": timesteps, "context": text, "fps": self.fps}
        if self.scales is None:
            return told
        scale, motion = self.scales.embeddings(timesteps)
        return told | {"w_embedding": scale, "motion_embedding": motion}
