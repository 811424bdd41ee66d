import numpy as np
import pytest
from drawn import camera, square

from motionecho.metrics import Item
from motionecho.metrics.protocol import Scores
from motionecho.metrics.sanity import Sanity


def sane(video: np.ndarray) -> Scores:
    return Sanity()(Item(video, None, "", 8.0))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(64, 64), (320, 512)])
def test_moving_pictures_are_ok(seed: int, size: tuple[int, int]) -> None:
    height, width = size
    for video in (
        camera(0.03 * width, seed=seed, height=height, width=width, frames=8),
        camera(zoom=1.03, seed=seed, height=height, width=width, frames=8),
        square(0.025 * height, seed=seed, size=height, frames=8),
    ):
        assert sane(video)["sanity_status"] == "ok"


def test_a_small_sprite_on_a_plain_wall_is_ok() -> None:
    video = np.full((16, 64, 64, 3), 90, np.uint8)
    for index in range(16):
        video[index, 30:38, 3 * index : 3 * index + 8] = 220
    assert sane(video)["sanity_status"] == "ok"


def shimmer(video: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, sigma, video.shape)
    return np.clip(video + noise, 0, 255).astype(np.uint8)


STILL = np.repeat(camera(1.0)[:1], 16, 0)
BROKEN = {
    "black": shimmer(np.zeros((16, 64, 64, 3)), 3),
    "flat": np.full((16, 64, 64, 3), 128, np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8),
    "static": shimmer(STILL, 2),
    "flicker": np.stack([(f * (1.0 if i % 2 else 0.6)).astype(np.uint8) for i, f in enumerate(camera(1.0))]),
}


@pytest.mark.parametrize("status", BROKEN)
def test_broken_videos_are_named(status: str) -> None:
    assert sane(BROKEN[status])["sanity_status"] == status


def test_unrelated_frames_flicker() -> None:
    assert sane(np.stack([camera(1.0, seed=s)[0] for s in range(12)]))["sanity_status"] == "flicker"


def test_an_exact_still_is_static_with_zero_change() -> None:
    row = sane(STILL)
    assert (row["sanity_status"], row["sanity_change"], row["sanity_flicker"]) == ("static", 0, 0)


def test_a_picture_alone_has_no_change_and_two_no_flicker() -> None:
    one, two = sane(camera(1.0)[:1]), sane(camera(1.0)[:2])
    assert (one["sanity_change"], one["sanity_flicker"], one["sanity_status"]) == (None, None, "ok")
    assert two["sanity_change"] is not None
    assert two["sanity_flicker"] is None


def test_a_small_thing_that_jitters_is_not_flicker() -> None:
    video = np.repeat(camera(1.0)[:1], 16, 0)
    video[::2, 30:36, 30:36] = 255
    row = sane(video)
    assert row["sanity_flicker"] == pytest.approx(2)
    assert row["sanity_status"] == "ok"
