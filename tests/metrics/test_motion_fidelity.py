import json

import numpy as np
import pytest
from drawn import camera, square

from motionecho.metrics import Item
from motionecho.metrics.motion_fidelity import MotionFidelity, static_clip
from motionecho.metrics.trackers import DisTracker, LkTracker, Tracker
from motionecho.metrics.tracklets import fidelity

TRACKERS = [DisTracker(), LkTracker()]
FIGURES = ("mf_dmt", "mf_dmt_oneway", "mf_traj", "mf_traj_near")


def score(video: np.ndarray, reference: np.ndarray | None, tracker: Tracker = TRACKERS[0]) -> dict:
    return MotionFidelity(tracker)(Item(video, reference, "", 8.0))


@pytest.mark.parametrize("tracker", TRACKERS)
def test_the_same_motion_of_other_things_beats_every_other_motion(tracker: Tracker) -> None:
    """References and videos differ in texture throughout: only their motion is the same."""
    reference = {"right": square(1.5), "pan": camera(2.0), "zoom": camera(zoom=1.03)}
    video = {
        "right": square(1.5, seed=11),
        "left": square(-1.5, seed=12),
        "down": square(0, 1.5, seed=13),
        "pan": camera(2.0, seed=14),
        "pan back": camera(-2.0, seed=15),
        "zoom": camera(zoom=1.03, seed=16),
    }
    videos = {name: tracker.track(frames) for name, frames in video.items()}
    for wanted, clip in reference.items():
        target = tracker.track(clip)
        scores = {name: fidelity(tracks, target) for name, tracks in videos.items()}
        still = fidelity(tracker.track(static_clip(video[wanted][0], 16)), target)
        for figure in ("dmt", "traj", "near"):
            matched = getattr(scores[wanted], figure)
            rest = [getattr(result, figure) for name, result in scores.items() if name != wanted]
            assert matched > 0.8, (wanted, figure)
            assert matched > max(rest) + 0.05, (wanted, figure, rest)
            assert matched > getattr(still, figure) + 0.4, (wanted, figure)


def test_a_video_with_itself_scores_one_and_its_reverse_much_less() -> None:
    video = square(1.5)
    same, backwards = score(video, video), score(video[::-1], video)
    for figure in FIGURES:
        assert same[figure] == pytest.approx(1, abs=1e-3)
        assert backwards[figure] < 0.5
    assert score(camera(2.0)[::-1], camera(2.0))["mf_dmt"] < -0.9


def test_only_the_near_figure_tells_zoom_out_from_zoom_in() -> None:
    row = score(camera(zoom=1 / 1.03, seed=1), camera(zoom=1.03))
    assert row["mf_dmt"] > 0.9
    assert row["mf_traj_near"] < 0


def test_a_still_video_scores_about_the_floor() -> None:
    reference = camera(2.0)
    still = static_clip(camera(2.0, seed=5)[0], 16)
    row = score(still, reference)
    for figure in ("mf_dmt", "mf_traj", "mf_traj_near"):
        assert row[figure] == pytest.approx(row[f"{figure}_floor"], abs=0.1)
        assert 0 < row[figure] < 0.5
    assert row["mf_speed_video"] < row["mf_speed_reference"] / 10


def test_the_engine_stands_beside_its_figures() -> None:
    row = score(camera(2.0, seed=1), camera(2.0))
    assert row["motion_fidelity_status"] == row["mf_status"] == "ok"
    assert row["mf_tracker"] == "dis-medium"
    assert "fb1.5" in row["mf_setting"]
    assert row["mf_frames"] == 16
    assert row["mf_floor"] == "static"
    assert row["mf_speed_video"] == pytest.approx(2 / np.hypot(64, 64), rel=0.05)
    assert 100 < row["mf_tracks_video"] <= 260
    assert 0.5 < row["mf_kept_video"] <= 1
    assert MotionFidelity(LkTracker()).version != MotionFidelity().version
    json.dumps(row, allow_nan=False)


NOISE = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("video", "reference", "status", "why"),
    [
        (camera(2.0), None, "no_reference", "there is no reference"),
        (camera(2.0)[:1], camera(2.0), "too_few_frames", "one frame shows no motion"),
        (camera(2.0), np.repeat(camera(2.0)[:1], 16, 0), "static_reference", "the reference stands still"),
    ],
)
def test_no_answer_is_none_with_its_status_and_the_same_columns(
    video: np.ndarray, reference: np.ndarray | None, status: str, why: str
) -> None:
    row = score(video, reference)
    assert row["motion_fidelity_status"] == row["mf_status"] == status
    assert (row["follows"], row["follows_why"]) == (None, why)
    assert [row[figure] for figure in FIGURES] == [None] * 4
    assert row["mf_dmt_floor"] is None
    assert row.keys() == score(camera(2.0)[:4], camera(2.0)[:4]).keys()


def test_what_no_track_survives_in_has_a_figure_all_the_same() -> None:
    row = score(NOISE, camera(2.0))
    assert (row["mf_traj"], row["mf_status"]) == (None, "insufficient_tracks")
    assert row["follows"] == pytest.approx(0, abs=0.05)
    assert (row["follows_why"], row["motion_fidelity_status"]) == (None, "ok")


def test_lengths_and_sizes_may_differ() -> None:
    row = score(camera(4.0, height=80, width=128, frames=20), camera(2.0, seed=1))
    assert row["mf_frames"] == 16
    assert row["mf_dmt"] > 0.95
    assert row["follows"] > 0.95


def test_a_reference_is_tracked_once_for_all_videos_that_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tracked: list[np.ndarray] = []

    class Counting:
        settings = TRACKERS[0].settings

        def track(self, frames: np.ndarray):
            tracked.append(frames)
            return TRACKERS[0].track(frames)

    monkeypatch.setattr("motionecho.metrics.motion_fidelity.REFERENCES", 1)
    metric, clip, other = MotionFidelity(Counting()), square(1.5), camera(2.0)
    videos = [square(1.5, seed=2), square(-1.5, seed=3)]

    def of_clip() -> int:
        return sum(frames.shape == clip.shape and np.array_equal(frames, clip) for frames in tracked)

    alone = [score(video, clip) for video in videos]
    # by its pixels, not by the array that holds them
    assert [metric(Item(video, clip.copy(), "", 8.0)) for video in videos] == alone
    assert of_clip() == 1
    metric(Item(videos[0], other, "", 8.0))  # no more than one is kept
    assert metric(Item(videos[0], clip, "", 8.0)) == alone[0]
    assert of_clip() == 2
