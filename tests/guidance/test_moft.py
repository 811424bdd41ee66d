"""MOFT's channels and loss: numbers frozen when they were DiTFlow's of it, and what has to hold."""

import pytest
import torch

from motionecho.denoiser import Probe, Tap
from motionecho.guidance import moft
from motionecho.guidance.moft import MotionChannels
from motionecho.guidance.steering import stack
from tests.guidance import small

GUIDE = MotionChannels(small.LAYERS["moft"], 400.0, share=0.25)
TAP = Tap(GUIDE.layers[0], "features")


def features(seed: int, batch: int = 2) -> torch.Tensor:
    return small.drawn(seed, batch, 5, 6, 4, 4)


def probe_of(videos: torch.Tensor) -> Probe:
    return Probe((TAP,), seen={TAP: videos})


def test_numbers_are_the_public_ones() -> None:
    motion = moft.motion_of(features(3))
    assert [moft.channels(each, 0.5).tolist() for each in motion] == [[1, 3, 4], [1, 2, 3]]
    found = moft.loss(moft.motion_of(features(2))[:, :, [1, 3, 4]], motion[:, :, [1, 3, 4]])
    expected = torch.tensor([0.9930152893066406, 0.9902392625808716])
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=0)


def test_motion_has_no_mean_over_time() -> None:
    still = small.drawn(1, 2, 1, 6, 4, 4)
    torch.testing.assert_close(
        moft.motion_of(features(0) + still), moft.motion_of(features(0)), rtol=0, atol=2e-6
    )
    assert moft.motion_of(features(0)).mean(1).abs().max() < 1e-6


def test_channels_are_those_that_move_most() -> None:
    motion = moft.motion_of(0.1 * features(0)[0])
    ramp = torch.linspace(-1, 1, 5).view(5, 1, 1)
    motion[:, 4] += 2 * ramp
    motion[:, 1] -= ramp
    assert moft.channels(motion, 2 / 6).tolist() == [1, 4]
    assert {1, 4} < {*moft.channels(motion, 0.5).tolist()}


@pytest.mark.parametrize(("share", "count"), [(0.0, 2), (0.04, 2), (0.5, 3), (0.99, 5), (1.0, 6)])
def test_never_fewer_than_two_channels(share: float, count: int) -> None:
    assert len(moft.channels(moft.motion_of(features(0)[0]), share)) == count


def test_a_reference_is_at_no_distance_from_itself_and_far_from_its_opposite() -> None:
    video = features(0, batch=1)
    target = stack([GUIDE.target(probe_of(video))])
    assert GUIDE.loss(probe_of(video), target).abs().item() < 1e-5  # what is kept is float16
    assert GUIDE.loss(probe_of(-video), target).item() == pytest.approx(2, abs=1e-5)
    assert GUIDE.loss(probe_of(features(1, batch=1)), target).item() > 0.3


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e5])
def test_what_is_kept_survives_float16_at_any_size(size: float) -> None:
    videos = size * features(0, batch=1)
    target = stack([GUIDE.target(probe_of(videos))])
    motion = target[f"{GUIDE.layers[0]}:motion"]
    assert (motion.dtype, bool(motion.isfinite().all())) == (torch.float16, True)
    assert GUIDE.loss(probe_of(videos), target).abs().item() < 1e-5


def test_losses_of_a_batch_use_each_its_own_channels() -> None:
    references, videos = features(0), features(1)
    targets = [GUIDE.target(probe_of(references[k : k + 1])) for k in (0, 1)]
    chosen = [target[f"{GUIDE.layers[0]}:channels"].tolist() for target in targets]
    assert chosen[0] != chosen[1]
    both = GUIDE.loss(probe_of(videos), stack(targets))
    alone = [GUIDE.loss(probe_of(videos[k : k + 1]), stack(targets[k : k + 1])) for k in (0, 1)]
    torch.testing.assert_close(both, torch.cat(alone))


def test_a_network_descends_each_sample_by_its_own_reference() -> None:
    net, at = small.animatediff(), small.SCHEDULE.at(519)
    z, text = small.latents(0), small.texts(1)
    target = small.targets(net, small.latents(2), text, GUIDE)
    look = net.look(z, at, text, GUIDE, target)
    slope = look.gradient(torch.ones(2))
    unit = slope / slope.square().mean((1, 2, 3, 4), keepdim=True).sqrt()
    assert (net.look(z - 0.01 * unit, at, text, GUIDE, target, gradient=False).loss < look.loss).all()
    first = net.look(z[:1], at, text[:1], GUIDE, {name: tensor[:1] for name, tensor in target.items()})
    torch.testing.assert_close(first.loss, look.loss[:1], rtol=1e-4, atol=1e-6)
    assert small.gap(first.gradient(torch.ones(1)), slope[:1]) < 1e-3
