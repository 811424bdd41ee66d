"""MotionClone's loss, and the rule that its guidance must descend."""

import pytest
import tiny
import torch

from motionecho.denoiser import Ask, Denoiser, Probe, Tap, observe
from motionecho.errors import UserError
from motionecho.guidance.motionclone import LOSS_UNIT, Top1Attention
from motionecho.guidance.steering import Prediction, Shift, Update, rows, scaled, stack
from motionecho.schedules import Answer, Discrete, Flow, Schedule, eps_of, renoise

GUIDE = Top1Attention(tiny.LAYERS, 400.0)
TAPS = GUIDE.taps


def probe_of(seed: int, batch: int = 1) -> Probe:
    generator = torch.Generator().manual_seed(seed)
    maps = {tap: torch.randn(batch, 6, 2, 4, 4, generator=generator).softmax(-1) for tap in TAPS}
    return Probe(TAPS, seen=maps)


def test_a_reference_is_at_no_distance_from_itself() -> None:
    probe = probe_of(0)
    assert GUIDE.loss(probe, stack([GUIDE.target(probe)])).item() == 0


def test_loss_is_the_masked_squared_difference_summed_over_layers() -> None:
    reference, other = probe_of(0), probe_of(1)
    expected = 0.0
    for tap in TAPS:
        ref, gen = reference.seen[tap][0], other.seen[tap][0]
        mask = ref == ref.amax(-1, keepdim=True)
        expected += (((ref - gen) * mask) ** 2).sum().item() / mask.sum().item()
    assert GUIDE.loss(other, stack([GUIDE.target(reference)])).item() == pytest.approx(expected, rel=1e-5)


def test_losses_of_a_batch_do_not_mix() -> None:
    target = stack([GUIDE.target(probe_of(0)), GUIDE.target(probe_of(1))])
    batch = probe_of(2, batch=2)
    both = GUIDE.loss(batch, target)
    for k in (0, 1):
        alone = Probe(TAPS, seen={tap: maps[k : k + 1] for tap, maps in batch.seen.items()})
        assert torch.allclose(GUIDE.loss(alone, rows(target, torch.tensor([k]))), both[k : k + 1])


class Scene:
    """A network, two latents and the targets of two references."""

    def __init__(self, answer: Answer = "v", schedule: Schedule = tiny.SCHEDULE) -> None:
        self.net: Denoiser = tiny.denoiser(answer=answer)
        self.schedule = schedule
        generator = torch.Generator().manual_seed(5)
        self.z, references = torch.randn(2, 2, 4, 4, 8, 8, generator=generator)
        self.text = torch.randn(2, 5, tiny.WIDTH, generator=generator)
        probes = (
            observe(self.net, references[k : k + 1], schedule.at(400), self.text[k : k + 1], TAPS)
            for k in (0, 1)
        )
        self.target = stack([GUIDE.target(probe) for probe in probes])

    def seen(self, t: float, ask: Ask, update: Update = "x0", z: torch.Tensor | None = None) -> Prediction:
        steer, z = Shift(update, "unit_rms"), self.z if z is None else z
        return steer(self.net, z, self.schedule.at(t), self.text, GUIDE, self.target, ask)

    def loss(self, t: float, z: torch.Tensor | None = None) -> torch.Tensor:
        loss = self.seen(t, Ask(watch=True), z=z).loss
        assert loss is not None
        return loss

    def gradient(self, t: float) -> torch.Tensor:
        look = self.net.look(self.z, self.schedule.at(t), self.text, GUIDE, self.target)
        return look.gradient(torch.ones(2))

    def onward(self, seen: Prediction, t_next: float) -> torch.Tensor:
        """The next latent, renoised with the noise that was predicted."""
        return renoise(seen.x0, seen.noise(), self.schedule.at(t_next))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("update", ["x0", "direction", "velocity"])
@pytest.mark.parametrize("t", [879.0, 519.0, 437.5])
@pytest.mark.parametrize(
    ("answer", "schedule"),
    [("eps", tiny.SCHEDULE), ("v", tiny.SCHEDULE), ("v", tiny.zero_snr()), ("flow", Flow())],
    ids=["eps", "v", "v-zero-snr", "flow"],
)
def test_one_small_step_lowers_the_loss(answer: Answer, schedule: Schedule, update: Update, t: float) -> None:
    """The sign rule for a step of the student or the teacher: all ways of steering descend G."""
    scene, t_next = Scene(answer, schedule), t - 40
    after = {
        strength: scene.loss(t_next, scene.onward(scene.seen(t, Ask(strength=strength), update), t_next))
        for strength in (0.0, 1e-2)
    }
    assert (after[1e-2] < after[0.0]).all()


@pytest.mark.parametrize(
    ("answer", "schedule"),
    [("eps", tiny.SCHEDULE), ("v", tiny.SCHEDULE), ("flow", Flow())],
    ids=["eps", "v", "flow"],
)
@pytest.mark.parametrize("update", ["x0", "velocity"])
def test_a_guided_endpoint_lowers_the_loss(answer: Answer, schedule: Schedule, update: Update) -> None:
    """The sign rule for the endpoint, a clean video: noised as it was predicted from, its loss is lower."""
    scene, at = Scene(answer, schedule), schedule.at(519)
    after = []
    for strength in (0.0, 1e-2):
        seen = scene.seen(519, Ask(strength=strength), update)
        after.append(scene.loss(519, renoise(seen.x0, eps_of(scene.z, seen.plain, at), at)))
    assert (after[1] < after[0]).all()


@pytest.mark.parametrize("schedule", [tiny.zero_snr(), Flow()], ids=["zero-snr", "flow"])
@pytest.mark.parametrize("update", ["x0", "direction", "velocity"])
def test_steering_is_finite_where_there_is_no_signal(schedule: Schedule, update: Update) -> None:
    scene = Scene("v" if isinstance(schedule, Discrete) else "flow", schedule)
    seen = scene.seen(schedule.top, Ask(strength=1e-3), update)
    assert schedule.at(schedule.top).alpha == 0
    assert torch.isfinite(scene.onward(seen, schedule.top - 100)).all()


def test_gradient_is_of_the_loss_itself(scene: Scene) -> None:
    """Directional derivative against a finite difference, in float64 through a float32 net."""
    gradient = scene.gradient(519)
    norm = gradient.flatten(1).norm(dim=1)
    direction, h = gradient / norm.view(-1, 1, 1, 1, 1), 2e-2
    up, down = (scene.loss(519, scene.z + s * h * direction) for s in (1, -1))
    assert torch.allclose((up - down) / (2 * h) / LOSS_UNIT, norm, rtol=2e-2)


def test_guidance_only_for_samples_above_the_bar(scene: Scene) -> None:
    loss = scene.loss(519)
    seen = scene.seen(519, Ask(strength=0.1, above=loss.mean().expand(2)))
    moved = (seen.x0 - seen.plain).flatten(1).norm(dim=1) > 0
    assert torch.equal(moved, loss >= loss.mean())
    assert torch.equal(seen.backwards, moved.long())
    nobody = scene.seen(519, Ask(strength=0.1, above=loss * 2))
    assert torch.equal(nobody.x0, nobody.plain)
    assert nobody.backwards.tolist() == [0, 0]


def test_a_sample_that_is_only_watched_is_left_alone(scene: Scene) -> None:
    watched, plain = scene.seen(519, Ask(watch=True)), scene.seen(519, Ask())
    assert torch.allclose(watched.x0, plain.x0, atol=1e-5)
    assert (plain.loss, watched.nudge) == (None, None)
    assert watched.backwards.tolist() == [0, 0]
    assert watched.forwards.tolist() == [1, 1]


def test_an_unknown_layer_is_named(scene: Scene) -> None:
    with pytest.raises(UserError, match=r"attn1x.*did you mean"):
        observe(scene.net, scene.z, scene.schedule.at(400), scene.text, [Tap(tiny.LAYERS[0] + "x")])


def test_unit_rms_is_per_sample() -> None:
    gradient = torch.randn(2, 4, 3, 3, 3) * torch.tensor([1e-4, 10.0]).view(2, 1, 1, 1, 1)
    rms = scaled(gradient, 0.5, "unit_rms").square().mean(dim=(1, 2, 3, 4)).sqrt()
    assert torch.allclose(rms, torch.tensor([0.5, 0.5]))
    assert torch.equal(scaled(gradient, 3.0, "raw"), 3 * gradient)
