"""Codecs: frames to latents and back."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderKLCogVideoX, AutoencoderKLWan
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
        check_size(frames, self.spec)
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
                clips.append(_pixels(self.vae.decode(frames).sample).movedim(1, -1))
            return torch.stack(clips).cpu().numpy()


@dataclass(frozen=True)
class LatentForm:
    """What an autoencoder of video makes of a clip, and the mean and deviation of every channel."""

    channels: int
    stride: int  # frames that are one latent frame, but for the first, which is one alone
    shrink: int  # pixels of a side
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class CausalCodec:
    """A causal autoencoder of video: 4k + 1 frames are k + 1 latent ones, (mode - mean) / std.

    The encoder has to be in float32, for a reference's motion suffers from less; the decoder may be in any.
    """

    vae: AutoencoderKLWan | AutoencoderKLCogVideoX
    form: LatentForm
    spec: PairSpec
    device: torch.device
    using: Callable[[nn.Module], AbstractContextManager[object]] = nullcontext  # around every pass

    @property
    def shape(self) -> tuple[int, int, int, int]:
        spec, form = self.spec, self.form
        frames = (spec.frames - 1) // form.stride + 1
        return form.channels, frames, spec.height // form.shrink, spec.width // form.shrink

    @property
    def dtype(self) -> torch.dtype:
        return next(self.vae.decoder.parameters()).dtype

    @torch.no_grad()
    def encode(self, frames: np.ndarray) -> Tensor:
        """Encode as the posterior's mode, in float32; see Codec."""
        check_size(frames, self.spec)
        with self._pass():
            video = torch.from_numpy(frames.copy()).to(self.device).movedim(-1, 0).float()[None]
            mode = self.vae.encode(video / 127.5 - 1).latent_dist.mode()[0]
        mean, std = self._statistics(mode)
        return (mode - mean) / std

    @torch.no_grad()
    def decode(self, z: Tensor) -> np.ndarray:
        """Decode one clip at a time, which bounds the memory; see Codec."""
        clips, (mean, std) = [], self._statistics(z)
        with self._pass():
            for latents in (z * std + mean).to(self.dtype).split(1):
                clips.append(_pixels(self.vae.decode(latents).sample[0]).movedim(0, -1).cpu())
        return torch.stack(clips).numpy()

    @contextmanager
    def _pass(self) -> Iterator[None]:
        """Leave no frames behind that the network carries along, not even where a pass is cut short."""
        with self.using(self.vae):
            try:
                yield
            finally:
                if isinstance(self.vae, AutoencoderKLWan):
                    self.vae.clear_cache()

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of every channel, [c, 1, 1, 1]."""
        mean, std = (like.new_tensor(numbers) for numbers in (self.form.mean, self.form.std))
        return mean[:, None, None, None], std[:, None, None, None]


def check_size(frames: np.ndarray, spec: PairSpec) -> None:
    """Raise BadSample on frames that are not uint8 [f, h, w, 3] of the pair's size."""
    expected = (spec.frames, spec.height, spec.width, 3)
    if frames.shape != expected or frames.dtype != np.uint8:
        found = f"{frames.dtype} {frames.shape}"
        raise BadSample(f"a clip of pair {spec.name} has to be uint8 {expected}, not {found}")


def _pixels(video: Tensor) -> Tensor:
    """Turn values in [-1, 1] into uint8."""
    return ((video.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
