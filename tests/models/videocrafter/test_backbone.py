"""Both backbones: conditioning arrives, the probe reads what is computed, guidance descends."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from motionecho.denoiser import Probe
from motionecho.errors import UserError
from motionecho.guidance.motionclone import MotionClone
from motionecho.guidance.steering import Target, predict, scaled, stack, steer
from motionecho.models.videocrafter.backbone import LAYERS, EmbeddedScales, VideoCrafter
from motionecho.models.videocrafter.loading import load_unet
from tests.models.videocrafter import public

LAST = LAYERS[-1]


@pytest.fixture(params=["teacher", "student"])
def backbone(request: pytest.FixtureRequest) -> VideoCrafter:
    return request.getfixturevalue(request.param)


def inputs_of(module: torch.nn.Module, seen: list[Tensor]):
    return module.register_forward_hook(lambda _module, args, _out: seen.append(args[0]))


def outputs_of(module: torch.nn.Module, seen: list[Tensor]):
    return module.register_forward_hook(lambda _module, _args, out: seen.append(out))


def test_everything_that_conditions_changes_the_prediction(student: VideoCrafter, z, text) -> None:
    with torch.no_grad():
        plain = student.denoise(z, 600, text)
        assert plain.shape == z.shape
        others = {
            "time": student.denoise(z, 599, text),
            "text": student.denoise(z, 600, text.flip(0)),
            "frame rate": replace(student, fps=24).denoise(z, 600, text),
            "text scale": replace(student, scales=EmbeddedScales(text=5.0)).denoise(z, 600, text),
            "motion scale": replace(student, scales=EmbeddedScales(motion=0.1)).denoise(z, 600, text),
            "no motion scale": replace(student, scales=EmbeddedScales(motion=None)).denoise(z, 600, text),
        }
    for what, other in others.items():
        assert not torch.allclose(plain, other, atol=1e-4), what


def test_motion_scale_counts_early_only(student: VideoCrafter, z, text) -> None:
    still = replace(student, scales=EmbeddedScales(motion=0.0))
    with torch.no_grad():
        assert torch.equal(student.denoise(z, 499, text), still.denoise(z, 499, text))
        assert not torch.equal(student.denoise(z, 500, text), still.denoise(z, 500, text))


def test_videos_of_a_batch_do_not_mix(backbone: VideoCrafter, z, text) -> None:
    whole, alone = Probe(LAYERS), Probe(LAYERS)
    with torch.no_grad():
        together = backbone.denoise(z, 600, text, whole)
        assert torch.allclose(together[1:], backbone.denoise(z[1:], 600, text[1:], alone), atol=1e-5)
    for layer in LAYERS:
        assert torch.allclose(whole.maps[layer][1], alone.maps[layer][0], atol=1e-5)


def test_text_is_projected_once_a_video(teacher: VideoCrafter, z, text) -> None:
    seen: list[Tensor] = []
    layer = "input_blocks.1.1.transformer_blocks.0.attn2.to_k"
    handle = inputs_of(teacher.unet.get_submodule(layer), seen)
    with torch.no_grad():
        teacher.denoise(z, 600, text)
    handle.remove()
    assert [tuple(x.shape) for x in seen] == [(2, 77, public.TEXT_WIDTH)]


def test_probing_reads_probabilities_and_changes_nothing(backbone: VideoCrafter, z, text) -> None:
    probe = Probe(backbone.unet.probeable)
    with torch.no_grad():
        assert torch.allclose(
            backbone.denoise(z, 500, text), backbone.denoise(z, 500, text, probe), atol=1e-4
        )
    assert len(probe.maps) == 34  # two for each of the 17 temporal transformers
    for maps in probe.maps.values():
        assert maps.dtype == torch.float32
        assert torch.allclose(maps.sum(-1), torch.ones(maps.shape[:-1]), atol=1e-5)
    assert probe.maps[LAST].shape == (2, 4, 8, 4, 4)  # b, h*w two levels down, heads, f, f


def test_observing_sees_the_same_and_stops_behind_the_last_layer(backbone: VideoCrafter, z, text) -> None:
    whole, early = Probe(LAYERS), Probe(LAYERS)
    later: list[Tensor] = []
    handle = outputs_of(backbone.unet.get_submodule(LAST), later)
    with torch.no_grad():
        backbone.observe(z, 400, text, early)
        assert later == []
        backbone.denoise(z, 400, text, whole)
    handle.remove()
    assert len(later) == 1
    for layer in LAYERS:
        assert torch.equal(whole.maps[layer], early.maps[layer])


def test_graph_ends_behind_the_last_probed_layer(backbone: VideoCrafter, z, text) -> None:
    later: list[Tensor] = []
    handle = outputs_of(backbone.unet.get_submodule(LAST), later)
    probe = Probe(LAYERS)
    eps = backbone.denoise(z.requires_grad_(), 500, text, probe)
    handle.remove()
    assert not later[0].requires_grad
    assert not eps.requires_grad
    assert torch.is_grad_enabled()
    (gradient,) = torch.autograd.grad(probe.maps[LAST].square().sum(), z)
    assert gradient.abs().min() > 0


def test_an_unknown_layer_is_named(teacher: VideoCrafter, z, text) -> None:
    spatial = "output_blocks.3.1.transformer_blocks.0.attn1"
    with pytest.raises(UserError, match=r"output_blocks\.3\.1\..*did you mean"):
        teacher.denoise(z, 500, text, Probe((spatial,)))


@pytest.mark.parametrize("update", ["x0", "direction"])
def test_one_small_step_lowers_the_motion_loss(backbone: VideoCrafter, z, text, update) -> None:
    guidance, t, t_next = MotionClone(LAYERS), 749, 600
    reference = Probe(LAYERS)
    with torch.no_grad():
        backbone.observe(z.flip(0)[:1], 400, text[:1], reference)
    target = stack([guidance.target(reference)])

    def loss_after(strength: float) -> float:
        seen = predict(backbone, z[:1], t, text[:1], guidance, target, above=0.0)
        shift = scaled(seen.gradient, strength, "unit_rms")
        eps_x0, eps_next = steer(seen.eps, shift, backbone.schedule.sigma(t), update)
        x0 = backbone.solver.x0(backbone.schedule, z[:1], eps_x0, t)
        onward = backbone.schedule.add_noise(x0, eps_next, t_next)
        return predict(backbone, onward, t_next, text[:1], guidance, target).loss.item()

    assert loss_after(0.02) < loss_after(0.0) < loss_after(-0.02)


def test_half_precision_keeps_the_gradient(z, text) -> None:
    guidance, reference = MotionClone(LAYERS), Probe(LAYERS)
    kinds = (torch.float32, torch.float16)
    precise, half = (VideoCrafter(load_unet(public.unet_state()).to(kind)) for kind in kinds)
    with torch.no_grad():
        precise.observe(z[1:], 400, text[:1], reference)
    target = stack([guidance.target(reference)])

    class FullSize(MotionClone):
        """At full size the loss is a mean of 2000 times as many entries, so its gradient is smaller."""

        def loss(self, probe: Probe, target: Target) -> Tensor:
            return super().loss(probe, target) / 2000

    def gradient(backbone: VideoCrafter) -> Tensor:
        return predict(backbone, z[:1], 500, text[:1], FullSize(LAYERS), target, above=0.0).gradient

    expected, found = gradient(precise), gradient(half)
    assert torch.cosine_similarity(expected.flatten(), found.flatten(), dim=0) > 0.99
    assert found.norm().item() == pytest.approx(expected.norm().item(), rel=0.05)
