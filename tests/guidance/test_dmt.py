"""DMT's loss and start: numbers frozen when they were those of the public code, and what has to hold."""

import pytest
import torch

from motionecho.denoiser import Probe
from motionecho.guidance import dmt
from motionecho.guidance.dmt import SpatialMeans
from motionecho.guidance.steering import stack
from tests.guidance import small

GUIDE = SpatialMeans(small.LAYERS["dmt"], 400.0)
FRAMES = 5


def features(seed: int, batch: int = 2) -> torch.Tensor:
    return small.drawn(seed, batch, FRAMES, 6, 4, 4)


def means(videos: torch.Tensor) -> torch.Tensor:
    return torch.stack([dmt.target(video) for video in videos])


def probe_of(seed: int, batch: int = 2) -> Probe:
    seen = {tap: features(seed + k, batch) for k, tap in enumerate(GUIDE.taps)}
    return Probe(GUIDE.taps, seen=seen)


def test_numbers_are_the_public_ones() -> None:
    expected = torch.tensor([0.9181109666824341, 1.3131756782531738])
    torch.testing.assert_close(dmt.loss(features(2), means(features(3))), expected, rtol=2e-5, atol=0)
    mean = torch.tensor([0.1094214469, 0.4826231599, 0.0017092526, 0.0495972187, -0.3588160574, 0.0036189333])
    torch.testing.assert_close(dmt.target(features(3)[0])[0], mean, rtol=2e-5, atol=1e-7)


def test_loss_of_a_video_with_itself_is_the_anchors_own_share() -> None:
    video = features(0)
    torch.testing.assert_close(dmt.loss(video, means(video)), torch.full((2,), 1 / FRAMES))
    probe = probe_of(0, batch=1)
    energy = GUIDE.loss(probe, stack([GUIDE.target(probe)]))
    assert energy.abs().item() < 1e-6


def test_opposite_motion_is_as_far_as_can_be() -> None:
    video = features(0)
    torch.testing.assert_close(dmt.loss(-video, means(video)), torch.full((2,), 2 - 1 / FRAMES))


def test_what_all_frames_share_is_not_compared() -> None:
    video, reference, shared = features(0), means(features(1)), 3 * small.drawn(2, 2, 1, 6, 1, 1)
    torch.testing.assert_close(
        dmt.loss(video + shared, reference), dmt.loss(video, reference), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(dmt.loss(4 * video, reference), dmt.loss(video, reference), rtol=1e-5, atol=0)


def test_where_things_are_is_not_compared() -> None:
    video, reference = features(0), means(features(1))
    moved = video.flatten(-2)[..., torch.randperm(16, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(dmt.loss(moved.view_as(video), reference), dmt.loss(video, reference))


def test_energy_is_the_sum_over_layers() -> None:
    probe, reference = probe_of(0), probe_of(10)
    target = {tap.layer: means(reference.seen[tap]) for tap in GUIDE.taps}
    each = [dmt.loss(probe.seen[tap], target[tap.layer]) - 1 / FRAMES for tap in GUIDE.taps]
    torch.testing.assert_close(GUIDE.loss(probe, target), each[0] + each[1] + each[2])
    alone = Probe(GUIDE.taps, seen={tap: seen[:1] for tap, seen in reference.seen.items()})
    assert torch.equal(GUIDE.target(alone)[GUIDE.layers[0]], target[GUIDE.layers[0]][0])


def test_a_network_descends_each_sample_by_its_own_reference() -> None:
    net, at = small.animatediff(), small.SCHEDULE.at(519)
    z, text = small.latents(0), small.texts(1)
    target = small.targets(net, small.latents(2), text, GUIDE)
    look = net.look(z, at, text, GUIDE, target)
    slope = look.gradient(torch.ones(2))
    alone = [
        net.look(z[k : k + 1], at, text[k : k + 1], GUIDE, {name: t[k : k + 1] for name, t in target.items()})
        for k in (0, 1)
    ]
    torch.testing.assert_close(look.loss, torch.cat([each.loss for each in alone]), rtol=1e-4, atol=1e-6)
    slopes = torch.cat([each.gradient(torch.ones(1)) for each in alone])
    assert small.gap(slope, slopes) < 1e-3
    unit = slope / slope.square().mean((1, 2, 3, 4), keepdim=True).sqrt()
    after = net.look(z - 0.01 * unit, at, text, GUIDE, target, gradient=False).loss
    assert (after < look.loss).all()
    assert (look.loss > 0).all()


def test_start_has_the_public_numbers() -> None:
    start = dmt.initial(small.drawn(4, 2, 3, 8, 8), small.drawn(5, 2, 3, 8, 8))
    row = [1.0956654549, 0.1323859394, 0.5024425983, 1.4691829681, 0.0170380455, 0.6314619780, 2.2929491997,
           -0.7288420200]  # fmt: skip
    torch.testing.assert_close(start[1, 2, 0], torch.tensor(row), rtol=2e-5, atol=1e-6)


def test_start_of_a_batch_is_that_of_each_video_and_frame() -> None:
    inverted, fresh = small.drawn(0, 2, 4, 3, 8, 12), small.drawn(1, 2, 4, 3, 8, 12)
    whole = dmt.initial(inverted, fresh)
    assert whole.shape == fresh.shape
    for k in (0, 1):
        assert torch.equal(dmt.initial(inverted[k], fresh[k]), whole[k])
    frame = dmt.initial(inverted[:, :, 1:2], fresh[:, :, 1:2])
    assert torch.equal(frame, whole[:, :, 1:2])


def test_start_takes_nothing_but_layout_from_the_reference() -> None:
    noise, flat = small.drawn(0, 1, 4, 3, 16, 16), torch.full((1, 4, 3, 16, 16), 2.0)
    torch.testing.assert_close(dmt.initial(noise, noise), noise)
    torch.testing.assert_close(dmt.initial(noise + flat, noise), noise + flat, rtol=1e-4, atol=1e-5)
    checks = (-1.0) ** (torch.arange(16)[:, None] + torch.arange(16))  # the finest there is
    assert small.gap(dmt.initial(noise + checks, noise), noise) < 0.15


@pytest.mark.parametrize("factor", [2, 4])
def test_start_keeps_less_of_fresh_noise_where_more_is_low(factor: int) -> None:
    inverted, fresh = small.drawn(0, 1, 4, 8, 32, 32), small.drawn(1, 1, 4, 8, 32, 32)
    start = dmt.initial(inverted, fresh, factor)
    kept = torch.corrcoef(torch.stack([start.flatten(), fresh.flatten()]))[0, 1]
    assert {2: 0.85, 4: 0.965}[factor] < kept < {2: 0.96, 4: 0.995}[factor]
