"""The pair turbo-v2 from files on disk, as a user with the public checkpoints has it, at tiny widths."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from motionecho.config import Placement
from motionecho.echo import generate
from motionecho.errors import BadSample, UserError
from motionecho.inversion import invert
from motionecho.models.pair import ModelPair
from motionecho.models.registry import PairSpec, pair_spec
from motionecho.models.videocrafter import random_weights
from motionecho.models.videocrafter.lora import factor_shapes
from motionecho.models.videocrafter.pair import load, load_student
from motionecho.models.videocrafter.text import load_text
from motionecho.models.videocrafter.unet import UNetConfig
from motionecho.models.videocrafter.vae import load_vae
from motionecho.trace import Trace
from tests.models.videocrafter import public

CPU = Placement(device="cpu")

QUICK = {"steps": 2, "inversion_steps": 2, "guided_fraction": 1.0, "activation": "always",
         "teacher_grid": "interval", "teacher_max_steps": 1, "student_strength": 1.0, "teacher_strength": 1.0,
         "truncation_threshold": 0.0}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"state_dict": public.model_ckpt()}, folder / "model.ckpt")
    torch.save(public.unet_state(turbo=True, seed=1), folder / "unet_mg.pt")
    torch.save(public.lora(), folder / "unet_lora.pt")
    return folder


@pytest.fixture(scope="module")
def spec(home: Path) -> PairSpec:
    return replace(pair_spec("turbo-v2", (str(home),)), frames=4, height=64, width=64)


@pytest.fixture
def pair(spec: PairSpec) -> ModelPair:
    return load(spec, CPU, "auto")


def made(pair: ModelPair) -> tuple[torch.Tensor, Trace]:
    frames = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    config = pair.spec.config(changes=QUICK)
    motion = invert(pair, frames, config)
    assert motion.z_T.shape == (4, 4, 8, 8)
    assert {name.split(":")[0] for name in motion.student.targets[400.0]} == {
        *pair.spec.layers["motionclone"]
    }
    latents, (trace,) = generate(pair, [motion], ["a fox running"], [7], config)
    return latents, trace


def test_a_clip_becomes_a_video(pair: ModelPair) -> None:
    latents, trace = made(pair)
    video = pair.codec.decode(latents)
    assert video.shape == (1, 4, 64, 64, 3)
    assert video.dtype == np.uint8
    evaluations = trace.summary()["evaluations"]
    assert evaluations["student_guided"] == 2
    assert evaluations["teacher_guided"] > 0
    assert all(np.isfinite(row["loss"]) and row["loss"] > 0 for row in trace.rows())


def test_networks_that_take_turns_make_the_same_video(pair: ModelPair) -> None:
    taking_turns = load(pair.spec, Placement(device="cpu", offload=True), "auto")
    assert torch.equal(made(taking_turns)[0], made(pair)[0])
    assert np.array_equal(*(p.codec.decode(torch.ones(1, 4, 4, 8, 8)) for p in (pair, taking_turns)))


def test_a_lora_makes_the_first_turbo_of_videocrafter2(home: Path, spec: PairSpec) -> None:
    pair = load(replace(pair_spec("turbo-v1", (str(home),)), frames=4, height=64, width=64), CPU, "auto")
    base, student = pair.teacher.network.state_dict(), pair.student.network.state_dict()
    factors = iter(public.lora())
    changed = {name for name, t in student.items() if name not in base or not torch.equal(base[name], t)}
    expected = [name for name, t in student.items() if name.endswith("weight") and t.ndim in (2, 4, 5)]
    assert changed == set(expected)
    for name, up, down in zip(expected, factors, factors, strict=True):
        before = base.get(name, torch.zeros_like(student[name]))
        added = torch.einsum("or,ri->oi", up.flatten(1), down.flatten(1)).view(before.shape)
        assert torch.allclose(student[name], before + added, atol=1e-5), name
    assert pair.student.scales.motion is None
    assert pair.student.grid(8) == [999 - 120 * k for k in range(8)]
    assert bool(torch.isfinite(made(pair)[0]).all())


def test_a_lora_that_does_not_fit_is_named_by_what_it_adds_to() -> None:
    base, factors = public.model_ckpt(), public.lora()
    name = "input_blocks.1.1.proj_in.weight"
    at = 2 * list(factor_shapes(public.LORA_CONFIG)).index(name)
    wrong = [*factors[:at], factors[at][:-1], *factors[at + 1 :]]
    with pytest.raises(UserError, match=name.replace(".", r"\.") + ":up wrong shape"):
        load_student(base, wrong)
    with pytest.raises(UserError, match=r"1 of 1150 factors, out\.2\.weight:down missing"):
        load_student(base, factors[:-1])
    with pytest.raises(UserError, match="factor 1150 unexpected"):
        load_student(base, [*factors, factors[0]])


def test_the_lora_s_full_size_is_the_published_file_s() -> None:
    shapes = factor_shapes(UNetConfig(scale_width=256)).values()
    assert len(shapes) == 575
    assert 4 * sum(up.numel() + down.numel() for up, down in shapes) == 468_568_704  # bytes, of 469 MB


def test_student_and_teacher_are_told_what_they_were_trained_with(pair: ModelPair) -> None:
    assert (pair.student.scales.text, pair.student.scales.motion) == (7.5, 0.05)
    assert pair.teacher.scales is None
    assert pair.student.fps == pair.teacher.fps == 8
    assert pair.student.grid(4) == [999, 749, 499, 249]


def test_clips_of_another_size_are_refused(pair: ModelPair) -> None:
    with pytest.raises(BadSample, match=r"uint8 \(4, 64, 64, 3\)"):
        pair.codec.encode(np.zeros((4, 32, 64, 3), np.uint8))


def test_text_is_read_before_the_last_layer(pair: ModelPair, spec: PairSpec) -> None:
    before = pair.encode_text(["a fox", ""])
    assert before.shape == (2, 77, public.TEXT_WIDTH)
    assert not torch.allclose(before[0], before[1])
    pair.text.tower.transformer.resblocks[-1].ln_1.weight.data.mul_(2)
    assert torch.equal(before, pair.encode_text(["a fox", ""]))
    assert torch.allclose(before[:1], pair.encode_text(["a fox"]), atol=1e-5)
    pair.text.tower.transformer.resblocks[-2].ln_1.weight.data.mul_(2)
    assert not torch.allclose(before, pair.encode_text(["a fox", ""]))


def test_a_plain_videocrafter_is_no_student() -> None:
    with pytest.raises(UserError, match=r"no time_cond_proj\.weight; it is a plain VideoCrafter2"):
        load_student(public.model_ckpt(), public.unet_state())


def test_random_weights_are_of_the_published_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(shapes, seed: int) -> dict[str, torch.Tensor]:
        return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}

    monkeypatch.setattr(random_weights, "random_tensors", without_memory)
    base = random_weights.random_videocrafter2()
    load_vae(base)
    load_text(base)
    assert load_student(base, random_weights.random_student()).config.motion_width == 256
    assert [t.shape for t in random_weights.random_student(lora=True)] == [
        shape for ends in factor_shapes(UNetConfig(scale_width=256)).values() for shape in ends
    ]


def test_presets_are_settings(spec: PairSpec) -> None:
    for preset in spec.presets:
        json.dumps(spec.config(preset).to_dict())
