"""Inversion walks the path that sampling walks back, and a Motion survives its file."""

from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch

from motionecho.errors import BadSample
from motionecho.inversion import Motion, ddim_invert, invert
from motionecho.schedules import uniform_grid

FRAMES = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pair():
    return tiny.pair()


@pytest.fixture(scope="module")
def motion(pair) -> Motion:
    return invert(pair, FRAMES, tiny.CONFIG)


def test_invert_is_deterministic(pair, motion: Motion) -> None:
    torch.manual_seed(99)
    again = invert(pair, FRAMES, tiny.CONFIG)
    assert torch.equal(motion.z_T, again.z_T)
    assert all(torch.equal(motion.student[n], again.student[n]) for n in motion.student)


def test_student_and_teacher_have_targets_of_their_own(motion: Motion) -> None:
    assert motion.student.keys() == motion.teacher.keys()
    assert any(not torch.equal(motion.student[n], motion.teacher[n]) for n in motion.student)


def test_sampling_back_from_the_inverted_noise_returns_the_clip(pair) -> None:
    """DDIM with the source timestep is inverted exactly in the limit of small steps: many steps get close."""
    z0 = pair.encode_video(FRAMES)[None]
    null = pair.encode_text([""])
    error = []
    for steps in (10, 160):
        config = tiny.CONFIG.updated({"inversion_steps": steps})
        z = ddim_invert(pair.teacher, z0, null, config)
        for t, t_next in pairwise([*uniform_grid(steps), 0]):
            with torch.no_grad():
                eps = pair.teacher.denoise(z, t, null)
            z = pair.teacher.schedule.add_noise(pair.teacher.schedule.x0(z, eps, t), eps, t_next)
        error.append(((z - z0).norm() / z0.norm()).item())
    assert error[1] < 0.5 * error[0]


def test_file_round_trip(motion: Motion, tmp_path) -> None:
    motion.save(tmp_path / "m.safetensors", {"source": "test"})
    loaded = Motion.load(tmp_path / "m.safetensors")
    assert torch.equal(loaded.z_T, motion.z_T)
    for ours, theirs in ((motion.student, loaded.student), (motion.teacher, loaded.teacher)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_a_clip_of_the_wrong_size_is_refused(pair) -> None:
    with pytest.raises(BadSample, match=r"uint8 \(4, 16, 16, 3\)"):
        invert(pair, FRAMES[:3], tiny.CONFIG)
