"""FlowMotion's loss: numbers frozen when they were the public code's; no gradient goes through a network."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import CLEAN, Ask, Probe, observe
from motionecho.guidance import flowmotion
from motionecho.guidance.flowmotion import CleanPrediction
from motionecho.guidance.steering import Descend, Shift
from motionecho.teacher import ClassifierFree
from tests.guidance import small

GUIDE = CleanPrediction((), 400.0, 20.0)
AT = small.FLOW.at(700)
FROZEN = (  # weight of appearance, losses, norm of the gradient
    (20.0, [50.822971, 46.368206], 2.320845),
    (3.0, [13.976969, 13.396085], 0.811356),
)


def test_numbers_are_the_public_ones() -> None:
    x0, target = small.video(0).requires_grad_(), small.video(1)
    for appearance, losses, norm in FROZEN:
        loss = flowmotion.loss(x0, target, appearance)
        torch.testing.assert_close(loss, torch.tensor(losses), rtol=1e-5, atol=0)
        assert torch.autograd.grad(loss.sum(), x0)[0].norm().item() == pytest.approx(norm, rel=1e-5)


def test_frames_are_compared_with_the_next_and_with_all_others() -> None:
    x0, target = small.video(0), small.video(1)
    frames = range(x0.shape[2])
    couples = [(i, i + 1) for i in frames[:-1]] + [(i, j) for i in frames for j in frames if i != j]
    moved, wanted = (
        torch.stack([(x[:, :, i] - x[:, :, j]).abs() for i, j in couples], dim=1) for x in (x0, target)
    )
    expected = 5 * (moved - wanted).square().flatten(1).mean(1)
    torch.testing.assert_close(flowmotion.loss(x0, target, 0.0), expected)


def test_without_its_first_term_what_all_frames_share_does_not_count() -> None:
    x0, target, shared = small.video(0), small.video(1), small.drawn(5, 1, 16, 1, 4, 8)
    moved = [flowmotion.loss(each, target, 0.0) for each in (x0, x0 + shared)]
    torch.testing.assert_close(*moved, rtol=1e-4, atol=0)
    assert (flowmotion.loss(x0 + shared, target, 20.0) > flowmotion.loss(x0, target, 20.0)).all()
    torch.testing.assert_close(flowmotion.loss(target, target, 20.0), torch.zeros(2))


def test_a_reference_is_the_network_s_own_clean_video() -> None:
    net, z, text = small.transformer(), small.video(0)[:1], small.states(1)[:1]
    kept = GUIDE.target(observe(net, z, AT, text, GUIDE.taps))
    assert (kept["x0"].dtype, kept["x0"].shape) == (torch.float16, z.shape[1:])
    torch.testing.assert_close(kept["x0"].float(), net.x0(z, AT, text)[0], rtol=1e-3, atol=1e-3)


class Scene:
    """A transformer and its looks, under classifier-free guidance or not."""

    def __init__(self) -> None:
        self.net = small.transformer()
        self.guided = ClassifierFree(self.net, 3.0)
        self.z, self.text, self.null = small.video(0), small.states(1), small.states(2)
        self.both = torch.cat([self.text, self.null])
        self.target = {"x0": small.video(3)}

    def slope(self, x0: Tensor) -> Tensor:
        """The gradient that the loss has at a clean video."""
        x0 = x0.detach().requires_grad_()
        loss = GUIDE.loss(Probe(CLEAN, seen={CLEAN[0]: x0}), self.target)
        return torch.autograd.grad(loss.sum(), x0)[0]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def test_guidance_spends_no_backward_pass(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """None through the network, which is only ever asked without a gradient, and none in the count."""
    asked: list[bool] = []
    plain = scene.net.x0

    def spied(*words: object, **named: object) -> Tensor:
        asked.append(torch.is_grad_enabled())
        return plain(*words, **named)

    monkeypatch.setattr(scene.net, "x0", spied)
    for steer, forwards in ((Shift("velocity", "raw"), 1), (Descend(4), 6)):
        asked.clear()
        with torch.no_grad():  # as samplers are
            seen = steer(scene.net, scene.z, AT, scene.text, GUIDE, scene.target, Ask(strength=0.01))
        assert asked == [False] * forwards
        assert (seen.forwards.tolist(), seen.backwards.tolist()) == ([forwards] * 2, [0, 0])
        assert not torch.equal(seen.x0, seen.plain)
        assert scene.net.network.proj_out.weight.grad is None


def test_the_gradient_at_the_clean_video_stands_for_that_at_the_latent(scene: Scene) -> None:
    """So the velocity form moves the clean video by -strength sigma g."""
    x0 = scene.net.x0(scene.z, AT, scene.text)
    seen = Shift("velocity", "raw")(
        scene.net, scene.z, AT, scene.text, GUIDE, scene.target, Ask(strength=2.0)
    )
    torch.testing.assert_close(seen.plain, x0)
    torch.testing.assert_close(seen.x0 - x0, -2.0 * AT.sigma * scene.slope(x0), rtol=1e-3, atol=1e-5)
    after, before = (GUIDE.loss(Probe(CLEAN, seen={CLEAN[0]: each}), scene.target) for each in (seen.x0, x0))
    assert (after < before).all()


def test_under_classifier_free_guidance_the_guided_clean_video_is_compared(scene: Scene) -> None:
    x0 = scene.guided.x0(scene.z, AT, scene.both)
    look = scene.guided.look(scene.z, AT, scene.both, GUIDE, scene.target)
    torch.testing.assert_close(look.x0, x0)
    torch.testing.assert_close(look.loss, GUIDE.loss(Probe(CLEAN, seen={CLEAN[0]: x0}), scene.target))
    torch.testing.assert_close(look.gradient(torch.ones(2)), scene.slope(x0), rtol=1e-4, atol=1e-6)
    conditional = scene.net.look(scene.z, AT, scene.text, GUIDE, scene.target)
    assert (conditional.loss - look.loss).abs().min() > 1e-3


def test_a_descent_under_classifier_free_guidance_compares_the_guided_one_too(scene: Scene) -> None:
    """Adam on the latent, whose clean video is asked for anew with both branches at every step."""
    moved = scene.z.clone()
    adam = torch.optim.Adam([moved], lr=0.02)
    for _ in range(3):
        moved.grad = scene.slope(scene.guided.x0(moved.detach(), AT, scene.both))
        adam.step()
    expected = scene.guided.x0(moved.detach(), AT, scene.both)
    seen = Descend(3)(scene.guided, scene.z, AT, scene.both, GUIDE, scene.target, Ask(strength=0.02))
    torch.testing.assert_close(seen.x0, expected, rtol=1e-3, atol=1e-4)
    assert (seen.forwards.tolist(), seen.backwards.tolist()) == ([10, 10], [0, 0])


def test_losses_of_a_batch_do_not_mix(scene: Scene) -> None:
    both = flowmotion.loss(scene.z, scene.target["x0"], 20.0)
    for k in (0, 1):
        alone = flowmotion.loss(scene.z[k : k + 1], scene.target["x0"][k : k + 1], 20.0)
        torch.testing.assert_close(alone, both[k : k + 1])
    assert replace(GUIDE, appearance=3.0) != GUIDE, "energies are told apart by their weight"
