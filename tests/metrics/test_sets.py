import numpy as np
import pytest

from motionecho.errors import UserError
from motionecho.metrics.sets import Discrepancy, check_fid, cubic, frechet, gaussian, set_score

RNG = np.random.default_rng(0)


def videos(
    count: int, frames: int = 4, dimensions: int = 8, shift: float = 0.0, seed: int = 0
) -> list[np.ndarray]:
    """Features whose frames are much alike within a video: a centre each, and little around it."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(shift, 1, (count, 1, dimensions))
    return list((centres + 0.1 * rng.normal(size=(count, frames, dimensions))).astype(np.float32))


def textbook_frechet(x: np.ndarray, y: np.ndarray) -> float:
    """With the square root of the product by its eigenvalues, which need full covariances."""
    product = np.cov(x.T) @ np.cov(y.T)
    root = np.sqrt(np.abs(np.linalg.eigvals(product))).sum()
    return float(
        ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * root
    )


@pytest.mark.parametrize(("n", "m", "d"), [(50, 70, 5), (10, 12, 64), (200, 6, 20)])
def test_the_low_rank_distance_is_the_textbook_one(n: int, m: int, d: int) -> None:
    x, y = RNG.normal(size=(n, d)), RNG.normal(0.5, 2, size=(m, d))
    assert frechet(x, y) == pytest.approx(textbook_frechet(x, y), rel=1e-6)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)


def test_published_forms_equal_their_definitions_frame_by_frame() -> None:
    x, y = videos(5), videos(4, frames=3, shift=0.5, seed=1)
    a, b = np.concatenate(x).astype(float), np.concatenate(y).astype(float)
    for kernel in (cubic, gaussian):
        found = Discrepancy.of(x, y, kernel)
        kaa, kbb, kab = kernel(a, a), kernel(b, b), kernel(a, b)
        assert found.published(biased=True) == pytest.approx(kaa.mean() + kbb.mean() - 2 * kab.mean())
        off = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (kaa, kbb)]
        assert found.published(biased=False) == pytest.approx(sum(off) - 2 * kab.mean())


def test_the_kernel_sums_do_not_depend_on_how_many_rows_are_taken_at_once(monkeypatch) -> None:
    x, y = videos(7), videos(4, seed=1)
    whole = Discrepancy.of(x, y, cubic)
    monkeypatch.setattr("motionecho.metrics.sets.AT_ONCE", 6)
    parts = Discrepancy.of(x, y, cubic)
    np.testing.assert_allclose(whole.xx, parts.xx)
    np.testing.assert_allclose(whole.xy, parts.xy)


def test_frames_of_one_video_do_not_count_as_many_samples() -> None:
    """Equal distributions: over videos the mean is 0, over frames it is far above."""
    draws = [Discrepancy.of(videos(12, seed=2 * k), videos(12, seed=2 * k + 1), cubic) for k in range(60)]
    between, frames = (
        [f(d) for d in draws] for f in (Discrepancy.between, lambda d: d.published(biased=False))
    )
    error = np.std(between) / np.sqrt(len(draws))
    assert abs(np.mean(between)) < 3 * error
    assert np.mean(frames) > 5 * error


def test_the_interval_holds_zero_for_equal_sets_and_not_for_others() -> None:
    same = set_score("kid", videos(40), videos(40, seed=1))
    other = set_score("kid", videos(40), videos(40, shift=1.0, seed=1))
    assert same["low"] < 0 < same["high"]
    assert 0 < other["low"] < other["kid"] < other["high"]
    assert (other["videos"], other["frames"], other["status"]) == (40, 160, "ok")
    assert set_score("cmmd", videos(1), videos(4))["status"] == "too_few_videos"


def test_fid_is_refused_for_few_videos_unless_asked_for_and_says_its_n() -> None:
    with pytest.raises(UserError, match=r"49 videos against 60 references .*--allow-small-fid"):
        check_fid(49, 60, allow_small=False)
    check_fid(49, 60, allow_small=True)
    row = set_score("fid", videos(3, dimensions=32), videos(4, dimensions=32, seed=1))
    assert (row["videos"], row["references"], row["rank_deficient"]) == (3, 4, True)
