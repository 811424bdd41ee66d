"""CoTracker3 (offline) as a tracker: the user's own checkout and weights, both CC-BY-NC 4.0, neither shipped.

    MOTIONECHO_TRACKER=cotracker
    MOTIONECHO_COTRACKER=/path/to/co-tracker             a checkout, or owner/repository for torch.hub
    MOTIONECHO_COTRACKER_WEIGHTS=/path/to/scaled_offline.pth
    MOTIONECHO_COTRACKER_SHA256=...                      optional: refuse any other file
    MOTIONECHO_COTRACKER_GRID=55                         points a side on the first frame (DMT's is 55)

Its code runs with the rights of this process: name a checkout you trust.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motionecho.device import resolve_device
from motionecho.metrics.protocol import MetricUnavailable
from motionecho.metrics.tracklets import Tracks
from motionecho.metrics.weights import local_weights
from motionecho.runs.waits import said

CHECKOUT = "MOTIONECHO_COTRACKER"
WEIGHTS = "MOTIONECHO_COTRACKER_WEIGHTS"
SHA256 = "MOTIONECHO_COTRACKER_SHA256"
GRID = "MOTIONECHO_COTRACKER_GRID"
ALLOW = "MOTIONECHO_ALLOW_DOWNLOAD"
GPU_GRID, CPU_GRID = 55, 20  # 3025 and 400 points; on two cores 900 of them took a minute for 16 frames
ENTRY = "cotracker3_offline"  # the checkout's own entry point for torch.hub


class CoTracker:
    """A tracker of a first frame's grid through the whole video; what it takes for hidden is not valid."""

    def __init__(self, predictor: Any, device: Any, grid: int, label: str) -> None:
        self.predictor, self.device, self.grid = predictor.to(device).eval(), device, grid
        self.settings = f"{label} first-grid{grid}"

    def track(self, frames: NDArray[np.uint8]) -> Tracks:
        import torch

        video = torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, 1)[None].float().to(self.device)
        with torch.inference_mode():
            points, visible = self.predictor(video, grid_size=self.grid)
        height, width = frames.shape[1:3]
        found = points[0].float().cpu().numpy().swapaxes(0, 1)
        inside = ((found >= -0.5) & (found <= np.array([width, height]) - 0.5)).all(2)
        shown = visible[0].bool().cpu().numpy().T
        return Tracks(found.astype(np.float32), shown & inside, (height, width))


def load_cotracker(device: str = "auto") -> CoTracker:
    """Build it from the environment above; MetricUnavailable with the reason where that cannot be."""
    import torch

    path, sha256 = local_weights("CoTracker3", WEIGHTS, SHA256)
    target = resolve_device(device)
    try:
        predictor = _predictor(os.environ.get(CHECKOUT, ""))
        state = torch.load(path, map_location="cpu", weights_only=True)
        predictor.model.load_state_dict(state.get("model", state))
    except MetricUnavailable:
        raise
    except Exception as problem:  # someone else's code and file: the reasons differ, the consequence does not
        detail = (str(problem).strip().splitlines() or [""])[0][:160]
        raise MetricUnavailable(
            f"CoTracker3 cannot be loaded ({type(problem).__name__}: {detail})"
        ) from problem
    default = GPU_GRID if target.type == "cuda" else CPU_GRID
    return CoTracker(predictor, target, _grid(default), f"cotracker3-offline@{sha256[:12]}")


def _predictor(place: str) -> Any:
    import torch

    if (Path(place).expanduser() / "hubconf.py").is_file() and place:
        folder = str(Path(place).expanduser())
        return torch.hub.load(folder, ENTRY, source="local", pretrained=False)
    if place.count("/") == 1 and not place.startswith((".", "/", "~")):
        if os.environ.get(ALLOW) != "1":
            raise MetricUnavailable(
                f"{place} would have to be downloaded: set {ALLOW}=1, or {CHECKOUT} to a checkout"
            )
        said(
            f"fetching   CoTracker3's code, https://github.com/{place}, to {torch.hub.get_dir()}; Ctrl-C "
            f"stops it, and a checkout in {CHECKOUT} makes it needless"
        )
        return torch.hub.load(place, ENTRY, pretrained=False, trust_repo=True)
    raise MetricUnavailable(f'{CHECKOUT}="{place}" is no checkout of CoTracker: there is no hubconf.py in it')


def _grid(default: int) -> int:
    text = os.environ.get(GRID, str(default))
    if not text.isdigit() or int(text) < 3:
        raise MetricUnavailable(f'{GRID}="{text}" is not a number of points from 3 on')
    return int(text)
