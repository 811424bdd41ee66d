"""The figure `follows` on known motion: drawn videos, rendered sprites, outputs of the embedded pair."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import ball, camera, square
from numpy.typing import NDArray

from motionecho.metrics.motion_fidelity import static_clip
from motionecho.metrics.motion_field import MotionField, agreement, binned, cosine, speed
from motionecho.metrics.trackers import DisTracker, LkTracker, Tracker
from motionecho.metrics.tracklets import Tracks
from motionecho.sprites.render import render, to_uint8
from motionecho.sprites.scenes import sample_scenes
from motionecho.video import read_clip

Video = NDArray[np.uint8]
LINE = np.array([6.0, 18.0]) + np.arange(16)[:, None] * [3.4, 1.2]
ZIGZAG = np.stack([6 + 3.3 * np.arange(16), 32 + 14 * np.sin(1.1 * np.arange(16))], 1)


def follows(video: Video, reference: Video, tracker: Tracker | None = None) -> float | None:
    tracker = tracker or DisTracker()
    ours, theirs = tracker.track(video).field, tracker.track(reference).field
    return agreement(ours, theirs, min(len(video), len(reference), 16))[0]


@pytest.mark.parametrize(
    ("video", "reference"),
    [
        (square(1.5, seed=11), square(1.5)),
        (camera(2.0, seed=3), camera(2.0)),
        (camera(zoom=1.03, seed=3), camera(zoom=1.03)),
        (camera(2.0 / 3, seed=3, frames=46), camera(2.0)),  # as far in the same time
        (ball(LINE, 30), ball(LINE + 6, 200)),
        (ball(ZIGZAG, 30), ball(ZIGZAG, 200)),
    ],
    ids=["square", "pan", "zoom", "longer", "small and fast", "small and zigzag"],
)
def test_equal_motion_of_other_things_is_one(video: Video, reference: Video) -> None:
    assert follows(video, reference) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("video", "reference"),
    [
        (static_clip(square(1.5, seed=4)[0], 16), square(1.5)),
        (np.repeat(square(1.5, seed=4)[:1], 16, 0), square(1.5)),
        (square(0, 1.5, seed=13), square(1.5)),
        (square(-1.5, seed=12), square(1.5)),
        (square(1.5)[::-1], square(1.5)),
        (square(1.5)[:, :, ::-1], square(1.5)),
        (camera(-2.0, seed=3), camera(2.0)),
        (camera(zoom=1 / 1.03, seed=3), camera(zoom=1.03)),
        (camera(2.0, seed=3), camera(zoom=1.03)),
        (ball(LINE[::-1], 30), ball(LINE, 200)),
    ],
    ids=[
        "still",
        "frozen",
        "across",
        "back",
        "reversed",
        "mirrored",
        "pan back",
        "zoom out",
        "pan",
        "ball back",
    ],
)
def test_a_still_video_and_another_motion_are_zero(video: Video, reference: Video) -> None:
    assert follows(video, reference) == pytest.approx(0, abs=0.1)


def test_another_tracker_says_the_same() -> None:
    assert follows(square(1.5, seed=11), square(1.5), LkTracker()) == pytest.approx(1, abs=0.1)
    assert follows(square(-1.5, seed=11), square(1.5), LkTracker()) == pytest.approx(0, abs=0.1)


def test_sprites_that_move_alike_are_near_one_and_others_rank_as_their_true_velocities() -> None:
    moving = sample_scenes(6, torch.Generator().manual_seed(9), motions=("linear", "accelerate", "wave"))
    looks = sample_scenes(6, torch.Generator().manual_seed(10), motions=("linear", "accelerate", "wave"))
    other = dataclasses.replace(looks, path=moving.path, motion=moving.motion)
    fields = [
        [DisTracker().track(clip).field for clip in to_uint8(render(s))] for s in (moving, other, looks)
    ]
    reference, same, unlike = fields
    alike = [agreement(one, two, 16)[0] for one, two in zip(same, reference, strict=True)]
    assert min(value for value in alike if value is not None) > 0.75
    assert np.median([value for value in alike if value is not None]) > 0.9
    steps, wanted = (s.screen().diff(dim=1).flatten(1) for s in (looks, moving))
    truth = torch.cosine_similarity(steps, wanted).numpy()
    found = [cosine(binned(one, 16), binned(two, 16)) for one, two in zip(unlike, reference, strict=True)]
    assert np.corrcoef(found, truth)[0, 1] > 0.9


def test_outputs_of_the_embedded_pair_rank_as_the_eye_has_them() -> None:
    """One reference, which bounces: its student goes back, its guided student strays, MotionEcho follows.

    Their velocity cosines are -.27, .60 and .85.
    """
    folder = Path(__file__).parent / "followed"
    clips = {name: read_clip(folder / f"{name}.mp4", 16, 64, 64).frames for name in
             ("reference", "student", "guided", "echo")}  # fmt: skip
    student, guided, echo = (
        follows(clips[name], clips["reference"]) for name in ("student", "guided", "echo")
    )
    assert student == pytest.approx(0, abs=0.05)
    assert guided == pytest.approx(0.65, abs=0.12)
    assert echo == pytest.approx(0.8, abs=0.1)


def field(velocity: tuple[float, float], where: slice = slice(None), steps: int = 15) -> MotionField:
    """A grid of 20 x 20 places whose rows `where` move by `velocity` px a step, in frames 100 px wide."""
    axis = (np.arange(20, dtype=np.float32) + 0.5) / 20
    places = np.stack(np.meshgrid(axis, axis), -1)
    moves = np.zeros((steps, 20, 20, 2), np.float32)
    moves[:, where] = velocity
    return MotionField(
        places.reshape(-1, 2), moves.reshape(steps, -1, 2), np.ones((steps, 400), bool), (100, 100)
    )


@pytest.mark.parametrize(
    ("degrees", "wanted"), [(0, 1.0), (30, np.cos(np.pi / 6) / 0.95), (60, 0.5 / 0.95), (90, 0.0), (150, 0.0)]
)
def test_the_figure_is_the_cosine_of_the_directions(degrees: float, wanted: float) -> None:
    angle = np.radians(degrees)
    turned = field((3 * np.cos(angle), 3 * np.sin(angle)))
    assert agreement(turned, field((3, 0)), 16)[0] == pytest.approx(wanted, abs=1e-3)


def test_what_creeps_in_the_same_direction_does_not_follow() -> None:
    reference = field((4, 0))
    paces = [agreement(field((4 * share, 0)), reference, 16)[0] for share in (1, 0.6, 0.25, 0.05)]
    assert paces == pytest.approx([1, 1, 0.5, 0.1], abs=1e-3)
    assert agreement(field((12, 0)), reference, 16)[0] == pytest.approx(1)


def test_a_slow_drift_of_everything_does_not_hide_what_moves() -> None:
    mover = field((5, 0), slice(8, 12))
    drifting = dataclasses.replace(mover, moves=mover.moves + np.float32([0, 0.3]))
    assert agreement(drifting, mover, 16)[0] == pytest.approx(1, abs=0.05)


def test_things_that_move_alike_in_other_places_follow_less() -> None:
    top = field((5, 0), slice(0, 3))
    below, bottom = field((5, 0), slice(3, 6)), field((5, 0), slice(17, 20))
    found = [agreement(place, top, 16)[0] for place in (top, below, bottom)]
    assert found[0] == pytest.approx(1)
    assert found[0] > found[1] > found[2] > 0.4


def test_more_steps_are_summed_to_the_instants_compared() -> None:
    slow, fast = binned(field((1, 0), steps=45), 16), binned(field((3, 0)), 16)
    assert slow == pytest.approx(fast, abs=1e-6)
    assert speed(fast) == pytest.approx(3 / np.hypot(100, 100), rel=0.02)


def test_what_was_not_followed_counts_as_still_and_a_reference_without_anything_is_no_answer() -> None:
    reference, lost = field((3, 0)), field((3, 0))
    lost.followed[:] = False
    assert agreement(lost, reference, 16) == (0.0, "ok")
    assert agreement(reference, lost, 16) == (None, "untracked_reference")
    assert agreement(reference, field((0, 0)), 16) == (None, "static_reference")


def test_tracklets_alone_make_a_field() -> None:
    """As a tracker that has none of its own leaves it; a lost point has no part in it."""
    start = np.random.default_rng(0).uniform(10, 50, (40, 1, 2))
    points = (start + np.arange(16)[None, :, None] * [0.8, 0.2]).astype(np.float32)
    points[3, 5:] = np.nan
    tracks = Tracks(points, np.ones((40, 16), bool), (64, 64))
    made = tracks.field
    assert made.moves.shape == (15, 40, 2)
    assert not made.followed[4:, 3].any()
    assert made.followed.sum() == 15 * 40 - 11
    back = Tracks(points[:, ::-1], tracks.valid, (64, 64))
    assert agreement(made, made, 16)[0] == pytest.approx(1)
    assert agreement(back.field, made, 16)[0] == 0
