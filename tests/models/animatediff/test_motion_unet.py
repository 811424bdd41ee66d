"""The probe reads what the network really computes, and costs no more than it must."""

import pytest
import tiny
import torch

from motionecho.denoiser import Probe
from motionecho.errors import UserError


@pytest.fixture(scope="module")
def net():
    return tiny.backbone()


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 4, 8, 8, generator=generator), torch.randn(2, 5, tiny.WIDTH, generator=generator)


def test_probing_does_not_change_the_prediction(net, inputs) -> None:
    z, text = inputs
    with torch.no_grad():
        plain = net.denoise(z, 500, text)
        probe = Probe(tiny.LAYERS)
        assert torch.allclose(plain, net.denoise(z, 500, text, probe), atol=1e-5)
        assert torch.equal(plain, net.denoise(z, 500, text))
    assert plain.shape == z.shape


def test_maps_are_probabilities_of_the_right_shape(net, inputs) -> None:
    z, text = inputs
    probe = Probe(tiny.LAYERS)
    with torch.no_grad():
        net.denoise(z, 500, text, probe)
    for layer in tiny.LAYERS:
        maps = probe.maps[layer]
        assert maps.shape == (2, 16, 2, 4, 4)  # b, h*w of the lower level, heads, f, f
        assert torch.allclose(maps.sum(-1), torch.ones(maps.shape[:-1]), atol=1e-5)


def test_maps_belong_to_their_sample(net, inputs) -> None:
    z, text = inputs
    both, second = Probe(tiny.LAYERS), Probe(tiny.LAYERS)
    with torch.no_grad():
        net.denoise(z, 500, text, both)
        net.denoise(z[1:], 500, text[1:], second)
    for layer in tiny.LAYERS:
        assert torch.allclose(both.maps[layer][1], second.maps[layer][0], atol=1e-5)


def test_observe_sees_the_same_and_stops_early(net, inputs) -> None:
    z, text = inputs
    whole, early, ran = Probe(tiny.LAYERS), Probe(tiny.LAYERS), []
    handle = net.unet.conv_out.register_forward_hook(lambda *_: ran.append("conv_out"))
    try:
        with torch.no_grad():
            net.observe(z, 400, text, early)
            assert ran == []
            net.denoise(z, 400, text, whole)
            assert ran == ["conv_out"]
    finally:
        handle.remove()
    for layer in tiny.LAYERS:
        assert torch.equal(whole.maps[layer], early.maps[layer])


def test_graph_ends_behind_the_last_probed_layer(net, inputs) -> None:
    z, text = inputs
    z.requires_grad_(True)
    probe, built = Probe(tiny.LAYERS), []
    handle = net.unet.conv_out.register_forward_hook(lambda _m, _i, out: built.append(out.requires_grad))
    try:
        eps = net.denoise(z, 500, text, probe)
    finally:
        handle.remove()
    assert built == [False]
    assert not eps.requires_grad
    assert torch.is_grad_enabled()  # restored for the caller
    (gradient,) = torch.autograd.grad(probe.maps[tiny.LAYERS[-1]].square().sum(), z)
    assert gradient.abs().max() > 0


def test_unknown_layer_is_named(net, inputs) -> None:
    z, text = inputs
    with pytest.raises(UserError, match=r"up_blocks\.0\.motion_modules\.9.*did you mean"):
        net.denoise(z, 500, text, Probe(("up_blocks.0.motion_modules.9.transformer_blocks.0.attn1",)))


def test_v_prediction_is_turned_into_noise(net, inputs) -> None:
    z, text = inputs
    with torch.no_grad():
        eps = net.denoise(z, 300, text)
        v = net.unet(z, 300, text.repeat_interleave(4, 0)).sample
    assert torch.allclose(eps, tiny.SCHEDULE.alpha(300) * v + tiny.SCHEDULE.sigma(300) * z, atol=1e-5)
