"""The embedded transformer pair as it ships: the sign rule for every strategy, and a motion followed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from motionecho.bench.blocks import tracking
from motionecho.bench.inversion import round_trip
from motionecho.echo import generate
from motionecho.errors import UserError
from motionecho.guidance.steering import Update, stack
from motionecho.guidance.strategy import strategy_of
from motionecho.inversion import invert
from motionecho.models.registry import load_pair, pair_spec
from motionecho.models.toy.settings import JUDGE
from motionecho.models.toy_dit.settings import STRATEGIES, WEIGHTS
from motionecho.noise import noise
from motionecho.schedules import renoise
from motionecho.sprites.judge import load_judge, text_accuracy, velocity_cosine, verdict
from motionecho.sprites.render import reference_clip
from tests.models.descent import loss_after
from tests.patience import patience

PROMPT = "a red star on a blue background"


@pytest.fixture(scope="module")
def pair():
    return load_pair("toy-dit", "cpu")


def test_weights_ship_within_their_budget() -> None:
    spec = pair_spec("toy-dit")
    own = [path for role, path in spec.files.items() if role in ("teacher", "student")]
    assert {path.parent for path in own} == {WEIGHTS}
    assert sum(path.stat().st_size for path in own) <= 20e6
    facts = json.loads((WEIGHTS / "config.json").read_text())
    assert {"teacher_steps", "student_steps"} <= set(facts)


@pytest.mark.parametrize("word", STRATEGIES)
@pytest.mark.parametrize("update", ["x0", "direction", "velocity"])
def test_one_small_guided_step_lowers_the_motion_loss(pair, word: str, update: Update) -> None:
    config = pair.spec.config(None, {"strategy": word})
    frames, _ = reference_clip(8, "zigzag")
    motion, text = invert(pair, frames, config), pair.encode_text([PROMPT])
    denoiser = pair.teacher
    energy = strategy_of(denoiser, config.reference).energy
    target = stack([motion.teacher.targets[energy.time_for(850.0)]])
    reversed_clip, eps = pair.codec.encode(frames[::-1])[None], noise(0, "test", 0, (1, *motion.z_T.shape))
    z = renoise(reversed_clip, eps, pair.schedule.at(850.0))

    def after(strength: float) -> float:
        return loss_after(strength, denoiser, pair.schedule, z, (850.0, 700.0), text, energy, target, update)

    assert after(0.02) < after(0.0)


def test_a_taught_student_follows_the_motion_and_keeps_the_prompt(pair) -> None:
    judge, (frames, truth) = load_judge(str(JUDGE), "cpu"), reference_clip(3, "bounce")
    where = torch.tensor(truth["centre"]) / 32 - 1  # of 64 pixels
    plain = pair.spec.config(None, {"method": "student"})
    followed = {}
    for config in (plain, pair.spec.defaults):
        motion = invert(pair, frames, config)
        latents, (trace,) = generate(pair, [motion], [PROMPT], [1], config)
        video = torch.from_numpy(pair.codec.decode(latents)[0]).movedim(-1, 1) / 127.5 - 1
        seen = verdict(judge, video)
        followed[config.sampling.method] = velocity_cosine(seen["centre"], where)
        assert all(share > 0.9 for share in text_accuracy(seen, PROMPT).values())
        assert trace.evaluations()["student"] == 4
    assert followed["motionecho"] > 0.8
    assert followed["motionecho"] > followed["student"] + 0.3


def test_a_block_that_is_read_knows_where_things_are_and_the_first_does_not(pair) -> None:
    errors = {found.layer: found for found in tracking(pair, "teacher", (400.0,), clips=1)}
    assert len(errors) == 8
    read = errors[pair.teacher.layers["motionclone"][0]]
    assert read.error < 0.5 * read.still
    assert errors["blocks.0.attn1"].error > 0.8 * read.still


def test_a_pair_without_such_attention_is_refused() -> None:
    with pytest.raises(UserError, match="attends over time alone"):
        tracking(load_pair("toy", "cpu"), "teacher", (400.0,), clips=1)


def test_more_inversion_steps_bring_a_clip_back_nearer(pair) -> None:
    def psnr(steps: int) -> float:
        reference = pair.spec.defaults.updated({"inversion_steps": steps}).reference
        return float(round_trip(pair, reference, clips=1)[0]["psnr"])

    assert psnr(8) > psnr(2) + 1


def test_training_script_runs_from_start_to_end(tmp_path: Path) -> None:
    """Both stages on a CPU, a second each, from a teacher that is there; what it writes loads."""
    command = [sys.executable, "-m", "motionecho.models.toy_dit.training.train", "--out", str(tmp_path)]
    command += ["--from", str(WEIGHTS), "--videos", "2", "--batch", "2"]
    command += ["--teacher-seconds", "1", "--student-seconds", "1"]
    subprocess.run(command, check=True, capture_output=True, timeout=patience(300))
    facts = json.loads((tmp_path / "config.json").read_text())
    assert facts["teacher_steps"] >= 1
    assert facts["student_steps"] >= 1
    for name in ("teacher", "student"):
        assert (tmp_path / f"{name}.safetensors").stat().st_size == (
            WEIGHTS / f"{name}.safetensors"
        ).stat().st_size
