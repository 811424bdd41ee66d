"""Inversion walks the path that sampling walks back, and a Motion survives its file."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import save_file

from motionecho.config import resolve_name
from motionecho.echo import generate
from motionecho.errors import BadSample, Damaged, UserError
from motionecho.guidance.strategy import Carried
from motionecho.inversion import Motion, initial, inversion, invert
from motionecho.make import Maker
from motionecho.noise import batch_noise
from motionecho.schedules import eps_of, renoise, uniform
from motionecho.teacher import alone

FRAMES = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pair():
    return tiny.pair()


@pytest.fixture(scope="module")
def motion(pair) -> Motion:
    return invert(pair, FRAMES, tiny.CONFIG)


def assert_equal(one: Motion, other: Motion) -> None:
    ours, theirs = one.tensors, other.tensors
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(ours[name].dtype == theirs[name].dtype for name in ours)
    assert (one.reference, one.pair) == (other.reference, other.pair)


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


def test_without_inversion_steps_there_is_no_inverted_noise_and_no_pass(pair, monkeypatch) -> None:
    """Every pass of an inversion is for targets, one a network; sampling begins with fresh noise alone."""
    passes: list[float] = []
    for network in (pair.student, pair.teacher):
        plain = network.x0

        def counted(z, at, *rest, plain=plain):
            passes.append(float(at.t))
            return plain(z, at, *rest)

        monkeypatch.setattr(network, "x0", counted)
    config = tiny.CONFIG.updated({"inversion_steps": 0, "noise_blend": 0})
    motion = invert(pair, FRAMES, config)
    assert passes == [400.0, 400.0]
    assert motion.z_T.shape == pair.codec.encode(FRAMES).shape
    assert not motion.z_T.any()
    assert [*inversion(pair.teacher, pair.schedule, motion.z_T[None], motion.z_T, config.reference)] == []
    begun = initial(Motion.stack([motion], "cpu"), [3], config)
    assert torch.equal(begun, batch_noise([3], "initial", 0, motion.z_T[None]))


@pytest.fixture
def whole(motion: Motion) -> Motion:
    """A motion with tensors of every kind that a strategy may keep."""
    adapter = {"blocks.0.to_q/up": torch.randn(4, 2).bfloat16(), "scale": torch.tensor(2.0)}
    adapter |= {"none": torch.zeros(0, 3), "mask": torch.tensor([True, False])}
    return replace(motion, teacher=Carried(motion.teacher.targets, adapter))


def test_file_round_trip(whole: Motion, tmp_path: Path) -> None:
    whole.save(tmp_path / "m.safetensors", source="test")
    assert_equal(Motion.load(tmp_path / "m.safetensors"), whole)


def test_no_bit_of_a_file_can_change_unnoticed(whole: Motion, tmp_path: Path) -> None:
    """The length of the header, its every third byte, and bytes all over the tensors."""
    file = tmp_path / "m.safetensors"
    whole.save(file, key="k" * 32)
    data = file.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    for n, offset in enumerate([*range(8), *range(8, begin, 3), *range(begin, len(data), 97)]):
        changed = bytearray(data)
        changed[offset] ^= 1 << n % 8
        file.write_bytes(changed)
        with pytest.raises(Damaged, match=r"is not a whole motion: .*; invert the clip again"):
            Motion.load(file, key="k" * 32)
    file.write_bytes(data)
    assert_equal(Motion.load(file, key="k" * 32), whole)


@pytest.mark.parametrize("length", [0, 4, 8, 300, -1, None])
def test_a_file_cut_short_or_gone_is_one_sentence(motion: Motion, tmp_path: Path, length: int | None) -> None:
    file = tmp_path / "m.safetensors"
    motion.save(file)
    data = file.read_bytes()
    file.unlink()
    if length is not None:
        file.write_bytes(data[:length])
    with pytest.raises(Damaged, match=r"^\".*m.safetensors\" is not a whole motion: [^\n]*; invert the clip"):
        Motion.load(file)


def test_a_file_of_another_motion_or_of_none_is_refused(motion: Motion, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    motion.save(file, key="a" * 32)
    with pytest.raises(Damaged, match=f"it is of the motion {'a' * 32}, not of {'b' * 32}"):
        Motion.load(file, key="b" * 32)
    motion.save(file)
    with pytest.raises(Damaged, match=f"it is of the motion None, not of {'b' * 32}"):
        Motion.load(file, key="b" * 32)
    before = {"motionecho": json.dumps({"inversion": "{}", "key": "b" * 32})}  # as it was without a digest
    for words in (before, {}):
        save_file({name: tensor.contiguous() for name, tensor in motion.tensors.items()}, file, words)
        with pytest.raises(Damaged, match="it is no motion or one of an older version"):
            Motion.load(file, key="b" * 32)


def test_a_motion_is_saved_whole_or_not_at_all(
    motion: Motion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        motion.save(tmp_path / "missing" / "m.safetensors")
    motion.save(tmp_path / "m.safetensors")
    before = (tmp_path / "m.safetensors").read_bytes()

    def full(tensors: object, path: str, metadata: object) -> None:
        Path(path).write_bytes(before[:100])
        raise OSError(28, "no space left")

    monkeypatch.setattr("motionecho.runs.tensor_file.save_file", full)
    with pytest.raises(OSError, match="no space left"):
        motion.save(tmp_path / "m.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    assert (tmp_path / "m.safetensors").read_bytes() == before


def test_a_batch_leads_with_its_samples(motion: Motion) -> None:
    both = Motion.stack([motion, motion], "cpu").tensors
    assert all(torch.equal(both[name][1], tensor) for name, tensor in motion.tensors.items())


def test_unequal_motions_are_no_batch(pair, motion: Motion, whole: Motion) -> None:
    other = invert(pair, FRAMES, tiny.CONFIG.updated({"t_alpha": 312.5}))
    with pytest.raises(UserError, match=r"reference_timestep is 312.5 there and 400.0 now"):
        Motion.stack([motion, other], "cpu")
    longer = replace(motion, z_T=motion.z_T.repeat(1, 2, 1, 1))
    double = replace(motion, z_T=motion.z_T.double())
    for unlike in (whole, longer, double):
        with pytest.raises(UserError, match="tensors of the same names, types and shapes"):
            Motion.stack([motion, unlike], "cpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("inversion_steps", 2),
        ("t_alpha", 312.5),
        ("layers", tiny.LAYERS[:1]),
        ("inversion_evaluate_at", "source"),
    ],
)
def test_a_motion_serves_the_settings_that_it_was_made_with(
    pair, motion: Motion, tmp_path: Path, name: str, value: object
) -> None:
    motion.save(tmp_path / "m.safetensors")
    other, kept = tiny.CONFIG.updated({name: value}), Motion.load(tmp_path / "m.safetensors")
    words = rf"^the motion was made with other settings: {resolve_name(name)} is .* there and .* now\. Invert"
    for given in (motion, kept):
        with pytest.raises(UserError, match=words):
            Maker(pair).make(given, "one", 1, other)
    with pytest.raises(UserError, match=words):
        alone(pair, Motion.stack([motion], "cpu"), *torch.zeros(2, 1, 5, tiny.WIDTH), [1], other, print)


def test_a_motion_serves_the_pair_that_it_was_made_with(pair, motion: Motion) -> None:
    other = replace(pair, spec=replace(pair.spec, name="another"))
    with pytest.raises(UserError, match='pair is "tiny" there and "another" now'):
        generate(other, [motion], ["one"], [1], tiny.CONFIG)


def test_a_clip_of_the_wrong_size_is_refused(pair) -> None:
    with pytest.raises(BadSample, match=r"uint8 \(4, 16, 16, 3\)"):
        invert(pair, FRAMES[:3], tiny.CONFIG)
