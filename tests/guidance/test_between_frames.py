"""Attention between frames: maps a few frames at a time, and MotionClone's loss on them."""

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import Probe, Tap
from motionecho.guidance import between_frames
from motionecho.guidance.between_frames import attended
from motionecho.guidance.ditflow import AttentionFlow
from motionecho.guidance.motionclone import Top1Between
from motionecho.guidance.steering import stack
from tests.guidance import small

LAYERS = ("blocks.0.attn1", "blocks.1.attn1")
TOP1, FLOW = Top1Between(LAYERS, 400.0), AttentionFlow(LAYERS, 400.0, 2.0)


def probe_of(seed: int, batch: int = 2, frames: int = 5) -> Probe:
    """Queries and keys of frames of 3 x 4 places."""
    seen = {tap: small.drawn(seed + k, batch, frames, 6, 3, 4) for k, tap in enumerate(TOP1.taps)}
    return Probe(TOP1.taps, seen=seen)


def kept(energy: Top1Between | AttentionFlow, probe: Probe) -> dict[str, Tensor]:
    each = (Probe(probe.taps, seen={tap: x[k : k + 1] for tap, x in probe.seen.items()}) for k in (0, 1))
    return stack([energy.target(one) for one in each])


def test_rows_of_every_frame_sum_to_one_and_follow_the_mean_of_heads() -> None:
    queries, keys = small.drawn(0, 1, 2, 6, 2, 3), small.drawn(1, 1, 2, 6, 2, 3)
    maps = attended(queries, keys, 2.0, lambda maps: maps)
    assert maps.shape == (1, 2, 6, 2, 6)  # b, i, p, j, q
    torch.testing.assert_close(maps.sum(-1), torch.ones(1, 2, 6, 2))
    one = 2.0 * (queries[0, 1, :, 0, 2] @ keys[0, 0].flatten(1))  # place 2 of frame 1 to frame 0
    torch.testing.assert_close(maps[0, 1, 2, 0], one.softmax(-1))


@pytest.mark.parametrize("energy", [TOP1, FLOW], ids=["top-1", "flow"])
@pytest.mark.parametrize("at_once", [1, 2 * 5 * 12**2])
def test_a_few_frames_at_a_time_are_all_of_them(
    energy: Top1Between | AttentionFlow, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same targets, losses and gradients, whether maps are whole, or of one or two frames at once."""
    reference, found = probe_of(10), []
    for size in (2**25, at_once):
        monkeypatch.setattr(between_frames, "AT_ONCE", size)
        probe, target = probe_of(0), kept(energy, reference)
        for tensor in probe.seen.values():
            tensor.requires_grad_()
        loss = energy.loss(probe, target)
        slopes = torch.autograd.grad(loss.sum(), list(probe.seen.values()))
        found.append((target, loss.detach(), slopes))
    (target, loss, slopes), (target_2, loss_2, slopes_2) = found
    assert all(torch.equal(target[name], target_2[name]) for name in target if "value" not in name)
    torch.testing.assert_close(loss, loss_2, rtol=1e-5, atol=1e-8)
    for one, other in zip(slopes, slopes_2, strict=True):
        assert one.abs().max() > 0
        assert small.gap(other, one) < 1e-5


def test_maps_are_never_whole_where_they_would_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(between_frames, "AT_ONCE", 2 * 5 * 12**2)
    frames: list[int] = []

    def counted(maps: Tensor) -> Tensor:
        frames.append(maps.shape[1])
        return maps.amax(-1)

    attended(small.drawn(0, 1, 5, 6, 3, 4), small.drawn(1, 1, 5, 6, 3, 4), 1.0, counted)
    assert frames == [2, 2, 1]


def test_a_video_is_at_no_distance_from_itself() -> None:
    for batch in (probe_of(0), probe_of(5)):
        assert TOP1.loss(batch, kept(TOP1, batch)).tolist() == [0, 0]


def test_top_1_compares_the_strongest_place_of_each_other_frame() -> None:
    """Written out over couples of frames; what is kept are probabilities and places of int16."""
    reference, other = probe_of(10), probe_of(0)
    target = kept(TOP1, reference)
    assert target[f"{LAYERS[0]}:place"].dtype == torch.int16
    expected = torch.zeros(2)
    for layer in LAYERS:
        maps = [
            attended(its.seen[Tap(layer, "queries")], its.seen[Tap(layer, "keys")], 1.0, lambda maps: maps)
            for its in (reference, other)
        ]
        for i in range(5):
            for j in range(5):
                if i == j:
                    continue
                theirs, ours = (each[:, i, :, j] for each in maps)  # [b, p, q]
                top = theirs.max(-1, keepdim=True)
                off = top.values - ours.gather(-1, top.indices)
                expected += off.square().mean((1, 2)) / 20
    torch.testing.assert_close(TOP1.loss(other, target), expected)


def test_the_map_of_a_frame_to_itself_does_not_count() -> None:
    """What is kept of it may be anything."""
    reference, other = probe_of(10), probe_of(0)
    target = kept(TOP1, reference)
    before = TOP1.loss(other, target)
    own = torch.eye(5, dtype=torch.bool)[:, None].expand(5, 12, 5)
    for name, tensor in target.items():
        target[name] = torch.where(own, torch.zeros_like(tensor), tensor)
    assert torch.equal(TOP1.loss(other, target), before)
    assert torch.isfinite(TOP1.loss(probe_of(0, frames=1), kept(TOP1, probe_of(10, frames=1)))).all()


def test_losses_of_a_batch_do_not_mix() -> None:
    reference, other = probe_of(10), probe_of(0)
    for energy in (TOP1, FLOW):
        both = energy.loss(other, kept(energy, reference))
        for k in (0, 1):
            alone = Probe(other.taps, seen={tap: x[k : k + 1] for tap, x in other.seen.items()})
            target = {name: x[k : k + 1] for name, x in kept(energy, reference).items()}
            torch.testing.assert_close(energy.loss(alone, target), both[k : k + 1])
