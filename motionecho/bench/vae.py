"""The cost of encoding a reference and decoding a video."""

from typing import Any

import numpy as np
import torch

from motionecho.bench.clock import median_ms, timed
from motionecho.models.pair import ModelPair


def measure(pair: ModelPair, repeats: int = 5) -> list[dict[str, Any]]:
    """Measure milliseconds of a clip, frames in and out included, and peak memory in GiB."""
    spec = pair.spec
    clip = np.random.default_rng(0).integers(
        0, 255, (spec.frames, spec.height, spec.width, 3), dtype=np.uint8
    )
    latents: torch.Tensor = pair.codec.encode(clip)[None]
    rows = []
    for part, action in {
        "encode": lambda: pair.codec.encode(clip),
        "decode": lambda: pair.codec.decode(latents),
    }.items():
        milliseconds = median_ms(action, pair.device, repeats)
        rows.append({"part": part, "ms": milliseconds, "peak_gib": timed(action, pair.device)[1]})
    return rows
