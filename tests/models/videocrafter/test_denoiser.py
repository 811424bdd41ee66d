"""Both denoisers: conditioning arrives, the probe reads what is computed, guidance descends."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import Probe, Tap, Target, observe
from motionecho.errors import UserError
from motionecho.guidance.motionclone import Top1Attention
from motionecho.guidance.steering import Update
from motionecho.models.videocrafter.denoiser import LAYERS, SCHEDULE, EmbeddedScales, VideoCrafter
from motionecho.models.videocrafter.loading import load_unet
from motionecho.schedules import eps_of
from tests.models.descent import loss_after, raw_gradient, target_of
from tests.models.videocrafter import public

MAPS = LAYERS["motionclone"]
LAST = MAPS[-1]
TAPS = tuple(Tap(layer) for layer in MAPS)
ENERGY = Top1Attention(MAPS, 400.0)


@pytest.fixture(params=["teacher", "student"])
def denoiser(request: pytest.FixtureRequest) -> VideoCrafter:
    return request.getfixturevalue(request.param)


def noise(denoiser: VideoCrafter, z: Tensor, t: float, text: Tensor, probe: Probe | None = None) -> Tensor:
    """Return what the network predicts, for a clean prediction depends on the time by itself."""
    at = SCHEDULE.at(t)
    return eps_of(z, denoiser.x0(z, at, text, probe), at)


def inputs_of(module: torch.nn.Module, seen: list[Tensor]):
    return module.register_forward_hook(lambda _module, args, _out: seen.append(args[0]))


def outputs_of(module: torch.nn.Module, seen: list[Tensor]):
    return module.register_forward_hook(lambda _module, _args, out: seen.append(out))


def test_everything_that_conditions_changes_the_prediction(student: VideoCrafter, z, text) -> None:
    with torch.no_grad():
        plain = noise(student, z, 600, text)
        assert plain.shape == z.shape
        others = {
            "time": noise(student, z, 599, text),
            "text": noise(student, z, 600, text.flip(0)),
            "frame rate": noise(replace(student, fps=24), z, 600, text),
            "text scale": noise(replace(student, scales=EmbeddedScales(text=5.0)), z, 600, text),
            "motion scale": noise(replace(student, scales=EmbeddedScales(motion=0.1)), z, 600, text),
            "no motion scale": noise(replace(student, scales=EmbeddedScales(motion=None)), z, 600, text),
        }
    for what, other in others.items():
        assert not torch.allclose(plain, other, atol=1e-4), what


def test_motion_scale_counts_early_only(student: VideoCrafter, z, text) -> None:
    still = replace(student, scales=EmbeddedScales(motion=0.0))
    late, early = SCHEDULE.at(499), SCHEDULE.at(500)
    with torch.no_grad():
        assert torch.equal(student.x0(z, late, text), still.x0(z, late, text))
        assert not torch.equal(student.x0(z, early, text), still.x0(z, early, text))


def test_the_clean_prediction_is_of_the_network_s_noise(denoiser: VideoCrafter, z, text) -> None:
    times, told = torch.full((2,), 600.0), {}
    if denoiser.scales is not None:
        told = dict(zip(("w_embedding", "motion_embedding"), denoiser.scales.embeddings(times), strict=True))
    with torch.no_grad():
        eps = denoiser.network(z, times, text, denoiser.fps, **told)
        assert torch.allclose(noise(denoiser, z, 600, text), eps, atol=1e-5)


def test_a_student_s_clean_prediction_is_its_input_in_the_end(student, teacher, z, text) -> None:
    end = SCHEDULE.at(0)
    with torch.no_grad():
        assert torch.equal(student.x0(z, end, text), z)
        assert not torch.allclose(teacher.x0(z, end, text), z, atol=1e-4)


def test_videos_of_a_batch_do_not_mix(denoiser: VideoCrafter, z, text) -> None:
    whole, alone = Probe(TAPS), Probe(TAPS)
    with torch.no_grad():
        together = noise(denoiser, z, 600, text, whole)
        assert torch.allclose(together[1:], noise(denoiser, z[1:], 600, text[1:], alone), atol=1e-5)
    for tap in TAPS:
        assert torch.allclose(whole.seen[tap][1], alone.seen[tap][0], atol=1e-5)


def test_text_is_projected_once_a_video(teacher: VideoCrafter, z, text) -> None:
    seen: list[Tensor] = []
    layer = "input_blocks.1.1.transformer_blocks.0.attn2.to_k"
    handle = inputs_of(teacher.network.get_submodule(layer), seen)
    with torch.no_grad():
        teacher.x0(z, SCHEDULE.at(600), text)
    handle.remove()
    assert [tuple(x.shape) for x in seen] == [(2, 77, public.TEXT_WIDTH)]


def test_probing_reads_probabilities_and_changes_nothing(denoiser: VideoCrafter, z, text) -> None:
    probe = Probe(tuple(Tap(layer) for layer in denoiser.network.probeable["time_attention"]))
    with torch.no_grad():
        assert torch.allclose(noise(denoiser, z, 500, text), noise(denoiser, z, 500, text, probe), atol=1e-4)
    assert len(probe.seen) == 34  # two for each of the 17 temporal transformers
    for maps in probe.seen.values():
        assert maps.dtype == torch.float32
        assert torch.allclose(maps.sum(-1), torch.ones(maps.shape[:-1]), atol=1e-5)
    assert probe.seen[Tap(LAST)].shape == (2, 4, 8, 4, 4)  # b, h*w two levels down, heads, f, f


def test_observing_sees_the_same_and_stops_behind_the_last_layer(denoiser: VideoCrafter, z, text) -> None:
    whole, later, at = Probe(TAPS), list[Tensor](), SCHEDULE.at(400)
    handle = outputs_of(denoiser.network.get_submodule(LAST), later)
    early = observe(denoiser, z, at, text, TAPS)
    assert later == []
    with torch.no_grad():
        denoiser.x0(z, at, text, whole)
    handle.remove()
    assert len(later) == 1
    for tap in TAPS:
        assert torch.equal(whole.seen[tap], early.seen[tap])


def test_graph_ends_behind_the_last_probed_layer(denoiser: VideoCrafter, z, text) -> None:
    later: list[Tensor] = []
    handle = outputs_of(denoiser.network.get_submodule(LAST), later)
    probe = Probe(TAPS)
    x0 = denoiser.x0(z.requires_grad_(), SCHEDULE.at(500), text, probe)
    handle.remove()
    assert not later[0].requires_grad
    assert not x0.requires_grad
    assert torch.is_grad_enabled()
    (gradient,) = torch.autograd.grad(probe.seen[Tap(LAST)].square().sum(), z)
    assert gradient.abs().min() > 0


def test_an_unknown_layer_is_named(teacher: VideoCrafter, z, text) -> None:
    spatial = "output_blocks.3.1.transformer_blocks.0.attn1"
    with pytest.raises(UserError, match=r"output_blocks\.3\.1\..*did you mean"):
        teacher.x0(z, SCHEDULE.at(500), text, Probe((Tap(spatial),)))


@pytest.mark.parametrize("update", ["x0", "direction"])
def test_one_small_step_lowers_the_motion_loss(denoiser: VideoCrafter, z, text, update: Update) -> None:
    target = target_of(denoiser, z.flip(0)[:1], SCHEDULE.at(400), text[:1], ENERGY)

    def after(strength: float) -> float:
        return loss_after(strength, denoiser, SCHEDULE, z[:1], (749, 600), text[:1], ENERGY, target, update)

    assert after(0.02) < after(0.0) < after(-0.02)


def test_half_precision_keeps_the_gradient(z, text) -> None:
    kinds = (torch.float32, torch.float16)
    precise, half = (VideoCrafter(load_unet(public.unet_state()).to(kind)) for kind in kinds)
    target = target_of(precise, z[1:], SCHEDULE.at(400), text[:1], ENERGY)

    class FullSize(Top1Attention):
        """At full size the loss is a mean of 2000 times as many entries, so its gradient is smaller."""

        def loss(self, probe: Probe, target: Target) -> Tensor:
            return super().loss(probe, target) / 2000

    def gradient(denoiser: VideoCrafter) -> Tensor:
        return raw_gradient(denoiser, z[:1], SCHEDULE.at(500), text[:1], FullSize(MAPS, 400.0), target)

    expected, found = gradient(precise), gradient(half)
    assert torch.cosine_similarity(expected.flatten(), found.flatten(), dim=0) > 0.99
    assert found.norm().item() == pytest.approx(expected.norm().item(), rel=0.05)
