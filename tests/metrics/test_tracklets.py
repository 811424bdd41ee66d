import numpy as np
import pytest
from numpy.typing import NDArray

from motionecho.metrics.tracklets import (
    Tracks,
    cosine_similarity,
    fidelity,
    one_way,
    resampled,
    steps,
    trajectory_similarity,
)

SIZE = (64, 64)


def bundle(velocity: NDArray[np.float64], count: int = 12, spread: float = 0.0, seed: int = 0) -> Tracks:
    """`count` tracklets from random starts that all take the displacements `velocity` [s, 2]."""
    rng = np.random.default_rng(seed)
    moves = np.broadcast_to(velocity, (count, *velocity.shape)) + rng.normal(
        0, spread, (count, *velocity.shape)
    )
    start = rng.uniform(20, 44, (count, 1, 2))
    points = np.concatenate([start, start + np.cumsum(moves, 1)], 1).astype(np.float32)
    return Tracks(points, np.ones(points.shape[:2], bool), SIZE)


def line(dx: float, dy: float = 0.0, length: int = 15) -> NDArray[np.float64]:
    return np.tile([dx, dy], (length, 1))


def curve(length: int = 15) -> NDArray[np.float64]:
    """A quarter turn at growing speed: not its own reverse."""
    angle = np.linspace(0, np.pi / 2, length)
    return np.stack([np.cos(angle), np.sin(angle)], 1) * np.linspace(0.5, 2, length)[:, None]


def with_points(tracks: Tracks, points: NDArray[np.float32]) -> Tracks:
    return Tracks(points, tracks.valid, tracks.size)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_tracks_that_move_alike_score_one_wherever_and_however_fast(scale: float) -> None:
    result = fidelity(bundle(scale * curve(), seed=1), bundle(curve(), seed=2))
    assert result.status == "ok"
    assert result.dmt == pytest.approx(1, abs=1e-4)
    assert result.dmt_oneway == pytest.approx(1, abs=1e-4)
    assert result.traj == pytest.approx(1, abs=1e-4)


def test_opposite_tracks_score_minus_one() -> None:
    result = fidelity(bundle(line(-1)), bundle(line(1)))
    assert result.dmt == pytest.approx(-1, abs=1e-4)
    assert result.traj == pytest.approx(-1, abs=1e-4)


def test_perpendicular_tracks_score_zero() -> None:
    assert fidelity(bundle(line(0, 1)), bundle(line(1, 0))).dmt == pytest.approx(0, abs=1e-4)


def test_time_reversed_is_lower_than_matched() -> None:
    forward, other = bundle(curve(), spread=0.1), bundle(curve(), spread=0.1, seed=5)
    backward = Tracks(forward.points[:, ::-1], forward.valid[:, ::-1], SIZE)
    matched, reversed_ = fidelity(forward, other), fidelity(backward, other)
    assert matched.dmt is not None
    assert matched.traj is not None
    assert reversed_.dmt is not None
    assert reversed_.traj is not None
    assert reversed_.dmt < matched.dmt - 0.5
    assert reversed_.traj < matched.traj - 0.5


def test_the_symmetric_form_sees_what_the_video_left_out() -> None:
    """Half of the reference moves down and nothing in the video does: only the direction back notices."""
    right, down = bundle(line(1)), bundle(line(0, 1), seed=3)
    reference = Tracks(np.concatenate([right.points, down.points]), np.ones((24, 16), bool), SIZE)
    result = fidelity(bundle(line(1), seed=4), reference)
    assert result.dmt_oneway == pytest.approx(1, abs=1e-4)
    assert result.dmt == pytest.approx((1 + 0.5) / 2, abs=1e-4)
    assert fidelity(reference, right).dmt == pytest.approx(result.dmt, abs=1e-4)


def test_counts_of_tracks_may_differ() -> None:
    assert fidelity(bundle(curve(), count=9), bundle(curve(), count=31)).dmt == pytest.approx(1, abs=1e-4)


def test_fewer_than_eight_tracks_are_no_answer() -> None:
    for ours, theirs in ((7, 20), (20, 7), (0, 20)):
        result = fidelity(bundle(curve(), count=ours), bundle(curve(), count=theirs))
        assert result.status == "insufficient_tracks"
        assert (result.dmt, result.dmt_oneway, result.traj, result.near) == (None, None, None, None)


def test_nan_and_lost_points_are_left_out() -> None:
    clean = bundle(curve(), count=20)
    points, valid = clean.points.copy(), clean.valid.copy()
    points[3:6, 4:7] = np.nan
    points[7, 2] = np.inf
    points[9, 8] = 1e6
    valid[9, 8] = False
    points[12] = np.nan
    result = fidelity(Tracks(points, valid, SIZE), bundle(curve(), seed=8))
    assert result.dmt == pytest.approx(1, abs=1e-4)
    assert result.traj == pytest.approx(1, abs=1e-4)
    followed = steps(Tracks(points, valid, SIZE))
    assert len(followed.moves) == 19
    assert followed.kept == pytest.approx(0.95)
    assert np.isfinite(followed.moves).all()


def test_tracks_followed_too_briefly_are_dropped() -> None:
    tracks = bundle(curve(), count=10)
    valid = tracks.valid.copy()
    valid[:4, 9:] = False  # 9 of 16 frames
    assert fidelity(Tracks(tracks.points, valid, SIZE), bundle(curve())).status == "insufficient_tracks"


def test_tracks_never_seen_together_are_not_compared() -> None:
    early, late = bundle(curve(), count=10), bundle(curve(), count=10, seed=1)
    shown, hidden = early.valid.copy(), late.valid.copy()
    shown[:, 10:], hidden[:, :6] = False, False  # 4 frames in common, 3 steps of 15
    ours, theirs = steps(Tracks(early.points, shown, SIZE)), steps(Tracks(late.points, hidden, SIZE))
    assert np.isneginf(cosine_similarity(ours, theirs)).all()
    assert np.isneginf(trajectory_similarity(ours, theirs)).all()
    assert fidelity(Tracks(early.points, shown, SIZE), Tracks(late.points, hidden, SIZE)).dmt is None


def test_a_frozen_video_scores_zero_and_a_frozen_reference_none() -> None:
    frozen, moving = bundle(line(0)), bundle(curve())
    assert fidelity(frozen, moving).dmt == 0
    assert fidelity(frozen, moving).traj == 0
    assert fidelity(moving, frozen).status == "static_reference"
    assert fidelity(moving, frozen).dmt is None


def test_a_pause_shared_by_both_costs_nothing_and_one_of_its_own_does() -> None:
    paused = curve()
    paused[5:10] = 0
    assert fidelity(bundle(paused), bundle(paused, seed=2)).dmt == pytest.approx(1, abs=1e-4)
    assert fidelity(bundle(paused), bundle(curve(), seed=2)).dmt == pytest.approx(10 / 15, abs=1e-4)


def test_a_still_background_neither_lifts_nor_lowers_the_score() -> None:
    still = bundle(line(0), count=100)

    def before(wall: Tracks, sprite: Tracks) -> Tracks:
        points = np.concatenate([wall.points, sprite.points])
        return Tracks(points, np.ones(points.shape[:2], bool), SIZE)

    right, left = before(still, bundle(line(1))), before(still, bundle(line(-1)))
    assert fidelity(right, right).dmt == pytest.approx(1, abs=1e-4)
    assert fidelity(left, right).dmt == pytest.approx(0, abs=1e-4)  # the wall is a better partner than -1


def test_only_near_partners_tell_zoom_in_from_zoom_out() -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(-20, 20, (60, 1, 2))
    growth = 1.02 ** np.arange(-8, 8)[None, :, None]
    zoom_in = Tracks((32 + start * growth).astype(np.float32), np.ones((60, 16), bool), SIZE)
    zoom_out = Tracks((32 + start / growth).astype(np.float32), np.ones((60, 16), bool), SIZE)
    same, mirrored = fidelity(zoom_in, zoom_in), fidelity(zoom_out, zoom_in)
    assert same.near == pytest.approx(1, abs=1e-4)
    assert mirrored.near is not None
    assert mirrored.near < 0
    assert mirrored.traj is not None
    assert mirrored.traj > 0.9


def test_without_neighbours_only_the_near_figure_is_missing() -> None:
    left = bundle(curve(), seed=1)
    result = fidelity(left, with_points(left, left.points + np.float32(60)))
    assert (result.status, result.near) == ("ok", None)
    assert result.traj == pytest.approx(1, abs=1e-4)


def test_the_longer_clip_is_resampled_to_the_shorter() -> None:
    slow = bundle(line(0.5, 0.5, length=31))
    result = fidelity(slow, bundle(line(1, 1, length=15), seed=1))
    assert result.dmt == pytest.approx(1, abs=1e-4)
    halved = resampled(slow, 16)
    assert halved.frames == 16
    assert np.array_equal(halved.points[:, [0, -1]], slow.points[:, [0, -1]])


def test_long_clips_are_compared_at_sixteen_instants() -> None:
    """Frame by frame such a tracker's noise outweighs the motion; three frames apart it does not."""
    slow, other = (bundle(line(0.3, length=46), spread=0.3, seed=seed) for seed in (0, 1))
    result = fidelity(slow, other)
    assert result == fidelity(resampled(slow, 16), resampled(other, 16))
    frame_by_frame = one_way(cosine_similarity(steps(slow), steps(other)))
    assert result.dmt is not None
    assert frame_by_frame is not None
    assert result.dmt > frame_by_frame + 0.15


def test_a_tracklet_of_a_long_clip_is_kept_for_all_that_was_followed_of_it() -> None:
    """Lost in every fourth frame, it was followed in three quarters, though in no long step without a gap."""
    tracks = bundle(line(0.5, length=60))
    valid = tracks.valid.copy()
    valid[:6, 2:40:4] = False
    patchy = Tracks(tracks.points, valid, tracks.size)
    assert steps(patchy, 16).kept == steps(patchy).kept == 1.0
    assert fidelity(patchy, tracks).dmt == pytest.approx(1, abs=1e-6)


def test_resampling_does_not_jump_over_a_lost_point() -> None:
    tracks = bundle(line(1, length=31), count=8)
    valid = tracks.valid.copy()
    valid[0, 15] = False  # between the positions 14 and 16 (or at one of them)
    shorter = resampled(Tracks(tracks.points, valid, SIZE), 16)
    assert (~shorter.valid[0]).sum() == 1
    assert shorter.valid[1:].all()


def test_one_frame_is_no_motion() -> None:
    single = Tracks(np.zeros((20, 1, 2), np.float32), np.ones((20, 1), bool), SIZE)
    assert fidelity(single, bundle(curve())).status == "too_few_frames"


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="points must be"):
        Tracks(np.zeros((4, 16, 2), np.float32), np.ones((4, 15), bool), SIZE)
