"""VideoCrafter's UNet as a backbone: VideoCrafter2 the teacher, T2V-Turbo its student."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from motionecho.backbones.protocol import Probe
from motionecho.backbones.videocrafter.settings import LAYERS
from motionecho.backbones.videocrafter.signal import scale_embedding
from motionecho.backbones.videocrafter.unet import UNet
from motionecho.schedules import Consistency, NoiseSchedule, Solver

SCHEDULE = NoiseSchedule.from_betas(0.00085, 0.012, "scaled_linear")
SOLVER = Consistency(origin_steps=200)  # T2V-Turbo-V2 was distilled on 200 DDIM steps
SOLVER_V1 = Consistency(origin_steps=50)  # and T2V-Turbo on 50


@dataclass(frozen=True)
class EmbeddedScales:
    """The guidance that T2V-Turbo was distilled with and is told about instead of a second pass.

    `text` is w of eps_c + w (eps_c - eps_u); `motion`, known to V2 alone, counts while t >= `motion_from`.
    """

    text: float = 7.5
    motion: float | None = 0.05
    motion_from: int = 500

    def embeddings(self, t: int, batch: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Embeddings [batch, 256] of the text scale and of the motion scale at timestep t."""
        text = scale_embedding(torch.full((batch,), self.text, device=device))
        if self.motion is None:
            return text, None
        motion = self.motion if t >= self.motion_from else 0.0
        return text, scale_embedding(torch.full((batch,), motion, device=device))


@dataclass
class VideoCrafter:
    """A backbone over latents [b, 4, f, h, w]; `fps` is the frame rate that the network is told."""

    unet: UNet
    solver: Solver = SOLVER
    schedule: NoiseSchedule = SCHEDULE
    layers: tuple[str, ...] = LAYERS
    fps: int = 8
    scales: EmbeddedScales | None = None

    def denoise(self, z: Tensor, t: int, text: Tensor, probe: Probe | None = None) -> Tensor:
        return self.unet(z, **self._told(z, t, text), probe=probe).float()

    def observe(self, z: Tensor, t: int, text: Tensor, probe: Probe) -> None:
        self.unet.observe(z, **self._told(z, t, text), probe=probe)

    def _told(self, z: Tensor, t: int, text: Tensor) -> dict[str, Any]:
        told = {"timesteps": torch.full((len(z),), t, device=z.device), "context": text, "fps": self.fps}
        if self.scales is None:
            return told
        scale, motion = self.scales.embeddings(t, len(z), z.device)
        return told | {"w_embedding": scale, "motion_embedding": motion}
