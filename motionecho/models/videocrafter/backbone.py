"""VideoCrafter's UNet as a backbone: VideoCrafter2 the teacher, T2V-Turbo its student."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from motionecho.denoiser import Probe
from motionecho.models.videocrafter.settings import LAYERS
from motionecho.models.videocrafter.signal import scale_embedding
from motionecho.models.videocrafter.unet import UNet
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

    def embeddings(self, timesteps: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings [b, 256] of the text scale and of the motion scale at timesteps [b]."""
        text = scale_embedding(torch.full(timesteps.shape, self.text, device=timesteps.device))
        if self.motion is None:
            return text, None
        return text, scale_embedding(torch.where(timesteps >= self.motion_from, self.motion, 0.0))


@dataclass
class VideoCrafter:
    """A backbone over latents [b, 4, f, h, w]; `fps` is the frame rate that the network is told."""

    unet: UNet
    solver: Solver = SOLVER
    schedule: NoiseSchedule = SCHEDULE
    layers: tuple[str, ...] = LAYERS
    fps: int = 8
    scales: EmbeddedScales | None = None

    def denoise(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe | None = None) -> Tensor:
        return self.unet(z, **self._told(z, t, text), probe=probe).float()

    def observe(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe) -> None:
        self.unet.observe(z, **self._told(z, t, text), probe=probe)

    def _told(self, z: Tensor, t: int | Tensor, text: Tensor) -> dict[str, Any]:
        timesteps = torch.as_tensor(t, device=z.device).expand(len(z))
        told = {"timesteps": timesteps, "context": text, "fps": self.fps}
        if self.scales is None:
            return told
        scale, motion = self.scales.embeddings(timesteps)
        return told | {"w_embedding": scale, "motion_embedding": motion}
