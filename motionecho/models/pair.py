"""A teacher and its distilled student, sharing latents, autoencoder and text encoder."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from motionecho.denoiser import Backbone
from motionecho.errors import BadSample
from motionecho.models.spec import PairSpec


@dataclass(frozen=True)
class ModelPair:
    """Everything loaded that turns (motion, prompt) into frames."""

    spec: PairSpec
    student: Backbone
    teacher: Backbone
    vae: AutoencoderKL
    tokens: Callable[[list[str]], Tensor]  # ids on the CPU; raises BadSample on what it cannot read
    text: Callable[[Tensor], Tensor]  # states of ids on the device
    latent_shift: float
    latent_scale: float
    device: torch.device
    using: Callable[[nn.Module], AbstractContextManager[object]] = nullcontext  # around the autoencoder's

    @torch.no_grad()
    def encode_video(self, frames: np.ndarray) -> Tensor:
        """Frames uint8 [f, h, w, 3] to float32 latents [c, f, h, w]: the posterior's mode, nothing random."""
        expected = (self.spec.frames, self.spec.height, self.spec.width, 3)
        if frames.shape != expected or frames.dtype != np.uint8:
            found = f"{frames.dtype} {frames.shape}"
            raise BadSample(f"a clip of pair {self.spec.name} has to be uint8 {expected}, not {found}")
        with self.using(self.vae):
            video = torch.from_numpy(frames.copy()).to(self.device).movedim(-1, 1).to(self.vae.dtype)
            mean = self.vae.encode(video / 127.5 - 1).latent_dist.mode().float()
        return ((mean - self.latent_shift) * self.latent_scale).transpose(0, 1)

    @torch.no_grad()
    def decode_video(self, z: Tensor) -> np.ndarray:
        """Latents [b, c, f, h, w] to frames uint8 [b, f, h, w, 3]."""
        latents = (z / self.latent_scale + self.latent_shift).transpose(1, 2).to(self.vae.dtype)
        clips = []
        with self.using(self.vae):
            for frames in latents:  # one clip at a time bounds the memory
                video = self.vae.decode(frames).sample.float().clamp(-1, 1)
                clips.append(((video + 1) * 127.5).round().to(torch.uint8).movedim(1, -1))
            return torch.stack(clips).cpu().numpy()

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Tensor:
        """Prompts to states [b, tokens, width]; raises BadSample on a prompt that the encoder cannot read."""
        return self.text(self.tokens(prompts).to(self.device))
