"""Which frames of a clip are read, and how they are brought to a size."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import HEIGHT, WIDTH, both, make, numbered, numbers, refusal

from motionecho.errors import BadSample
from motionecho.video import Window, probe, read_clip, select


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames at 8 fps: 5 seconds, four groups of pictures with B-frames."""
    return make(tmp_path_factory.mktemp("clips") / "clip.mp4", numbered(40))


# --- which frames


def test_whole_clip_follows_the_integer_linspace_rule(clip: Path) -> None:
    got = read_clip(clip, 16, HEIGHT, WIDTH)
    expected = [int(k) for k in np.linspace(0, 39, 16) + 1e-9]
    assert list(got.indices) == expected
    assert numbers(got.frames) == expected
    assert got.frames.shape == (16, HEIGHT, WIDTH, 3)
    assert got.frames.dtype == np.uint8
    assert got.fps == pytest.approx(15 / (39 / 8))


@pytest.mark.parametrize(
    ("window", "count", "expected"),
    [
        (Window(fps=8), 5, [0, 1, 2, 3, 4]),
        (Window(fps=4), 5, [0, 2, 4, 6, 8]),
        (Window(start=2.0, fps=8), 4, [16, 17, 18, 19]),
        (Window(start=4.5, fps=8), 4, [36, 37, 38, 39]),
        (Window(start=1.0, duration=1.0), 8, [8, 9, 10, 11, 12, 13, 14, 15]),
        (Window(start=1.0, duration=1.0), 3, [8, 11, 15]),
        (Window(duration=2.0, fps=8), 16, list(range(16))),
        (Window(start=4.0, duration=60.0), 8, list(range(32, 40))),
        (Window(start=2.9), 2, [24, 39]),
        (Window(start=3.0), 1, [24]),
        (Window(fps=12), 6, [0, 0, 1, 2, 2, 3]),
    ],
)
def test_windows_choose_the_same_frames_in_both_decoders(
    clip: Path, window: Window, count: int, expected: list[int]
) -> None:
    assert numbers(both(clip, count, window)) == expected


@pytest.mark.parametrize(
    ("window", "count", "words"),
    [
        (Window(start=5.0), 4, ["ends at 5.00 s", "starts at 5"]),
        (Window(start=30.0, fps=8), 4, ["ends at 5.00 s", "starts at 30"]),
        (Window(start=4.0, fps=8), 16, ["has 8 frames", "16 are needed", "8 fps"]),
        (Window(duration=1.0, fps=4), 5, ["has 4 frames", "5 are needed"]),
        (Window(start=1.0, duration=0.5), 16, ["has 4 different frames", "16 are needed", "at least 8"]),
        (Window(fps=60), 16, ["has 3 different frames from 0 to 0.27 s", "16 are needed"]),
        (Window(start=0.01, duration=0.05), 2, ["has no frame"]),
    ],
)
def test_windows_that_hold_too_little_say_what_is_there_and_what_is_needed(
    clip: Path, window: Window, count: int, words: list[str]
) -> None:
    sentence = refusal(clip, count, window=window)
    assert all(word in sentence for word in words), sentence


def test_short_clips_repeat_frames_down_to_half() -> None:
    times = np.arange(8) / 8
    chosen = select(times, 1.0, 16, Window(), "x.mp4")
    assert set(chosen) == set(range(8))
    assert sorted(chosen) == list(chosen)
    with pytest.raises(BadSample, match="7 different frames"):
        select(times[:7], 0.875, 16, Window(), "x.mp4")
    assert select(times[:2], 0.25, 2, Window(), "x.mp4") == (0, 1)


def test_rates_survive_times_rounded_to_milliseconds() -> None:
    times = np.round(np.arange(48) / 24, 3)  # what matroska keeps of 24 fps
    assert select(times, 2.0, 48, Window(fps=24), "x.mkv") == tuple(range(48))
    assert select(times, 2.0, 16, Window(fps=8), "x.mkv") == tuple(range(0, 48, 3))


@pytest.mark.parametrize("wrong", [{"start": -1.0}, {"duration": 0.0}, {"fps": float("nan")}, {"fps": -8.0}])
def test_windows_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadSample, match=next(iter(wrong))):
        Window(**wrong)


def test_variable_frame_rate_is_sampled_by_time(tmp_path: Path) -> None:
    # 10 frames in the first second, then one every second: frame 9 is shown from 0.9 s, 10 from 2 s, ...
    at = [100 * k for k in range(10)] + [2000, 3000, 4000, 5000]
    path = make(tmp_path / "vfr.mp4", numbered(14), at_ms=at)
    assert numbers(both(path, 6)) == [0, 9, 10, 11, 12, 13]
    assert numbers(both(path, 4, Window(start=0.5, fps=1))) == [5, 9, 10, 11]
    assert probe(path).fps == pytest.approx(13 / 5)


# --- fitting


def test_fits(tmp_path: Path) -> None:
    """A 64x32 picture, left half red, right half blue, brought to 32x32."""
    frames = np.zeros((2, 32, 64, 3), np.uint8)
    frames[:, :, :32, 0], frames[:, :, 32:, 2] = 200, 200
    path = make(tmp_path / "halves.mp4", frames, pixels="yuv444p")
    crop, stretch, pad = (
        read_clip(path, 2, 32, 32, fit=f).frames[0].astype(int) for f in ("crop", "resize", "pad")
    )
    for fitted in (crop, stretch):
        assert fitted[16, 4, 0] > 150
        assert fitted[16, 28, 2] > 150
        assert fitted.sum(-1).min() > 100
    assert pad[:8].max() == pad[24:].max() == 0
    assert pad[10:22, 4, 0].min() > 150
    narrow = read_clip(path, 2, 32, 16, fit="crop").frames[0].astype(int)  # the middle quarter, unscaled
    assert narrow[16, 4, 0] > 150
    assert narrow[16, 12, 2] > 150


def test_a_full_size_clip_is_not_resampled(clip: Path) -> None:
    with av.open(str(clip)) as container:
        raw = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    for fit in ("crop", "resize", "pad"):
        np.testing.assert_array_equal(read_clip(clip, 40, HEIGHT, WIDTH, fit=fit).frames, raw)


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((2, 240, 320, 3), np.uint8)
    stripes[:, :, ::2] = 255
    path = make(tmp_path / "stripes.mp4", stripes, pixels="yuv444p")
    small = read_clip(path, 2, 30, 40).frames
    assert abs(small.astype(int) - 127).max() < 20


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = make(tmp_path / "wide.mp4", numbered(2, 64, 64), aspect=Fraction(2, 1))
    assert probe(path).pixel_aspect == 2
    padded = both(path, 2, height=64, width=64, fit="pad")[0]
    assert padded[:16].max() == padded[48:].max() == 0  # shown 128x64, so 64x32 here
    assert padded[18:46].min() > 0
