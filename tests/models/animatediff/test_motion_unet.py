"""The probe reads what the network really computes, and costs no more than it must."""

import pytest
import tiny
import torch

from motionecho.denoiser import Probe, Tap, observe
from motionecho.errors import UserError
from motionecho.schedules import boundary, eps_of

TAPS = tuple(Tap(layer) for layer in tiny.LAYERS)
AT = tiny.SCHEDULE.at(500)


@pytest.fixture(scope="module")
def net():
    return tiny.denoiser()


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 4, 8, 8, generator=generator), torch.randn(2, 5, tiny.WIDTH, generator=generator)


def test_probing_does_not_change_the_prediction(net, inputs) -> None:
    z, text = inputs
    with torch.no_grad():
        plain = net.x0(z, AT, text)
        probed = net.x0(z, AT, text, Probe(TAPS))
        assert torch.allclose(eps_of(z, plain, AT), eps_of(z, probed, AT), atol=1e-5)
        assert torch.equal(plain, net.x0(z, AT, text))
    assert plain.shape == z.shape


def test_maps_are_probabilities_of_the_right_shape(net, inputs) -> None:
    z, text = inputs
    probe = Probe(TAPS)
    with torch.no_grad():
        net.x0(z, AT, text, probe)
    for tap in TAPS:
        maps = probe.seen[tap]
        assert maps.shape == (2, 16, 2, 4, 4)  # b, h*w of the lower level, heads, f, f
        assert torch.allclose(maps.sum(-1), torch.ones(maps.shape[:-1]), atol=1e-5)


def test_maps_belong_to_their_sample(net, inputs) -> None:
    z, text = inputs
    both, second = Probe(TAPS), Probe(TAPS)
    with torch.no_grad():
        net.x0(z, AT, text, both)
        net.x0(z[1:], AT, text[1:], second)
    for tap in TAPS:
        assert torch.allclose(both.seen[tap][1], second.seen[tap][0], atol=1e-5)


def test_observing_sees_the_same_and_stops_early(net, inputs) -> None:
    z, text = inputs
    whole, ran = Probe(TAPS), []
    handle = net.network.conv_out.register_forward_hook(lambda *_: ran.append("conv_out"))
    try:
        early = observe(net, z, AT, text, TAPS)
        assert ran == []
        with torch.no_grad():
            net.x0(z, AT, text, whole)
        assert ran == ["conv_out"]
    finally:
        handle.remove()
    for tap in TAPS:
        assert torch.equal(whole.seen[tap], early.seen[tap])


def test_graph_ends_behind_the_last_probed_layer(net, inputs) -> None:
    z, text = inputs
    z.requires_grad_(True)
    probe, built = Probe(TAPS), []
    handle = net.network.conv_out.register_forward_hook(lambda _m, _i, out: built.append(out.requires_grad))
    try:
        x0 = net.x0(z, AT, text, probe)
    finally:
        handle.remove()
    assert built == [False]
    assert not x0.requires_grad
    assert torch.is_grad_enabled()  # restored for the caller
    (gradient,) = torch.autograd.grad(probe.seen[TAPS[-1]].square().sum(), z)
    assert gradient.abs().max() > 0


def test_a_pass_leaves_no_probe_behind(net, inputs) -> None:
    z, text = inputs
    observe(net, z, AT, text, TAPS)
    assert net.probe is None
    assert torch.is_grad_enabled()


def test_unknown_layer_is_named(net, inputs) -> None:
    z, text = inputs
    unknown = Tap("up_blocks.0.motion_modules.9.transformer_blocks.0.attn1")
    with pytest.raises(UserError, match=r"up_blocks\.0\.motion_modules\.9.*did you mean"):
        net.x0(z, AT, text, Probe((unknown,)))


def test_what_a_network_answers_is_turned_into_a_clean_video(net, inputs) -> None:
    """Of one network's output, under each of its meanings; v also as the noise that it implies."""
    z, text = inputs
    at = tiny.SCHEDULE.at(300)
    with torch.no_grad():
        out = net.network(z, 300, text.repeat_interleave(4, 0)).sample
        seen = {answer: tiny.denoiser(answer=answer).x0(z, at, text) for answer in ("x0", "eps", "v", "flow")}
        bounded = tiny.denoiser(answer="x0", bounded=True).x0(z, at, text)
    assert torch.allclose(eps_of(z, seen["v"], at), at.alpha * out + at.sigma * z, atol=1e-5)
    assert torch.allclose(eps_of(z, seen["eps"], at), out, atol=1e-5)
    assert torch.equal(seen["x0"], out)
    assert torch.allclose(seen["flow"], z - at.sigma * out, atol=1e-5)
    assert torch.allclose(bounded, boundary(z, out, at), atol=1e-5)
