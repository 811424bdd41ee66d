"""Frame features for FID and KID: the Inception of 2015-12-05 as torch-fidelity has it, from a local file.

Its loader unpickles, so a file is checked before anything reads it: by the whole sha256 that the user gives,
or by the eight digits that the public file bears in its name, and then as tensors only.
"""

import numpy as np
from numpy.typing import NDArray

from motionecho.device import resolve_device
from motionecho.metrics.protocol import MetricUnavailable
from motionecho.metrics.weights import local_weights

WEIGHTS = "MOTIONECHO_INCEPTION_WEIGHTS"
SHA256 = "MOTIONECHO_INCEPTION_SHA256"
PUBLISHED = "6726825d"  # how the sha256 of weights-inception-2015-12-05-6726825d.pth begins
BATCH = 32


class Inception:
    """The pool features [f, 2048] of frames uint8 [f, h, w, 3], resized to 299 x 299 as TensorFlow 1 did."""

    name = "inception"

    def __init__(self, device: str = "auto") -> None:
        path, sha256 = local_weights("Inception", WEIGHTS, SHA256, begins=PUBLISHED)
        import torch

        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as missing:
            raise MetricUnavailable(
                "torch-fidelity is not installed: pip install 'motionecho[metrics]'"
            ) from missing
        try:
            torch.load(path, map_location="cpu", weights_only=True)
            self.model = FeatureExtractorInceptionV3("inception", ["2048"], str(path))
        except Exception as problem:  # a foreign file fails in many ways, and all of them mean the same here
            raise MetricUnavailable(
                f"{path} cannot be loaded as Inception: {str(problem)[:160]}"
            ) from problem
        self.device = resolve_device(device)
        self.model.to(self.device)
        self.version = f"1 inception-2015-12-05@{sha256[:12]}"

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(frames), BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(frames[start : start + BATCH]))
                parts.append(self.model(batch.movedim(-1, 1).to(self.device))[0].float().cpu())
        return np.asarray(torch.cat(parts).numpy(), np.float32)
