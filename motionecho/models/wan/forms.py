"""The numbers of Wan's networks, and how the students of its pairs step; no file has to say them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import atan, cos, sin
from typing import Any, Literal

from motionecho.schedules import TRAIN_STEPS, Flow, Grid, listed, unipc

# Wan2.2's autoencoder of 16 x 16 pixels, which the small model has alone; means and deviations by channel
VAE_2_2: dict[str, Any] = {
    "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "in_channels": 12, "out_channels": 12,
    "patch_size": 2, "is_residual": True, "scale_factor_spatial": 16,
    "latents_mean": [
        -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
        0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
        -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
        -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
    ],
    "latents_std": [
        0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
        0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
        0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
        0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """The numbers that Wan's models differ in; `vae` is what its autoencoder has unlike Wan2.1's."""

    heads: int
    ffn: int
    blocks: int
    channels: int = 16
    head: int = 128
    text: int = 4096
    vae: Mapping[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return self.heads * self.head


SMALL, MIDDLE, LARGE = Form(12, 8960, 30), Form(24, 14336, 30, channels=48, vae=VAE_2_2), Form(40, 13824, 40)
FORMS = (SMALL, MIDDLE, LARGE)


@dataclass(frozen=True)
class Setup:
    """What a pair is beside its files: the form of its networks, the latents' path, its student's steps."""

    form: Form
    schedule: Flow
    grid: Grid
    noise: Literal["fresh", "predicted"]
    lora: bool = False  # what stands in for the student where weights are random


def consistent(*angles: float) -> Grid:
    """Make the grid of a student that was distilled for angles between data (0) and noise (TrigFlow).

    On the straight path an angle t is sin t / (sin t + cos t).
    """
    return listed(*(TRAIN_STEPS * sin(t) / (sin(t) + cos(t)) for t in angles))


THREE = listed(1000.0, 757.0, 522.0)
SETUPS = {
    "wan2.1-1.3b": Setup(SMALL, Flow(3.0), consistent(atan(80.0), 1.5, 1.4, 1.0), "fresh"),
    "wan2.1-1.3b-blade": Setup(SMALL, Flow(3.0), unipc(3.0), "predicted", lora=True),
    "wan2.1-1.3b-causvid": Setup(SMALL, Flow(3.0), THREE, "fresh"),
    "wan2.2-5b": Setup(MIDDLE, Flow(5.0), THREE, "fresh"),
    "wan2.1-14b": Setup(LARGE, Flow(5.0), listed(1000.0, 937.5, 2500 / 3, 625.0), "predicted", lora=True),
}


def setup_of(pair: str) -> Setup:
    """Return the setup of a pair by its name with or without a size."""
    return SETUPS[pair.partition("@")[0]]
