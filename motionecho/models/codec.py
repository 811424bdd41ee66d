"""Codecs: frames to latents and back."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from motionecho.errors import BadSample
from motionecho.models.spec import PairSpec


class Codec(Protocol):
    """A translation of a pair's clips, uint8 [f, h, w, 3], into latents and back."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape [c, f, h, w] of the clip's latents; f is below its frames where time is compressed."""
        ...

    @property
    def dtype(self) -> torch.dtype: ...

    def encode(self, frames: np.ndarray) -> Tensor:
        """Encode frames uint8 [f, h, w, 3] as float32 latents [c, f, h, w], nothing random.

        Raises BadSample on frames of another size than the pair's.
        """
        ...

    def decode(self, z: Tensor) -> np.ndarray:
        """Decode latents [b, c, f, h, w] to frames uint8 [b, f, h, w, 3]."""
        ...


@dataclass(frozen=True)
class FramewiseCodec:
    """An autoencoder of pictures, frame by frame: latents are (mean - shift) scale."""

    vae: AutoencoderKL
    shift: float
    scale: float
    spec: PairSpec
    device: torch.device
    using: Callable[[nn.Module], AbstractContextManager[object]] = nullcontext  # around every pass

    @property
    def shape(self) -> tuple[int, int, int, int]:
        spec, shrink = self.spec, 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.vae.config.latent_channels, spec.frames, spec.height // shrink, spec.width // shrink

    @property
    def dtype(self) -> torch.dtype:
        return self.vae.dtype

    @torch.no_grad()
    def encode(self, frames: np.ndarray) -> Tensor:
        """Encode as the posterior's mode; see Codec."""
        expected = (self.spec.frames, self.spec.height, self.spec.width, 3)
        if frames.shape != expected or frames.dtype != np.uint8:
            found = f"{frames.dtype} {frames.shape}"
            raise BadSample(f"a clip of pair {self.spec.name} has to be uint8 {expected}, not {found}")
        with self.using(self.vae):
            video = torch.from_numpy(frames.copy()).to(self.device).movedim(-1, 1).to(self.dtype)
            mean = self.vae.encode(video / 127.5 - 1).latent_dist.mode().float()
        return ((mean - self.shift) * self.scale).transpose(0, 1)

    @torch.no_grad()
    def decode(self, z: Tensor) -> np.ndarray:
        """Decode one clip at a time, which bounds the memory; see Codec."""
        latents = (z / self.scale + self.shift).transpose(1, 2).to(self.dtype)
        clips = []
        with self.using(self.vae):
            for frames in latents:
                video = self.vae.decode(frames).sample.float().clamp(-1, 1)
                clips.append(((video + 1) * 127.5).round().to(torch.uint8).movedim(1, -1))
            return torch.stack(clips).cpu().numpy()
