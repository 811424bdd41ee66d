"""The numbers of CogVideoX-5b, and the path of its latents; no file has to say them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from motionecho.schedules import Discrete

# of the autoencoder, unlike the class's own: CogVideoX-2b has another scale
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 256, 512), "latent_channels": 16, "layers_per_block": 3,
    "norm_num_groups": 32, "scaling_factor": 0.7,
}  # fmt: skip


@dataclass(frozen=True)
class VideoForm:
    """The numbers of a CogVideoX with rotated positions; `vae` are those of its autoencoder."""

    heads: int = 48
    head: int = 64
    blocks: int = 42
    time: int = 512
    channels: int = 16
    text: int = 4096
    vae: Mapping[str, Any] = field(default_factory=lambda: VAE)

    @property
    def width(self) -> int:
        return self.heads * self.head


FIVE_B = VideoForm()


def schedule_of(shift: float = 1.0) -> Discrete:
    """Make CogVideoX's schedule, which ends in pure noise; `shift` is 1 for the 5b, and 3 for the 2b."""
    return Discrete.from_betas(0.00085, 0.012, "scaled_linear", shift, to_pure_noise=True)
