"""Noise is a function of seed, purpose and step, and of nothing else."""

import torch

from motionecho.noise import batch_noise, blend, noise


def test_noise_ignores_the_global_generator_and_the_batch() -> None:
    torch.manual_seed(0)
    first = noise(7, "initial", 0, (2, 3))
    torch.manual_seed(1)
    assert torch.equal(first, noise(7, "initial", 0, (2, 3)))
    batch = batch_noise([5, 7], "initial", 0, torch.empty(2, 2, 3))
    assert torch.equal(batch[1], first)


def test_seed_purpose_and_step_each_change_it() -> None:
    base = noise(7, "initial", 0, (64,))
    for other in (
        noise(8, "initial", 0, (64,)),
        noise(7, "teacher", 0, (64,)),
        noise(7, "initial", 1, (64,)),
    ):
        assert abs(torch.corrcoef(torch.stack([base, other]))[0, 1].item()) < 0.6
        assert not torch.equal(base, other)


def test_noise_is_frozen() -> None:
    """A change here changes every video ever made: raise CODE_EPOCH with it."""
    assert torch.allclose(noise(42, "initial", 0, (3,)), torch.tensor(FROZEN), atol=1e-6)


def test_blend_keeps_unit_variance_and_its_ends() -> None:
    inverted, fresh = noise(1, "a", 0, (20_000,)), noise(2, "b", 0, (20_000,))
    assert torch.equal(blend(inverted, fresh, 0.0), fresh)
    assert torch.equal(blend(inverted, fresh, 1.0), inverted)
    assert abs(blend(inverted, fresh, 0.3).std().item() - 1) < 0.02


FROZEN = [0.6095423, -0.8008788, 1.41006]
