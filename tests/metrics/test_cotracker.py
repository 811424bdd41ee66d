"""CoTracker3's interface with a tiny module in its place: a checkout whose predictor moves points as taught.

The real one is not shipped (CC-BY-NC). Everything here goes through torch.hub, as with a real checkout.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from motionecho.metrics import Item, load_metrics
from motionecho.metrics.cotracker import CHECKOUT, GRID, SHA256, WEIGHTS, load_cotracker
from motionecho.runs.keys import file_digest

HUBCONF = """
import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.step = torch.nn.Parameter(torch.zeros(2))


class Predictor(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Model()

    def forward(self, video, grid_size=0, grid_query_frame=0):
        assert video.dtype == torch.float32 and video.max() > 1 and video.shape[2] == 3
        _, frames, _, height, width = video.shape
        x, y = torch.linspace(0, width - 1, grid_size), torch.linspace(0, height - 1, grid_size)
        start = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(1, 1, -1, 2)
        tracks = start + torch.arange(frames).view(1, -1, 1, 1) * self.model.step
        visible = torch.ones(tracks.shape[:3], dtype=torch.bool)
        visible[:, -1, 0] = False
        return tracks, visible


def cotracker3_offline(pretrained=True, **kwargs):
    assert not pretrained, "nothing may be downloaded"
    return Predictor()
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    torch.save({"model": {"step": torch.tensor([2.0, 0.0])}}, tmp_path / "weights.pth")
    for name, value in {CHECKOUT: tmp_path, WEIGHTS: tmp_path / "weights.pth", GRID: "5"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MOTIONECHO_TRACKER", "cotracker")
    return tmp_path


def test_tracks_in_pixels_with_what_is_hidden_or_outside_marked(checkout: Path) -> None:
    tracker = load_cotracker("cpu")
    tracks = tracker.track(np.full((4, 33, 65, 3), 200, np.uint8))
    assert tracks.points.shape == (25, 4, 2)
    np.testing.assert_allclose(tracks.points[6, :, 0], [16, 18, 20, 22])
    assert tracks.valid[6].all()
    assert list(tracks.valid[0]) == [True, True, True, False], "hidden in the last frame"
    assert list(tracks.valid[4]) == [True, False, False, False], "out of the picture"
    digest = file_digest(str(checkout / "weights.pth"))[:12]
    assert tracker.settings == f"cotracker3-offline@{digest} first-grid5"


def test_motion_fidelity_runs_on_it_and_names_it(checkout: Path) -> None:
    (metric,), skipped = load_metrics(["motion_fidelity"], "cpu")
    video = np.full((6, 48, 96, 3), 90, np.uint8)
    row = metric(Item(video, video, "", 8.0))
    assert skipped == {}
    assert row["mf_traj"] == pytest.approx(1)
    assert str(row["mf_tracker"]).startswith("cotracker3-offline@")
    assert "cotracker3-offline@" in metric.version


def test_what_is_missing_is_a_reason_and_never_another_tracker(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reason() -> str:
        metrics, skipped = load_metrics(["motion_fidelity"], "cpu")
        assert metrics == []
        return skipped["motion_fidelity"]

    cases = [
        (SHA256, "0" * 64, "is not what it should be"),
        (GRID, "many", "not a number of points"),
        (CHECKOUT, str(checkout / "nowhere"), "no checkout of CoTracker"),
        (CHECKOUT, "someone/co-tracker", "set MOTIONECHO_ALLOW_DOWNLOAD=1"),
        (WEIGHTS, str(checkout / "gone.pth"), "do not exist"),
        (WEIGHTS, str(checkout / "hubconf.py"), "cannot be loaded"),
        ("MOTIONECHO_TRACKER", "optical", "use dis, lk or cotracker"),
    ]
    for name, value, words in cases:
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert words in reason()
