"""One sample from clip to frames."""

import hashlib
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from motionecho.config import EchoConfig
from motionecho.trace import Trace


@dataclass(frozen=True)
class Made:
    """One try: frames uint8 [f, h, w, 3], clean latents [c, f, h, w], and what they were made with."""

    frames: NDArray[np.uint8]
    latents: Tensor
    trace: Trace
    config: EchoConfig
    seed: int


def latent_digest(latents: Tensor) -> str:
    """sha256 of latents as little-endian float32: equal on equal hardware however the run was arranged."""
    return hashlib.sha256(latents.detach().cpu().numpy().astype("<f4").tobytes()).hexdigest()


class Stopwatch:
    """Seconds by name; a lap that comes again adds up."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.mark = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(self.laps.get(name, 0.0) + now - self.mark, 4)
        self.mark = now
