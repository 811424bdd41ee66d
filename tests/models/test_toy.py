"""The embedded pair as it ships: its words, weights and world, and the sign rule on its real networks."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from motionecho.errors import BadSample, UserError
from motionecho.guidance.steering import Update, stack
from motionecho.guidance.strategy import strategy_of
from motionecho.inversion import invert
from motionecho.models.registry import load_pair, pair_spec
from motionecho.noise import noise
from motionecho.schedules import renoise
from motionecho.sprites.judge import (
    asked_for,
    centre_error,
    load_judge,
    steadiness,
    velocity_cosine,
    verdict,
)
from motionecho.sprites.motions import MOTIONS, TRAINING_SHARE
from motionecho.sprites.render import reference_clip, render
from motionecho.sprites.scenes import captions, held_out_look, sample_scenes
from motionecho.sprites.words import WORDS, tokenize
from tests.models.descent import loss_after
from tests.patience import patience


@pytest.fixture(scope="module")
def pair():
    return load_pair("toy", "cpu")


@pytest.mark.parametrize(("asked", "is_dtype"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_every_network_is_of_the_dtype_asked_and_not_of_its_files(asked, is_dtype):
    loaded = load_pair("toy", "cpu", asked)
    for network in (loaded.student.network, loaded.teacher.network, loaded.codec.vae):
        assert {parameter.dtype for parameter in network.parameters()} == {is_dtype}


def test_prompts_are_read_or_refused_by_word() -> None:
    assert tokenize("An orange star, on the blue background.") == tokenize(
        "a orange star on a blue background"
    )
    with pytest.raises(BadSample, match='does not know the word "fox"'):
        tokenize("a fox on a blue background")
    with pytest.raises(BadSample, match='did you mean "purple"'):
        tokenize("a purpel star")
    with pytest.raises(BadSample, match="reads 14"):
        tokenize("red " * 15)


def test_every_caption_can_be_read() -> None:
    scenes = sample_scenes(64, torch.Generator().manual_seed(0), motions=tuple(MOTIONS))
    for line in captions(scenes, motion=True):
        assert len(tokenize(line)) == 16
    assert len(set(WORDS)) == len(WORDS)


def test_held_out_motions_and_looks_are_kept_from_training() -> None:
    scenes = sample_scenes(400, torch.Generator().manual_seed(0))
    assert not held_out_look(scenes.shape, scenes.color).any()
    held_out = {"figure_eight", "spiral"}  # as the README of the weights promises
    assert set(MOTIONS) - set(TRAINING_SHARE) == held_out
    assert not set(scenes.motion) & held_out
    unseen = sample_scenes(50, torch.Generator().manual_seed(0), looks="held_out")
    assert held_out_look(unseen.shape, unseen.color).all()


@pytest.mark.parametrize("motion", list(MOTIONS))
def test_truth_is_where_the_sprite_is(motion: str) -> None:
    """The brightest colour's centre of mass follows the stated centre."""
    generator = torch.Generator().manual_seed(11)
    scenes = sample_scenes(4, generator, motions=(motion,))
    scenes.texture.zero_()
    with_sprite = render(scenes)
    scenes.size.mul_(1e-3)
    mask = (with_sprite - render(scenes)).abs().sum(2) > 0.05
    axis = (torch.arange(64) + 0.5) / 32 - 1
    truth = scenes.screen()
    for k in range(4):
        for f in range(16):
            seen = mask[k, f]
            whole = truth[k, f].abs().max() < 0.45
            if whole and seen.any() and scenes.shape[k] < 5:  # symmetric enough shapes, fully in the picture
                x, y = (seen.sum(0) * axis).sum() / seen.sum(), (seen.sum(1) * axis).sum() / seen.sum()
                assert abs(x - truth[k, f, 0]) < 0.1
                assert abs(y - truth[k, f, 1]) < 0.1


def test_reference_clip_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    first, truth = reference_clip(3, "bounce")
    torch.manual_seed(2)
    second, _ = reference_clip(3, "bounce")
    assert np.array_equal(first, second)
    assert first.shape == (16, 64, 64, 3)
    assert len(truth["centre"]) == 16


def test_weights_ship_within_their_budget() -> None:
    spec = pair_spec("toy")
    folder = next(iter(spec.files.values())).parent
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 32 * 2**20
    assert all(len(digest) == 64 for digest in spec.weights().values())


def test_autoencoder_returns_what_it_is_given(pair) -> None:
    frames, _ = reference_clip(5, "arc")
    back = pair.codec.decode(pair.codec.encode(frames)[None])[0]
    psnr = 10 * np.log10(255**2 / np.mean((back.astype(float) - frames) ** 2))
    assert psnr > 26


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("update", ["x0", "direction"])
def test_one_small_guided_step_lowers_the_motion_loss(pair, role: str, update: Update) -> None:
    denoiser, config = getattr(pair, role), pair.spec.defaults.updated({"inversion_steps": 2})
    frames, _ = reference_clip(8, "zigzag")
    motion, text = invert(pair, frames, config), pair.encode_text(["a red star on a blue background"])
    energy = strategy_of(denoiser, config.reference).energy
    target = stack([getattr(motion, role).targets[energy.time_for(879)]])
    reversed_clip, eps = pair.codec.encode(frames[::-1])[None], noise(0, "test", 0, (1, *motion.z_T.shape))
    z = renoise(reversed_clip, eps, pair.schedule.at(879))

    def after(strength: float) -> float:
        return loss_after(strength, denoiser, pair.schedule, z, (879, 759), text, energy, target, update)

    assert after(0.02) < after(0.0)


def test_judge_finds_the_sprite(pair) -> None:
    judge = load_judge(str(next(iter(pair.spec.files.values())).parent / "judge.safetensors"), "cpu")
    scenes = sample_scenes(6, torch.Generator().manual_seed(2), motions=("linear", "arc"))
    video, truth = render(scenes), scenes.screen()
    for k in range(6):
        seen = verdict(judge, video[k])
        assert velocity_cosine(seen["centre"], truth[k]) > 0.8
        assert velocity_cosine(seen["centre"], truth[k].flip(0)) < 0.2
        assert centre_error(seen["centre"], truth[k]) < 3
        assert steadiness(seen) > 0.95


def test_what_a_prompt_asks_for() -> None:
    assert asked_for("a red star on a striped blue background moving left") == {
        "shape": 3,
        "color": 0,
        "background": 5,
    }
    assert asked_for("a fox") == {}


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match='did you mean "toy"'):
        pair_spec("toyy")
    with pytest.raises(UserError, match="no preset"):
        pair_spec("toy").config("studemt")
    with pytest.raises(UserError, match="unknown device"):
        load_pair("toy", "cpuu")
    with pytest.raises(UserError, match="unknown dtype"):
        load_pair("toy", "cpu", "float33")


def test_training_script_runs_from_start_to_end(tmp_path: Path) -> None:
    """All four stages on a CPU, a second each; what it writes loads into the shipped architecture."""
    command = [
        sys.executable,
        "-m",
        "motionecho.models.toy.training.train",
        "--out",
        str(tmp_path),
        "--videos",
        "2",
        "--batch",
        "2",
    ]
    for stage in ("vae", "judge", "teacher", "student"):
        command += [f"--{stage}-seconds", "1"]
    subprocess.run(command, check=True, capture_output=True, timeout=patience(300))
    facts = json.loads((tmp_path / "config.json").read_text())
    assert facts["teacher_steps"] >= 1
    assert facts["student_steps"] >= 1
    for name in ("vae", "text", "teacher", "student", "judge"):
        assert (tmp_path / f"{name}.safetensors").stat().st_size > 100_000
