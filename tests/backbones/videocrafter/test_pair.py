"""The pair turbo-v2 from files on disk, as a user with the public checkpoints has it, at tiny widths."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from motionecho.backbones import registry
from motionecho.backbones.pair import ModelPair
from motionecho.backbones.registry import PairSpec, load_pair, pair_spec
from motionecho.backbones.videocrafter.pair import load
from motionecho.echo import generate
from motionecho.errors import BadSample, UserError
from motionecho.inversion import invert
from tests.backbones.videocrafter import public

QUICK = {"steps": 2, "inversion_steps": 2, "guided_fraction": 1.0, "activation": "always",
         "teacher_grid": "interval", "teacher_max_steps": 1, "student_strength": 1.0, "teacher_strength": 1.0,
         "truncation_threshold": 0.0}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "turbo-v2").mkdir()
    torch.save({"state_dict": public.model_ckpt()}, folder / "turbo-v2" / "model.ckpt")
    torch.save(public.unet_state(turbo=True, seed=1), folder / "turbo-v2" / "unet_mg.pt")
    return folder


@pytest.fixture
def spec(home: Path, monkeypatch: pytest.MonkeyPatch) -> PairSpec:
    monkeypatch.setenv("MOTIONECHO_WEIGHTS", str(home))
    return replace(pair_spec("turbo-v2"), frames=4, height=64, width=64)


@pytest.fixture
def pair(spec: PairSpec) -> ModelPair:
    return load(spec, "cpu")


def test_a_clip_becomes_a_video(pair: ModelPair) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    config = pair.spec.config(changes=QUICK)
    motion = invert(pair, frames, config)
    assert motion.z_T.shape == (4, 4, 8, 8)
    assert {name.split(":")[0] for name in motion.student} == set(pair.student.layers)
    latents, (trace,) = generate(pair, [motion], ["a fox running"], [7], config)
    video = pair.decode_video(latents)
    assert video.shape == (1, 4, 64, 64, 3)
    assert video.dtype == np.uint8
    evaluations = trace.summary()["evaluations"]
    assert evaluations["student_guided"] == 2
    assert evaluations["teacher_guided"] > 0
    assert all(np.isfinite(row["loss"]) and row["loss"] > 0 for row in trace.rows())


def test_student_and_teacher_are_told_what_they_were_trained_with(pair: ModelPair) -> None:
    assert (pair.student.scales.text, pair.student.scales.motion) == (7.5, 0.05)
    assert pair.teacher.scales is None
    assert pair.student.fps == pair.teacher.fps == 8
    assert pair.student.solver.timesteps(4) == [999, 749, 499, 249]


def test_clips_of_another_size_are_refused(pair: ModelPair) -> None:
    with pytest.raises(BadSample, match=r"uint8 \(4, 64, 64, 3\)"):
        pair.encode_video(np.zeros((4, 32, 64, 3), np.uint8))


def test_text_is_read_before_the_last_layer(pair: ModelPair, spec: PairSpec) -> None:
    before = pair.encode_text(["a fox", ""])
    assert before.shape == (2, 77, public.TEXT_WIDTH)
    assert not torch.allclose(before[0], before[1])
    pair.text.tower.transformer.resblocks[-1].ln_1.weight.data.mul_(2)
    assert torch.equal(before, pair.encode_text(["a fox", ""]))
    assert torch.allclose(before[:1], pair.encode_text(["a fox"]), atol=1e-5)
    pair.text.tower.transformer.resblocks[-2].ln_1.weight.data.mul_(2)
    assert not torch.allclose(before, pair.encode_text(["a fox", ""]))


def test_a_plain_videocrafter_is_no_student(spec: PairSpec, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "turbo-v2").mkdir()
    for name in ("model.ckpt", "unet_mg.pt"):
        torch.save({"state_dict": public.model_ckpt()}, tmp_path / "turbo-v2" / name)
    monkeypatch.setenv("MOTIONECHO_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=r"no time_cond_proj\.weight; it is a plain VideoCrafter2"):
        load(spec, "cpu")


def test_absent_weights_are_named_with_where_to_get_them(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOTIONECHO_WEIGHTS", str(tmp_path))
    expected = rf"{tmp_path}/turbo-v2/model\.ckpt; copy hf://VideoCrafter/VideoCrafter2/model\.ckpt there, or"
    with pytest.raises(UserError, match=expected):
        pair_spec("turbo-v2").weights()
    with pytest.raises(UserError, match=expected):
        load_pair("turbo-v2", "cpu")


def test_weights_behind_a_url_are_copied_once(home, spec, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MOTIONECHO_WEIGHTS", f"file://{home}/")
    with pytest.raises(UserError, match="missing"):
        spec.paths()  # asking where the weights are fetches none
    pulled = spec.pull()
    assert spec.home.is_relative_to(tmp_path)
    for component, path in pulled.items():
        assert path.read_bytes() == (home / spec.files[component]).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in pulled.values()}
    assert load(spec, "cpu").student.unet.config.channels == 32
    assert {path: path.stat().st_mtime_ns for path in pulled.values()} == before
    monkeypatch.setenv("MOTIONECHO_WEIGHTS", f"file://{tmp_path}/nowhere")
    with pytest.raises(UserError, match=r"there are no weights at file://.*/nowhere/turbo-v2/model\.ckpt"):
        spec.pull()
    assert not any(spec.home.rglob("*.part*"))


def test_random_weights_are_said_to_be_random(monkeypatch) -> None:
    monkeypatch.setenv("MOTIONECHO_WEIGHTS", "random")
    assert pair_spec("turbo-v2").weights() == {"videocrafter2": "random", "turbo": "random"}
    assert "random" not in pair_spec("toy").weights().values()


def test_a_large_file_is_hashed_once_and_again_when_it_changes(home, spec, monkeypatch) -> None:
    monkeypatch.setattr(registry, "LARGE", 1)
    file, first = home / "turbo-v2" / "unet_mg.pt", spec.weights()
    note = file.with_name("unet_mg.pt.sha256")
    noted = note.read_text().split()
    assert noted[0] == first["turbo"]
    note.write_text(" ".join(["0" * 64, *noted[1:]]))
    assert spec.weights()["turbo"] == "0" * 64  # believed while size and time hold
    file.touch()
    assert spec.weights() == first


def test_presets_are_settings(spec: PairSpec) -> None:
    for preset in spec.presets:
        json.dumps(spec.config(preset).to_dict())
