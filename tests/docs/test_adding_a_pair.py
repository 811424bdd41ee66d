"""The worked example of docs/adding_a_pair.md, taken from the page: weights are written, a video is made."""

import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from motionecho.config import Placement
from motionecho.denoiser import Denoiser, observe
from motionecho.guidance.motionclone import Top1Attention
from motionecho.guidance.steering import stack
from motionecho.make import Maker
from motionecho.models import registry
from motionecho.models.pair import ModelPair
from motionecho.models.toy import nets
from motionecho.models.weights.checkpoint import Misfit, shapes
from motionecho.models.weights.random_weights import random_tensors
from motionecho.schedules import uniform
from tests.cli.conftest import Done, cli, clip

__all__ = ["cli", "clip"]
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding_a_pair.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`(motionecho/\S+)\.py`:\n\n```python\n(.*?)^```", PAGE, flags=re.M | re.S))
SETTINGS, LOADING, HOOKED = (f"motionecho/models/mine/{name}" for name in ("settings", "pair", "hooked"))
COMMANDS = [shlex.split(line) for line in re.findall(r"^    (motionecho .*)", PAGE, flags=re.M)]
PROMPT = "a red star on a blue background"
QUICK = {"steps": 1, "inversion_steps": 1, "guided_fraction": 1.0, "activation": "always",
         "teacher_grid": "interval", "teacher_max_steps": 1, "endpoint_guidance": False}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the family, with weights: random ones that keep a signal's size."""
    folder = tmp_path_factory.mktemp("mine")
    build = {"student": nets.build_unet, "teacher": nets.build_unet, "vae": nets.build_vae}
    for seed, (part, make) in enumerate({**build, "text": nets.WordEncoder}.items()):
        save_file(random_tensors(shapes(make().state_dict()), seed), folder / f"{part}.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _added(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the page where it says that they are, and their pairs among the others."""
    assert FILES.keys() == {SETTINGS, LOADING, HOOKED}
    for path, code in FILES.items():
        name = path.replace("/", ".")
        module = ModuleType(name)
        module.__file__ = str(home / f"{name.rpartition('.')[2]}.py")
        monkeypatch.setitem(sys.modules, name, module)
        exec(code, vars(module))
    for spec in of(SETTINGS).PAIRS:
        monkeypatch.setitem(registry.PAIRS, spec.name, spec)


@pytest.fixture
def pair() -> ModelPair:
    return registry.load_pair("mine", Placement(device="cpu"))


def of(path: str) -> ModuleType:
    return sys.modules[path.replace("/", ".")]


def lines(*codes: str) -> int:
    return sum(bool(line.strip()) for code in codes for line in code.splitlines())


def test_the_examples_are_small() -> None:
    assert lines(FILES[SETTINGS], FILES[LOADING]) <= 40
    assert lines(FILES[HOOKED]) <= 40


def test_it_is_known_by_its_name_and_makes_a_video_of_a_clip(pair: ModelPair, clip: Path) -> None:
    maker = Maker(pair)
    config = pair.spec.config(changes=QUICK)
    read = maker.clip(str(clip))
    made = maker.make(maker.motion(read, config), PROMPT, 7, config)
    assert (made.pair, made.frames.shape, made.frames.dtype) == ("mine", read.frames.shape, np.uint8)
    assert torch.isfinite(made.latents).all()
    counts = made.trace.evaluations()
    assert (counts["student_guided"], counts["teacher_guided"]) == (1, 1)


def test_weights_that_do_not_fit_are_named(pair: ModelPair, home: Path, tmp_path: Path) -> None:
    assert registry.check_pair(pair.spec) == {part: [] for part in of(SETTINGS).PARTS}
    tensors = random_tensors(shapes(nets.build_vae().state_dict()), 0)
    tensors.pop("encoder.conv_in.bias")
    save_file(tensors, tmp_path / "vae.safetensors")
    spec = replace(pair.spec, files={**pair.spec.files, "vae": tmp_path / "vae.safetensors"})
    found = registry.check_pair(spec)
    assert [mismatch.tensor for mismatch in found["vae"]] == ["encoder.conv_in.bias"]
    with pytest.raises(Misfit, match=r"missing: encoder\.conv_in\.bias"):
        of(LOADING).load(spec, Placement(device="cpu"), "auto")


def test_another_dtype_is_taken(home: Path) -> None:
    pair = registry.load_pair("mine", Placement(device="cpu"), "bfloat16")
    z = torch.randn(1, *pair.codec.shape)
    with torch.no_grad():
        x0 = pair.teacher.x0(z, pair.schedule.at(500), pair.encode_text([PROMPT]))
    assert x0.dtype == torch.float32


def test_hooks_read_what_the_network_computes(pair: ModelPair) -> None:
    """The page's two wrappers of one network answer alike, watched or not."""
    network = of(LOADING).networks(pair.spec.files)["teacher"]()
    hooked: Denoiser = of(HOOKED).Hooked(network, uniform(pair.schedule), pair.spec.layers)
    energy = Top1Attention(pair.spec.layers["motionclone"], 400.0)
    generator = torch.Generator().manual_seed(1)
    z, reference = torch.randn(2, 1, *pair.codec.shape, generator=generator)
    text, at, then = pair.encode_text([PROMPT]), pair.schedule.at(500), pair.schedule.at(400)
    seen = [observe(net, reference, then, text, energy.taps) for net in (pair.teacher, hooked)]
    for tap in energy.taps:
        torch.testing.assert_close(seen[0].seen[tap], seen[1].seen[tap])
    target = stack([energy.target(seen[0])])
    ours, theirs = (net.look(z, at, text, energy, target) for net in (pair.teacher, hooked))
    torch.testing.assert_close(ours.x0, theirs.x0, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.loss, theirs.loss)
    gradients = [look.gradient(torch.ones(1)).flatten() for look in (ours, theirs)]
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9999
    name = f"{pair.spec.layers['motionclone'][0]}.to_q"
    assert torch.equal(hooked.weight(name), pair.teacher.weight(name))


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[1:3]))
def test_the_commands_run(
    words: list[str], cli: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = [str(tmp_path / word) if word.endswith("star.mp4") else word for word in words[1:]]
    if words[0] == "generate":
        words += [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
    done = cli(*words)
    assert done.code == 0, done.err
    assert "mine" in done.out or (tmp_path / "star.mp4").exists()
