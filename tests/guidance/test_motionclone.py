"""MotionClone's loss, and the rule that its guidance must descend."""

import pytest
import tiny
import torch

from motionecho.denoiser import Probe
from motionecho.guidance.motionclone import MotionClone
from motionecho.guidance.steering import LOSS_UNIT, predict, rows, scaled, stack, steer

GUIDE = MotionClone(tiny.LAYERS)


def probe_of(seed: int, batch: int = 1) -> Probe:
    generator = torch.Generator().manual_seed(seed)
    maps = {layer: torch.randn(batch, 6, 2, 4, 4, generator=generator).softmax(-1) for layer in tiny.LAYERS}
    return Probe(tiny.LAYERS, maps)


def test_a_reference_is_at_no_distance_from_itself() -> None:
    probe = probe_of(0)
    assert GUIDE.loss(probe, stack([GUIDE.target(probe)])).item() == 0


def test_loss_is_the_masked_squared_difference_summed_over_layers() -> None:
    reference, other = probe_of(0), probe_of(1)
    expected = 0.0
    for layer in tiny.LAYERS:
        ref, gen = reference.maps[layer][0], other.maps[layer][0]
        mask = ref == ref.amax(-1, keepdim=True)
        expected += (((ref - gen) * mask) ** 2).sum().item() / mask.sum().item()
    assert GUIDE.loss(other, stack([GUIDE.target(reference)])).item() == pytest.approx(expected, rel=1e-5)


def test_losses_of_a_batch_do_not_mix() -> None:
    target = stack([GUIDE.target(probe_of(0)), GUIDE.target(probe_of(1))])
    batch = probe_of(2, batch=2)
    both = GUIDE.loss(batch, target)
    for k in (0, 1):
        alone = Probe(tiny.LAYERS, {layer: maps[k : k + 1] for layer, maps in batch.maps.items()})
        assert torch.allclose(GUIDE.loss(alone, rows(target, torch.tensor([k]))), both[k : k + 1])


@pytest.fixture(scope="module")
def scene():
    net = tiny.backbone()
    generator = torch.Generator().manual_seed(5)
    z, ref = torch.randn(2, 2, 4, 4, 8, 8, generator=generator)
    text = torch.randn(2, 5, tiny.WIDTH, generator=generator)
    targets = []
    for k in (0, 1):
        probe = Probe(tiny.LAYERS)
        with torch.no_grad():
            net.observe(ref[k : k + 1], 400, text[k : k + 1], probe)
        targets.append(GUIDE.target(probe))
    return net, z, text, stack(targets)


@pytest.mark.parametrize("update", ["x0", "direction"])
@pytest.mark.parametrize("t", [879, 519])
def test_one_small_step_lowers_the_loss(scene, update: str, t: int) -> None:
    """The sign rule for a DDIM step: both ways of steering descend G at the next latent."""
    net, z, text, target = scene
    seen = predict(net, z, t, text, GUIDE, target, above=0.0)
    t_next = t - 40
    after = {}
    for strength in (0.0, 1e-2):
        shift = scaled(seen.gradient, strength, "unit_rms") if strength else None
        eps_x0, eps_next = steer(seen.eps, shift, net.schedule.sigma(t), update)
        moved = net.schedule.add_noise(net.schedule.x0(z, eps_x0, t), eps_next, t_next)
        after[strength] = predict(net, moved, t_next, text, GUIDE, target).loss
    assert (after[1e-2] < after[0.0]).all()


def test_gradient_is_of_the_loss_itself(scene) -> None:
    """Directional derivative against a finite difference, in float64 through a float32 net."""
    net, z, text, target = scene
    seen = predict(net, z, 519, text, GUIDE, target, above=0.0)
    direction = seen.gradient / seen.gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1, 1)
    h = 2e-2
    up, down = (predict(net, z + s * h * direction, 519, text, GUIDE, target).loss for s in (1, -1))
    slope = (up - down) / (2 * h) / LOSS_UNIT
    assert torch.allclose(slope, seen.gradient.flatten(1).norm(dim=1), rtol=2e-2)


def test_gradient_only_for_samples_above_the_bar(scene) -> None:
    net, z, text, target = scene
    loss = predict(net, z, 519, text, GUIDE, target).loss
    bar = loss.mean().item()
    seen = predict(net, z, 519, text, GUIDE, target, above=bar)
    norms = seen.gradient.flatten(1).norm(dim=1)
    assert torch.equal(norms > 0, loss >= bar)
    assert predict(net, z, 519, text, GUIDE, target, above=loss.max().item() * 2).gradient is None


def test_unit_rms_is_per_sample() -> None:
    gradient = torch.randn(2, 4, 3, 3, 3) * torch.tensor([1e-4, 10.0]).view(2, 1, 1, 1, 1)
    rms = scaled(gradient, 0.5, "unit_rms").square().mean(dim=(1, 2, 3, 4)).sqrt()
    assert torch.allclose(rms, torch.tensor([0.5, 0.5]))
    assert torch.equal(scaled(gradient, 3.0, "raw"), 3 * gradient)
