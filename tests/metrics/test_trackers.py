import cv2
import numpy as np
import pytest
from drawn import camera, square

from motionecho.metrics.trackers import DisTracker, LkTracker, Tracker, grid, working_size

TRACKERS = [DisTracker(), LkTracker()]


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_camera_pan_moves_every_point_by_as_much(tracker: Tracker) -> None:
    tracks = tracker.track(camera(2.0))
    assert tracks.points.shape == (len(tracks.points), 16, 2)
    assert tracks.points.dtype == np.float32
    assert tracks.valid.dtype == bool
    moves = np.diff(tracks.points, axis=1)[tracks.valid[:, 1:] & tracks.valid[:, :-1]]
    assert np.median(moves, axis=0) == pytest.approx([2, 0], abs=0.05)
    assert np.abs(moves - [2, 0]).max() < 1
    assert tracks.valid.mean() > 0.7


@pytest.mark.parametrize("tracker", TRACKERS)
def test_points_on_the_square_move_and_points_on_the_wall_stay(tracker: Tracker) -> None:
    tracks = tracker.track(square(1.5))
    middle = tracks.points[:, 8]
    inside = (np.abs(middle - 32) < 8).all(1)
    outside = np.abs(middle[:, 1] - 32) > 20
    path = tracks.points[:, 11] - tracks.points[:, 5]
    assert np.median(path[inside], axis=0) == pytest.approx([9, 0], abs=0.5)
    assert np.abs(path[outside]).max() < 0.5


@pytest.mark.parametrize("tracker", TRACKERS)
def test_points_are_in_pixels_of_the_given_frames(tracker: Tracker) -> None:
    for height, width in ((64, 64), (500, 320)):
        tracks = tracker.track(camera(3.0, height=height, width=width, frames=3))
        middle = tracks.points[:, 1]
        assert tracks.size == (height, width)
        assert middle.min() >= 0
        assert middle.max(0)[0] < width
        assert middle.max(0)[1] < height
        assert middle.mean(0) == pytest.approx([(width - 1) / 2, (height - 1) / 2], abs=0.5)
        assert np.median(np.diff(tracks.points, axis=1), axis=(0, 1)) == pytest.approx([3, 0], abs=0.2)


@pytest.mark.parametrize("tracker", TRACKERS)
def test_noise_and_points_that_leave_are_not_valid(tracker: Tracker) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    assert tracker.track(noise).valid.mean() < 0.4  # the middle frame alone is a sixth
    gone = tracker.track(camera(4.0))
    assert not gone.valid[gone.points[..., 0] > 64].any()
    assert np.isfinite(gone.points).all()


@pytest.mark.parametrize("tracker", TRACKERS)
def test_equal_frames_give_equal_tracks_on_any_number_of_threads(tracker: Tracker) -> None:
    video, before = camera(1.3, zoom=1.02, frames=6), cv2.getNumThreads()
    try:
        results = []
        for threads in (1, 2, 5, 1):
            cv2.setNumThreads(threads)
            results.append(tracker.track(video))
    finally:
        cv2.setNumThreads(before)
    for result in results[1:]:
        assert np.array_equal(result.points, results[0].points)
        assert np.array_equal(result.valid, results[0].valid)


@pytest.mark.parametrize("tracker", TRACKERS)
def test_black_frames_single_frames_and_tiny_frames_are_survived(tracker: Tracker) -> None:
    for shape in ((4, 64, 64, 3), (1, 64, 64, 3), (3, 4, 90, 3)):
        tracks = tracker.track(np.zeros(shape, np.uint8))
        assert tracks.frames == shape[0]
        assert np.isfinite(tracks.points).all()


def test_working_sizes_keep_the_aspect_between_two_areas() -> None:
    assert working_size(64, 64) == (256, 256)
    assert working_size(320, 512) == (320, 512)
    height, width = working_size(1080, 1920)
    assert height * width == pytest.approx(512 * 320, rel=0.01)
    assert width / height == pytest.approx(16 / 9, rel=0.01)


def test_a_grid_has_about_the_points_asked_for_in_square_cells() -> None:
    for height, width in ((256, 256), (320, 512), (512, 128)):
        points = grid(height, width, 240)
        assert 220 <= len(points) <= 260
        columns, rows = len(np.unique(points[:, 0])), len(np.unique(points[:, 1]))
        assert (width / columns) / (height / rows) == pytest.approx(1, abs=0.15)
