"""The outlines of a clip, frame by frame: what a network that copies structure is shown."""

import cv2
import numpy as np
from numpy.typing import NDArray

WEAK, STRONG = 100, 200  # Canny's two thresholds, as in Control-A-Video and the ControlNet of outlines


def outlines(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Find lines in frames uint8 [f, h, w, 3]: uint8 [f, h, w], 255 where one is and 0 elsewhere."""
    return np.stack([cv2.Canny(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), WEAK, STRONG) for each in frames])
