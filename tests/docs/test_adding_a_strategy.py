"""The worked example of docs/adding_a_strategy.md, taken from the page and followed from clip to video."""

import ast
import re
import shlex
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tiny
import torch

from motionecho.config import STRATEGIES, EchoConfig
from motionecho.denoiser import Ask, Probe, Tap, observe
from motionecho.echo import generate
from motionecho.errors import UserError
from motionecho.guidance.steering import Shift, Update, stack
from motionecho.guidance.strategy import strategy_of
from motionecho.inversion import Motion, invert
from motionecho.models.pair import ModelPair
from motionecho.schedules import eps_of, renoise
from tests.cli.conftest import Done, cli

__all__ = ["cli"]
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding_a_strategy.md").read_text(encoding="utf-8")
CODE, LINE = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
COMMANDS = [shlex.split(line) for line in re.findall(r"^    (motionecho .*)", PAGE, flags=re.M)]
((WORD, PLACE),) = ast.literal_eval(f"{{{LINE}}}").items()
FRAMES = np.random.default_rng(0).integers(0, 255, (2, 4, 16, 16, 3), dtype=np.uint8)
TAPS = tuple(Tap(layer) for layer in tiny.LAYERS)


@pytest.fixture(autouse=True)
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the page where it says that it is, and its one line in STRATEGIES."""
    name = PLACE.split(":")[0]
    assert f"`{name.replace('.', '/')}.py`" in PAGE
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(CODE, vars(module))
    monkeypatch.setitem(STRATEGIES, WORD, PLACE)


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return tiny.pair()


def config(**changes: object) -> EchoConfig:
    return tiny.CONFIG.updated({"strategy": WORD} | changes)


def test_the_example_is_small_and_its_line_is_one() -> None:
    assert len((CODE + LINE).splitlines()) <= 40
    assert LINE.count("\n") == 1


def test_settings_choose_it_by_its_word() -> None:
    assert EchoConfig.of(strategy=WORD) == EchoConfig().updated({"strategy": f" {WORD} "})
    assert config().reference.to_dict() == tiny.CONFIG.reference.to_dict() | {"strategy": WORD}  # in the key
    sentence = rf'strategy="whole_map" is no strategy \(did you mean "{WORD}"\?\); known: .*\b{WORD}\b'
    with pytest.raises(UserError, match=sentence):
        EchoConfig().updated({"strategy": "whole_map"})


def test_it_is_made_for_a_network_with_its_layers_or_those_of_the_settings(pair: ModelPair) -> None:
    energy = strategy_of(pair.student, config().reference).energy
    assert (energy.taps, energy.times) == (TAPS, (400.0,))
    assert hash(energy) == hash(strategy_of(pair.teacher, config().reference).energy)
    fewer = strategy_of(pair.student, config(layers=tiny.LAYERS[:1], t_alpha=300).reference).energy
    assert (fewer.taps, fewer.times) == (TAPS[:1], (300.0,))


def test_its_loss_is_of_whole_maps_and_of_each_sample_alone(pair: ModelPair) -> None:
    energy = strategy_of(pair.student, config().reference).energy
    maps = {tap: torch.randn(2, 6, 2, 4, 4).softmax(-1) for tap in TAPS}
    alone = (Probe(TAPS, seen={tap: seen[k : k + 1] for tap, seen in maps.items()}) for k in (0, 1))
    target = stack([energy.target(probe) for probe in alone])
    assert {tensor.dtype for tensor in target.values()} == {torch.float16}
    assert energy.loss(Probe(TAPS, seen=maps), target).max() < 1e-6
    apart = {tap: torch.stack([seen[0], seen[0]]) for tap, seen in maps.items()}
    expected = sum((seen[0] - seen[1]).square().mean().item() for seen in maps.values())
    losses = energy.loss(Probe(TAPS, seen=apart), target)
    assert losses.tolist() == pytest.approx([0, expected], rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("update", ["x0", "direction"])
def test_one_small_step_lowers_its_loss(pair: ModelPair, update: Update) -> None:
    """The sign rule: both ways of steering descend."""
    net, energy = pair.teacher, strategy_of(pair.teacher, config().reference).energy
    generator = torch.Generator().manual_seed(5)
    z, reference = torch.randn(2, 1, 4, 4, 8, 8, generator=generator)
    text = torch.randn(1, 5, tiny.WIDTH, generator=generator)
    seen = observe(net, reference, pair.schedule.at(400), text, energy.taps)
    target, steer, losses = stack([energy.target(seen)]), Shift(update, "unit_rms"), []
    for strength in (0.0, 1e-2):
        at, to = pair.schedule.at(519), pair.schedule.at(479)
        moved = steer(net, z, at, text, energy, target, Ask(strength=strength))
        eps = eps_of(z, moved.plain, at)
        onward = renoise(moved.x0, eps if moved.nudge is None else eps + moved.nudge, to)
        after = steer(net, onward, to, text, energy, target, Ask(watch=True)).loss
        assert after is not None
        losses.append(after.item())
    assert losses[1] < losses[0]


def test_a_motion_s_file_has_its_targets(pair: ModelPair, tmp_path: Path) -> None:
    motion = invert(pair, FRAMES[0], config())
    motion.save(tmp_path / "m.safetensors")
    back = Motion.load(tmp_path / "m.safetensors")
    for ours, theirs in ((motion.student, back.student), (motion.teacher, back.teacher)):
        assert ours.targets.keys() == theirs.targets.keys() == {400.0}
        assert theirs.targets[400.0].keys() == {*tiny.LAYERS}
        for layer, tensor in theirs.targets[400.0].items():
            assert tensor.dtype == torch.float16
            assert torch.equal(tensor, ours.targets[400.0][layer])


def test_echo_follows_it_and_more_strength_means_a_lower_loss(pair: ModelPair) -> None:
    """Over whole trajectories: the student's last watched loss and the teacher's, each by its strength."""
    motions = [invert(pair, frames, config()) for frames in FRAMES]

    def losses(**changes: object) -> tuple[float, float]:
        asked = config(activation="always", guided_fraction=1.0, endpoint_guidance=False, **changes)
        latents, traces = generate(pair, motions, ["one", "three"], [1, 2], asked)
        assert torch.isfinite(latents).all()
        last, first = ([trace.steps[k] for trace in traces] for k in (-1, 0))
        return sum(step.loss or 0 for step in last), sum(step.teacher_loss or 0 for step in first)

    by_student = [losses(student_strength=s, teacher_weight=0)[0] for s in (0.02, 0.1, 0.3)]
    by_teacher = [losses(teacher_strength=s, teacher_max_steps=4)[1] for s in (0.001, 0.05)]
    assert all(after < before for before, after in pairwise(by_student))
    assert by_teacher[1] < by_teacher[0]


def test_a_command_makes_a_video_with_it(
    cli: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = [str(tmp_path / "v.mp4") if word == "star.mp4" else word for word in COMMANDS[0][1:]]
    quick = ("--set", "steps=1", "--set", "inversion_steps=1", "--set", "activation=always", "--json")
    done = cli(*words, *quick)
    assert done.code == 0, done.err
    assert (tmp_path / "v.mp4").exists()
