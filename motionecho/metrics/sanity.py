"""Cheap measures that catch a broken video without a model: black, flat, noise, static, flicker.

Thresholds are wide on purpose: a flagged video is one to look at, an unflagged one is not thereby good.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from motionecho.metrics.protocol import Item, Scores

BLACK = 10.0  # mean grey level of 255
FLAT = 2.0  # standard deviation of grey levels
NOISE = 0.8  # neighbours differ by 1.13 sd when independent; photographs and drawings stay below .5
STATIC = 1.0  # grey levels: no block of the picture changes by more
FLICKER = 1.5  # 2 when brightness alternates, 1.7 when frames are independent, about 1 when things move
FLICKER_FROM = 4.0  # grey levels: brightness changes below it do not show


@dataclass(frozen=True)
class Sanity:
    """A video's figures on its own, in grey levels of 255 unless said.

    sanity_luma, sanity_contrast   mean and standard deviation of the grey levels
    sanity_roughness               mean difference of neighbouring pixels over the contrast
    sanity_change                  mean |difference in time| of the one of 16 x 16 blocks that changes most
    sanity_flicker                 mean |second difference| over mean |first|, in time, of 4 x 4 blocks: 0..2
    sanity_status                  ok | black | flat | noise | static | flicker: the first that applies
    """

    name: str = "sanity"
    version: str = "1"

    def __call__(self, item: Item) -> Scores:
        gray = np.stack([cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in item.video])
        luma, contrast = float(gray.mean()), float(np.mean([frame.std() for frame in gray]))
        texture = float(np.abs(np.diff(gray.astype(np.int16), axis=2)).mean())
        roughness = texture / contrast if contrast else 0.0
        fine, coarse = _blocks(gray, 16), _blocks(gray, 4)
        change = float(np.abs(np.diff(fine, axis=0)).mean(0).max()) if len(gray) > 1 else None
        first = float(np.abs(np.diff(coarse, axis=0)).mean()) if len(gray) > 1 else 0.0
        flicker = None
        if len(gray) > 2:
            flicker = float(np.abs(np.diff(coarse, n=2, axis=0)).mean()) / first if first else 0.0
        status = "ok"
        if luma < BLACK and contrast < BLACK:
            status = "black"
        elif contrast < FLAT:
            status = "flat"
        elif roughness > NOISE:
            status = "noise"
        elif change is not None and change < STATIC:
            status = "static"
        elif flicker is not None and flicker > FLICKER and first > FLICKER_FROM:
            status = "flicker"
        return {
            "sanity_luma": luma,
            "sanity_contrast": contrast,
            "sanity_roughness": roughness,
            "sanity_change": change,
            "sanity_flicker": flicker,
            "sanity_status": status,
        }


def _blocks(gray: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Average grey frames [f, h, w] over blocks: [f, count, count]."""
    small = [cv2.resize(f.astype(np.float32), (count, count), interpolation=cv2.INTER_AREA) for f in gray]
    return np.stack(small).astype(np.float32)
