"""Inversion walks the path that sampling walks back, and a Motion survives its file."""

from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch

from motionecho.errors import BadSample
from motionecho.guidance.strategy import Carried
from motionecho.inversion import Motion, inversion, invert
from motionecho.schedules import eps_of, renoise, uniform

FRAMES = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pair():
    return tiny.pair()


@pytest.fixture(scope="module")
def motion(pair) -> Motion:
    return invert(pair, FRAMES, tiny.CONFIG)


def tensors(motion: Motion) -> dict[str, torch.Tensor]:
    """All tensors of a motion, by role, time and name."""
    found = {"z_T": motion.z_T}
    for role, carried in (("student", motion.student), ("teacher", motion.teacher)):
        for t, target in carried.targets.items():
            found |= {f"{role}/{t}/{name}": tensor for name, tensor in target.items()}
        found |= {f"{role}/adapter/{name}": tensor for name, tensor in carried.adapter.items()}
    return found


def assert_equal(one: Motion, other: Motion) -> None:
    ours, theirs = tensors(one), tensors(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_invert_is_deterministic(pair, motion: Motion) -> None:
    torch.manual_seed(99)
    assert_equal(invert(pair, FRAMES, tiny.CONFIG), motion)


def test_targets_are_of_the_time_that_settings_name(pair, motion: Motion) -> None:
    assert [*motion.student.targets] == [*motion.teacher.targets] == [400.0]
    other = invert(pair, FRAMES, tiny.CONFIG.updated({"t_alpha": 312.5}))
    assert [*other.student.targets] == [312.5]


def test_student_and_teacher_have_targets_of_their_own(motion: Motion) -> None:
    student, teacher = motion.student.targets[400.0], motion.teacher.targets[400.0]
    assert student.keys() == teacher.keys()
    assert any(not torch.equal(student[n], teacher[n]) for n in student)


def test_sampling_back_from_the_inverted_noise_returns_the_clip(pair) -> None:
    """DDIM with the source timestep is inverted exactly in the limit of small steps: many steps get close."""
    z0, null, schedule = pair.codec.encode(FRAMES)[None], pair.encode_text([""]), pair.schedule
    error = []
    for steps in (10, 160):
        reference = tiny.CONFIG.updated({"inversion_steps": steps}).reference
        *_, (at, z) = inversion(pair.teacher, schedule, z0, null, reference)
        assert at == schedule.at(schedule.top)
        for t, t_next in pairwise([*uniform(schedule)(steps), 0.0]):
            at = schedule.at(t)
            with torch.no_grad():
                x0 = pair.teacher.x0(z, at, null)
            z = renoise(x0, eps_of(z, x0, at), schedule.at(t_next))
        error.append(((z - z0).norm() / z0.norm()).item())
    assert error[1] < 0.5 * error[0]


def test_file_round_trip(motion: Motion, tmp_path) -> None:
    trained = Carried(motion.teacher.targets, {"blocks.0.to_q/up": torch.randn(4, 2)})
    whole = Motion(motion.z_T, motion.student, trained)
    whole.save(tmp_path / "m.safetensors", {"source": "test"})
    assert_equal(Motion.load(tmp_path / "m.safetensors"), whole)


def test_a_batch_leads_with_its_samples(motion: Motion) -> None:
    both = tensors(Motion.stack([motion, motion], "cpu"))
    assert all(torch.equal(both[name][1], tensor) for name, tensor in tensors(motion).items())


def test_a_clip_of_the_wrong_size_is_refused(pair) -> None:
    with pytest.raises(BadSample, match=r"uint8 \(4, 16, 16, 3\)"):
        invert(pair, FRAMES[:3], tiny.CONFIG)
