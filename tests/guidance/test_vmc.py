"""VMC's loss: numbers frozen when they were those of the public code, and what has to hold."""

import torch

from motionecho.config import ReferenceSettings
from motionecho.guidance import vmc
from motionecho.guidance.carrier import UP
from tests.guidance import small


def videos(seed: int, batch: int = 2) -> torch.Tensor:
    return small.drawn(seed, batch, 3, 5, 4, 4)


def test_numbers_are_the_public_ones() -> None:
    expected = torch.tensor([0.27912694215774536, 0.23200589418411255])
    torch.testing.assert_close(vmc.loss(videos(0), videos(1)), expected, rtol=2e-5, atol=0)


def test_equal_inputs_have_no_loss() -> None:
    assert vmc.loss(videos(0), videos(0)).abs().max() < 1e-6


def test_neither_sign_nor_scale_nor_a_still_picture_is_seen() -> None:
    """As in the public code: of absolute differences, whose cosine forgets how long they are."""
    noise = videos(1)
    scale = 1 + small.drawn(2, 2, 3, 1, 4, 4).abs()  # of each channel and pixel
    for same in (-noise, scale * noise, noise + small.drawn(3, 2, 3, 1, 4, 4)):
        torch.testing.assert_close(vmc.loss(same, noise), torch.zeros(2), rtol=0, atol=1e-5)
    assert (vmc.loss(noise.flip(2), noise) > 0.05).all()


def test_each_sample_alone_has_the_same_loss_and_descends() -> None:
    predicted, noise = videos(0).requires_grad_(), videos(1)
    both = vmc.loss(predicted, noise)
    alone = [vmc.loss(predicted[k : k + 1], noise[k : k + 1]) for k in (0, 1)]
    torch.testing.assert_close(both, torch.cat(alone))
    (slope,) = torch.autograd.grad(both.sum(), predicted)
    (first,) = torch.autograd.grad(alone[0].sum(), predicted)
    torch.testing.assert_close(slope[:1], first[:1])
    assert not first[1:].any()
    assert (vmc.loss(predicted - 0.1 * slope, noise) < both).all()


def test_training_lowers_it() -> None:
    """By the recipe's own loss, of queries, keys and values alone."""
    net, z0, text = small.animatediff(), small.latents(0, batch=1), small.texts(1, batch=1)
    settings = ReferenceSettings(
        strategy="vmc", lora_rank=4, lora_layers="qkv", lora_dropout=0.0, train_rate=1e-2, train_steps=6
    )
    adapter = vmc.RECIPE.train(net, small.SCHEDULE, z0, text, settings)
    layers = {name.removesuffix(UP) for name in adapter if name.endswith(UP)}
    assert {layer.rpartition(".")[2] for layer in layers} == {"to_q", "to_k", "to_v"}
    before, after = (small.loss_on(net, z0, text, vmc.RECIPE, carried) for carried in ({}, adapter))
    assert after < before
