"""MotionDirector's losses and training: numbers frozen when they were the public ones, and properties."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.errors import BadSample
from motionecho.guidance import lora, motiondirector
from motionecho.guidance.carrier import DOWN, UP, Adapter
from motionecho.guidance.motiondirector import RECIPE, spatial_loss, temporal_loss
from motionecho.guidance.training import Draw, Recipe
from tests.guidance import small

SETTINGS = ReferenceSettings(
    strategy="motiondirector", lora_rank=4, lora_dropout=0.0, train_rate=3e-3, train_steps=4,
    spatial_path="still",
)  # fmt: skip


def pair_of_videos() -> tuple[Tensor, Tensor]:
    return small.drawn(0, 2, 3, 5, 4, 4), small.drawn(1, 2, 3, 5, 4, 4)


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [(0, [6.520963668823242, 8.171588897705078]), (3, [7.845306396484375, 7.91961145401001])],
)
def test_numbers_of_the_temporal_loss_are_the_public_ones(anchor: int, expected: list[float]) -> None:
    found = temporal_loss(*pair_of_videos(), anchor)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=2e-5, atol=0)
    assert torch.equal(found, temporal_loss(*pair_of_videos(), torch.tensor(anchor)))


def test_numbers_of_the_spatial_loss_are_the_public_ones() -> None:
    predicted, noise = (video[:, :, :1] for video in pair_of_videos())
    expected = torch.tensor([0.9561803340911865, 2.290681838989258])
    torch.testing.assert_close(spatial_loss(predicted, noise), expected, rtol=2e-5, atol=0)


def test_an_error_that_all_frames_share_is_mostly_forgiven() -> None:
    """The debiased term takes the anchor's own error from every frame's, sqrt(2) d - d_a."""
    noise, shared = small.drawn(0, 1, 3, 5, 4, 4), small.drawn(1, 1, 3, 1, 4, 4)
    square = shared.square().mean()
    for anchor in range(5):
        found = temporal_loss(noise + shared, noise, anchor)
        torch.testing.assert_close(found[0], (1 + (2**0.5 - 1) ** 2) * square, rtol=1e-4, atol=0)


def test_an_error_in_one_frame_counts_by_whether_it_is_the_anchor() -> None:
    noise, error = torch.zeros(1, 1, 4, 2, 2), torch.zeros(1, 1, 4, 2, 2)
    error[:, :, 2] = 1
    own = temporal_loss(error, noise, 2)  # (1 + (sqrt(2) - 1)^2 + 3) / 4
    other = temporal_loss(error, noise, 0)  # (1 + 2) / 4
    assert own.item() == pytest.approx((4 + (2**0.5 - 1) ** 2) / 4)
    assert other.item() == pytest.approx(3 / 4)


def test_losses_are_of_each_sample_alone() -> None:
    predicted, noise = pair_of_videos()
    for k in (0, 1):
        alone = temporal_loss(predicted[k : k + 1], noise[k : k + 1], 1)
        torch.testing.assert_close(alone, temporal_loss(predicted, noise, 1)[k : k + 1])
    assert temporal_loss(noise, noise, 1).tolist() == spatial_loss(noise, noise).tolist() == [0, 0]


def trained(clips: Tensor, settings: ReferenceSettings = SETTINGS, recipe: Recipe = RECIPE) -> Adapter:
    net = small.animatediff()
    return recipe.train(net, small.SCHEDULE, clips, small.texts(1, len(clips)), settings)


@pytest.fixture(scope="module")
def two() -> Adapter:
    return trained(small.latents(0))


@pytest.fixture(scope="module")
def first() -> Adapter:
    return trained(small.latents(0)[:1])


def test_clips_train_beside_each_other_as_alone(two: Adapter, first: Adapter) -> None:
    ups = [name for name in two if name.endswith(UP)]
    assert {tensor.dtype for tensor in two.values()} == {torch.float16}
    away = max(small.gap(first[name].float(), two[name][:1].float()) for name in ups)
    apart = min(small.gap(two[name][1:].float(), two[name][:1].float()) for name in ups)
    assert away < 0.1 < apart


def test_training_again_gives_the_same_bits_whatever_was_drawn_before() -> None:
    settings, made = replaced(train_steps=3, lora_dropout=0.5), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        net = small.animatediff()
        torch.set_rng_state(state)
        made.append(RECIPE.train(net, small.SCHEDULE, small.latents(0), small.texts(1), settings))
        assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(made[1][name], tensor) for name, tensor in made[0].items())


def test_a_frame_of_a_still_video_trains_otherwise_than_a_picture(first: Adapter) -> None:
    made = [
        first,
        *(trained(small.latents(0)[:1], replaced(spatial_path=path)) for path in ("frame", "none")),
    ]
    for k in range(3):
        one, other = made[k], made[k - 1]
        assert any(not torch.equal(other[name], tensor) for name, tensor in one.items())


def test_training_lowers_the_loss() -> None:
    net, z0, text = small.animatediff(), small.latents(0, batch=1), small.texts(1, batch=1)
    adapter = RECIPE.train(
        net, small.SCHEDULE, z0, text, replaced(train_steps=6, train_rate=1e-2, spatial_path="none")
    )
    before, after = (small.loss_on(net, z0, text, RECIPE, carried) for carried in ({}, adapter))
    assert after < 0.985 * before


def test_training_leaves_the_network_as_it_was(two: Adapter) -> None:
    net, z, text, at = small.animatediff(), small.latents(3), small.texts(1), small.SCHEDULE.at(500)
    with torch.no_grad():
        before = net.x0(z, at, text)
        RECIPE.train(net, small.SCHEDULE, z, text, replaced(train_steps=1))
        assert torch.equal(net.x0(z, at, text), before)
    assert not any(weight.requires_grad for weight in net.network.parameters())


def test_factors_that_become_not_finite_are_refused() -> None:
    broken = Recipe(RECIPE.begin, lambda seen, want, anchor: temporal_loss(seen, want, anchor) * float("inf"))
    with pytest.raises(BadSample, match="train_rate"):
        trained(small.latents(0), replaced(train_steps=1), broken)


def test_the_spatial_path_goes_around_layers_over_time() -> None:
    """Forward and backward, where activations are computed a second time too."""
    net, z0, text, found = small.lvdm(), small.latents(0), small.texts(1), []
    settings, draw = replaced(spatial_path="frame"), Draw.of(2, small.SCHEDULE, z0)
    start = small.filled(lora.factors_in_frames(net, z0, settings))
    for economical in (False, True):
        net.network.economical = economical
        for _ in range(2):
            aside = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
            scaler = torch.amp.GradScaler("cpu", enabled=False)
            RECIPE._appearance(net, z0, text, draw, aside, settings, scaler)
            found.append({n: tensor.grad for n, tensor in aside.items() if tensor.grad is not None})
            for layer in net.over_time:
                for weight in net.network.get_submodule(layer).parameters():
                    weight.mul_(1.5)
    assert set(found[0]) == set(start)
    for name, slope in found[0].items():
        assert slope.any()
        assert all(torch.equal(other[name], slope) for other in found[1:])


def test_draws_are_functions_of_the_step_alone() -> None:
    z0 = small.latents(0)
    draws = [Draw.of(step, small.SCHEDULE, z0) for step in range(200)]
    again, other = Draw.of(7, small.SCHEDULE, z0[:1]), draws[7]
    assert replace(again, eps=other.eps) == other
    assert torch.equal(again.eps, other.eps[:1])
    assert torch.equal(other.eps[0], other.eps[1])
    assert {draw.frame for draw in draws} == {draw.anchor for draw in draws} == set(range(small.FRAMES))
    assert sum(draw.frame == draw.anchor for draw in draws) < 100  # drawn apart
    assert 120 < sum(draw.looks for draw in draws) < 190
    times = [draw.at.t for draw in draws]
    assert (min(times) < 100, max(times) > 900, min(times) >= 1) == (True, True, True)


def test_its_factors_are_of_every_linear_over_time() -> None:
    adapter = RECIPE.begin(small.animatediff(), small.latents(0), SETTINGS)
    assert {name.rpartition("/")[2] for name in adapter} == {UP[1:], DOWN[1:]}
    assert motiondirector.BETA == 1
    assert len(adapter) == 2 * 10 * 7


def replaced(**changes: object) -> ReferenceSettings:
    return ReferenceSettings(**(SETTINGS.to_dict() | changes))
