"""The pair animatediff-lightning from files as a user with the public ones has them, at tiny widths."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from motionecho.config import Placement
from motionecho.echo import generate
from motionecho.guidance import steering
from motionecho.guidance.motionclone import Top1Attention
from motionecho.guidance.steering import Update
from motionecho.inversion import invert
from motionecho.models.animatediff.pair import load
from motionecho.models.pair import ModelPair
from motionecho.models.registry import PAIRS, PairSpec, pair_spec
from motionecho.models.speed.offload import Berthed
from tests.models.animatediff import public
from tests.models.descent import loss_after, raw_gradient, target_of

CPU = Placement(device="cpu")

QUICK = {"steps": 2, "inversion_steps": 2, "guided_fraction": 1.0, "activation": "always",
         "teacher_grid": "interval", "teacher_max_steps": 1, "student_strength": 1.0, "teacher_strength": 1.0,
         "truncation_threshold": 0.0}  # fmt: skip


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> PairSpec:
    folder = public.write(tmp_path_factory.mktemp("weights"))
    return replace(pair_spec("animatediff-lightning", (str(folder),)), frames=4, height=64, width=64)


@pytest.fixture(scope="module")
def pair(spec: PairSpec) -> ModelPair:
    return load(spec, CPU, "auto")


def made(pair: ModelPair) -> tuple[torch.Tensor, dict]:
    frames = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    config = pair.spec.config(changes=QUICK)
    motion = invert(pair, frames, config)
    latents, (trace,) = generate(pair, [motion], ["a fox running"], [7], config)
    assert pair.codec.decode(latents).shape == (1, 4, 64, 64, 3)
    return latents, trace.summary()


def test_a_clip_becomes_a_video(pair: ModelPair) -> None:
    latents, summary = made(pair)
    assert bool(torch.isfinite(latents).all())
    assert summary["evaluations"]["student_guided"] == 2
    assert summary["evaluations"]["teacher_guided"] > 0
    assert summary["first_loss"] > 0


def test_networks_that_take_turns_make_the_same_video(spec: PairSpec, pair: ModelPair) -> None:
    taking_turns = load(spec, Placement(device="cpu", offload=True), "auto")
    assert isinstance(taking_turns.student, Berthed)
    assert torch.equal(made(taking_turns)[0], made(pair)[0])


def test_one_berth_holds_one_network(spec: PairSpec) -> None:
    pair = load(spec, Placement(device="cpu", offload=True), "auto")
    berth = pair.student.berth
    pair.encode_text([""])
    tower = berth.taken
    z, text, at = torch.randn(1, 4, 4, 8, 8), torch.randn(1, 77, public.TEXT_WIDTH), pair.schedule.at(500)
    at_home = [p.data_ptr() for p in pair.student.network.parameters()]
    with torch.no_grad():
        pair.student.x0(z, at, text)
        assert berth.taken is pair.student.network
        assert berth.taken is not tower
        pair.teacher.x0(z, at, text)
    assert berth.taken is pair.teacher.network
    assert [p.data_ptr() for p in pair.student.network.parameters()] == at_home


def test_schedules_are_the_published_ones(pair: ModelPair) -> None:
    published = {999: 0.001579, 939: 0.003194, 874: 0.006543, 749: 0.022729, 499: 0.161812, 249: 0.570866}
    for t, value in published.items():
        assert pair.schedule.alphas_cumprod[t] == pytest.approx(value, abs=1e-6)
    assert pair.student.grid(8) == [999, 874, 749, 624, 499, 374, 249, 124]
    assert pair.student.grid(4) == [999, 749, 499, 249]
    assert pair.student.noise == "predicted"


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("update", ["x0", "direction"])
def test_one_small_step_lowers_the_motion_loss(pair: ModelPair, role: str, update: Update) -> None:
    denoiser, generator = getattr(pair, role), torch.Generator().manual_seed(3)
    z, ref = torch.randn(2, 1, 4, 4, 8, 8, generator=generator)
    text, energy = (
        torch.randn(1, 77, public.TEXT_WIDTH, generator=generator),
        Top1Attention(pair.spec.layers["motionclone"], 400.0),
    )
    target = target_of(denoiser, ref, pair.schedule.at(400), text, energy)

    def after(strength: float) -> float:
        return loss_after(strength, denoiser, pair.schedule, z, (749, 600), text, energy, target, update)

    assert after(0.02) < after(0.0) < after(-0.02)


def test_half_precision_keeps_the_gradient(pair: ModelPair, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullSize(Top1Attention):
        """At full size the loss is a mean of 2000 times as many entries, so its gradient is smaller."""

        def loss(self, probe, target):
            return super().loss(probe, target) / 2000

    half = load(pair.spec, CPU, "float16").student
    generator = torch.Generator().manual_seed(3)
    z, ref = torch.randn(2, 1, 4, 4, 16, 16, generator=generator)
    text, energy = (
        torch.randn(1, 77, public.TEXT_WIDTH, generator=generator),
        FullSize(half.layers["motionclone"], 400.0),
    )
    target = target_of(pair.student, ref, pair.schedule.at(400), text, energy)

    def gradient(denoiser) -> torch.Tensor:
        return raw_gradient(denoiser, z, pair.schedule.at(500), text, energy, target).flatten()

    expected = gradient(pair.student)
    assert torch.cosine_similarity(expected, gradient(half), dim=0) > 0.999
    monkeypatch.setattr(steering, "LIFT", 1.0)
    assert torch.equal(gradient(pair.student), expected)  # a power of two changes no bit
    assert torch.cosine_similarity(expected, gradient(half), dim=0) < 0.5  # and without it little is left


def test_every_number_of_steps_has_its_student() -> None:
    lightning = {name: spec for name, spec in PAIRS.items() if name.startswith("animatediff-lightning")}
    assert sorted(spec.distilled_for for spec in lightning.values()) == [1, 2, 4, 8]
    for spec in lightning.values():
        assert spec.defaults.student.steps == spec.distilled_for
        assert f"_{spec.distilled_for}step_" in spec.parts["student"].files[""][0]


def test_another_base_is_one_option(spec: PairSpec, tmp_path: Path) -> None:
    public.write(tmp_path)
    places = (*spec.weights_at, f"base={tmp_path / 'emilianJR/epiCRealism'}")
    other = pair_spec("animatediff-lightning", places)
    paths = other.paths()
    assert paths["base/unet"].is_relative_to(tmp_path)
    assert paths["base/text"].name == "pytorch_model.bin"
    assert not paths["student"].is_relative_to(tmp_path)
