"""Frame features for FID and KID: the Inception of 2015-12-05 as torch-fidelity has it, from a local file.

Its loader unpickles, so a file is checked before anything reads it: by the whole sha256 that the user gives,
or by the eight digits that the public file bears in its name, and then as tensors only.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motionecho.backbones.device import resolve_device
from motionecho.keys import file_digest
from motionecho.metrics.protocol import MetricUnavailable

WEIGHTS = "MOTIONECHO_INCEPTION_WEIGHTS"
SHA256 = "MOTIONECHO_INCEPTION_SHA256"
PUBLISHED = "6726825d"  # how the sha256 of weights-inception-2015-12-05-6726825d.pth begins
BATCH = 32


class Inception:
    """Pool features [f, 2048] of frames uint8 [f, h, w, 3], resized to 299 x 299 as TensorFlow 1 did."""

    name = "inception"

    def __init__(self, device: str = "auto") -> None:
        path = checked_file(os.environ.get(WEIGHTS, ""), os.environ.get(SHA256, PUBLISHED))
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
        self.version = f"1 inception-2015-12-05@{file_digest(str(path))[:12]}"

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(frames), BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(frames[start : start + BATCH]))
                parts.append(self.model(batch.movedim(-1, 1).to(self.device))[0].float().cpu())
        return np.asarray(torch.cat(parts).numpy(), np.float32)


def checked_file(name: str, sha256: str) -> Path:
    """The weights' path, if there is such a file and its sha256 begins as wanted; else MetricUnavailable."""
    if not name:
        raise MetricUnavailable(
            f"no Inception weights are named: set {WEIGHTS} to weights-inception-2015-12-05-{PUBLISHED}.pth"
        )
    path = Path(name).expanduser()
    if not path.is_file():
        raise MetricUnavailable(
            f"the Inception weights {path} do not exist: set {WEIGHTS} to a file that does"
        )
    if len(sha256) < len(PUBLISHED):
        raise MetricUnavailable(f"{SHA256} has {len(sha256)} digits: give all 64, or leave it out")
    found = file_digest(str(path))
    if not found.startswith(sha256.lower()):
        raise MetricUnavailable(
            f"{path} is not what it should be: its sha256 is {found}, not {sha256}...; if you trust it, "
            f"set {SHA256} to that"
        )
    return path
