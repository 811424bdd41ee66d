"""DiTFlow's attention motion flow: numbers frozen when they were the public code's, and what has to hold."""

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import Ask, Probe, Tap
from motionecho.guidance import ditflow
from motionecho.guidance.ditflow import AttentionFlow
from motionecho.guidance.steering import Descend, stack
from tests.guidance import small

LAYER = "blocks.1.attn1"
GUIDE = AttentionFlow((LAYER,), 400.0, 2.0)
# of place 5 of frame 0 to frame 1; losses, and of gradients to queries and keys the norm and one entry
FLOW, LOSS = [-0.984449, 0.998570], [1.433827, 1.508592]
NORMS, ONES = [0.341520, 0.353880], [0.00302250, 0.0263863]


def pictures(seed: int, frames: int = 3, size: tuple[int, int] = (3, 4)) -> Tensor:
    return small.drawn(seed, 2, frames, 6, *size)


def probe_of(queries: Tensor, keys: Tensor) -> Probe:
    return Probe(GUIDE.taps, seen={Tap(LAYER, "queries"): queries, Tap(LAYER, "keys"): keys})


def kept(queries: Tensor, keys: Tensor) -> dict[str, Tensor]:
    each = zip(queries.split(1), keys.split(1), strict=True)
    return stack([GUIDE.target(probe_of(*one)) for one in each])


def test_numbers_are_the_public_ones() -> None:
    queries, keys = pictures(0).requires_grad_(), pictures(1).requires_grad_()
    flow = ditflow.flow(queries, keys, 2.0)
    assert flow.shape == (2, 3, 12, 3, 2)
    torch.testing.assert_close(flow[0, 0, 5, 1], torch.tensor(FLOW), rtol=1e-4, atol=1e-5)
    loss = GUIDE.loss(probe_of(queries, keys), kept(pictures(2), pictures(3)))
    torch.testing.assert_close(loss, torch.tensor(LOSS), rtol=1e-4, atol=0)
    slopes = torch.autograd.grad(loss.sum(), (queries, keys))
    for slope, norm, one in zip(slopes, NORMS, ONES, strict=True):
        assert slope.norm().item() == pytest.approx(norm, rel=1e-4)
        assert slope[1, 2, 3, 1, 2].item() == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -1), (-2, 1)])
def test_a_flow_is_in_patches_to_the_right_and_down(dx: int, dy: int) -> None:
    """Every place of a frame is like one place of the next: the one that lies (dx, dy) further."""
    first = torch.nn.functional.one_hot(torch.arange(30), 30).float().T.unflatten(1, (5, 6))
    video = torch.stack([first, first.roll((dy, dx), (1, 2))])[None]
    for found in (ditflow.flow(200 * video, video, 2.0), ditflow.strongest(200 * video, video, 2.0).float()):
        moved = found[0, 0, :, 1].unflatten(0, (5, 6))
        inside = moved[2:4, 2:5]  # what is carried over the edge comes back on the other side
        expected = torch.tensor([float(dx), float(dy)]).expand_as(inside)
        torch.testing.assert_close(inside, expected)
        assert not found[0, [0, 1], :, [0, 1]].any(), "a frame stays where it is in itself"


def test_a_reference_is_kept_in_whole_patches() -> None:
    queries, keys = pictures(0), pictures(1)
    target = kept(queries, keys)[LAYER]
    assert (target.dtype, target.shape) == (torch.int8, (2, 3, 12, 3, 2))
    sharp = ditflow.flow(1000 * queries, keys, 2.0)
    assert torch.equal(sharp.round().to(torch.int8), target)
    wide = small.drawn(0, 1, 1, 2, 1, 140)
    found = ditflow.strongest(wide, wide, 1.0)
    assert found.abs().max() > 127, "which int8 does not hold"
    assert found.dtype == torch.int16


def test_the_loss_is_a_mean_over_what_moves() -> None:
    moved = small.drawn(0, 2, 3, 12, 3, 2)
    target = torch.zeros(2, 3, 12, 3, 2)
    target[0, 1, 4, 2], target[0, 0, 7, 1] = torch.tensor([[2.0, 0.0], [-1.0, 1.0]])
    errors = (moved[0] - target[0]).square().mean(-1)
    torch.testing.assert_close(ditflow.loss(moved, target)[0], (errors[1, 4, 2] + errors[0, 7, 1]) / 2)
    assert ditflow.loss(moved, target)[1] == 0, "where nothing moves there is nothing to compare"
    moved.requires_grad_()
    slope = torch.autograd.grad(ditflow.loss(moved, target).sum(), moved)[0]
    assert torch.isfinite(slope).all()
    assert not slope[1].any()


def test_layers_are_averaged() -> None:
    layers = (LAYER, "blocks.0.attn1")
    both, each = AttentionFlow(layers, 400.0, 2.0), [AttentionFlow((layer,), 400.0, 2.0) for layer in layers]
    probe = Probe(both.taps, seen={tap: pictures(k) for k, tap in enumerate(both.taps)})
    other = Probe(both.taps, seen={tap: pictures(9 + k)[:1] for k, tap in enumerate(both.taps)})
    target = {name: x[None].expand(2, *x.shape) for name, x in both.target(other).items()}
    expected = torch.stack([one.loss(probe, target) for one in each]).mean(0)
    torch.testing.assert_close(both.loss(probe, target), expected)


@pytest.mark.parametrize("t", [1000.0, 900.0, 400.0])
def test_a_transformer_descends_each_sample_by_its_own_reference(t: float) -> None:
    net, at = small.transformer(), small.FLOW.at(t)
    z, text = small.video(0), small.states(1)
    target = small.targets(net, small.video(2), text, GUIDE, small.FLOW)
    look = net.look(z, at, text, GUIDE, target)
    slope = look.gradient(torch.ones(2))
    unit = slope / slope.square().mean((1, 2, 3, 4), keepdim=True).sqrt()
    assert (net.look(z - 0.01 * unit, at, text, GUIDE, target, gradient=False).loss < look.loss).all()
    one = net.look(z[1:], at, text[1:], GUIDE, {name: x[1:] for name, x in target.items()})
    torch.testing.assert_close(one.loss, look.loss[1:], rtol=1e-4, atol=1e-6)
    assert small.gap(one.gradient(torch.ones(1)), slope[1:]) < 1e-3


def test_a_descent_lowers_the_loss_and_moves_by_no_more_than_its_rate_a_step() -> None:
    net, at, began = small.transformer(), small.FLOW.at(900), []
    z, text = small.video(0), small.states(1)
    target = small.targets(net, small.video(2), text, GUIDE, small.FLOW)
    plain = net.x0

    def spied(z: Tensor, *rest: object) -> Tensor:
        began.append(z.detach().clone())
        return plain(z, *rest)

    net.x0 = spied
    seen = Descend(5)(net, z, at, text, GUIDE, target, Ask(strength=0.01))
    moved = began[-1] - z
    assert 0 < moved.abs().max() <= 5 * 0.01 * 1.01
    assert (net.look(z + moved, at, text, GUIDE, target, gradient=False).loss < seen.loss).all()
    assert (seen.forwards.tolist(), seen.backwards.tolist()) == ([7, 7], [5, 5])
