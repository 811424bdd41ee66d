"""CogVideoX's pair from files as a user with the public ones has them, at tiny widths."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline
from torch import Tensor
from transformers import AutoTokenizer

from motionecho.config import Placement
from motionecho.echo import generate
from motionecho.errors import UserError
from motionecho.inversion import invert
from motionecho.models.cogvideox import pair as cogvideox
from motionecho.models.cogvideox.settings import HUB
from motionecho.models.cogvideox.text import READING
from motionecho.models.pair import ModelPair
from motionecho.models.registry import PAIRS, PairSpec, pair_spec
from motionecho.models.speed.offload import Berthed
from motionecho.models.t5.encoder import load_encoder, read_encoder
from motionecho.models.t5.text import TextStates
from motionecho.models.weights.checkpoint import Misfit
from tests.models.cogvideox import public

CPU = Placement(device="cpu")
NAME = "cogvideox-5b"
LAYERS = {name: tuple(its.replace("20", "1") for its in layers)
          for name, layers in PAIRS[NAME].layers.items()}  # fmt: skip
QUICK = {"steps": 2, "guided_fraction": 1.0, "activation": "always", "teacher_max_steps": 1,
         "channel_share": 0.5}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return public.write(tmp_path_factory.mktemp("weights"))


def tiny(*weights: object) -> PairSpec:
    return replace(pair_spec(f"{NAME}@9x32x64", tuple(map(str, weights))), layers=LAYERS)


def load(*weights: object, place: Placement = CPU, dtype: str = "auto") -> ModelPair:
    return cogvideox.load(tiny(*weights), place, dtype, public.TINY)


def made(pair: ModelPair, **changes: object) -> tuple[Tensor, dict[str, Any]]:
    frames = np.random.default_rng(0).integers(0, 255, (9, 32, 64, 3), dtype=np.uint8)
    config = pair.spec.config(changes=QUICK | changes)
    motion = invert(pair, frames, config)
    latents, (trace,) = generate(pair, [motion], ["a fox"], [7], config)
    return latents, trace.summary()


def test_a_clip_becomes_a_video(folder: Path) -> None:
    pair = load(folder)
    latents, summary = made(pair)
    assert latents.shape == (1, 16, 3, 4, 8)
    assert bool(torch.isfinite(latents).all())
    assert summary["evaluations"]["student_guided"] == 0
    assert summary["evaluations"]["teacher_guided"] > 0
    video = pair.codec.decode(latents)
    assert (video.shape, video.dtype) == ((1, 9, 32, 64, 3), np.uint8)


@pytest.mark.parametrize("changes", [
    {"strategy": "motionclone"}, {"strategy": "dmt"}, {"strategy": "ditflow"}, {"strategy": "flowmotion"},
    {"student_update": "velocity", "teacher_update": "velocity"}, {"student_update": "x0"},
    {"inversion_steps": 3, "noise_blend": 0.1, "student_noise": "mixed"}, {"method": "teacher"},
], ids=str)  # fmt: skip
def test_other_ways_are_finite_from_pure_noise_on(changes: dict[str, object], folder: Path) -> None:
    few = {"teacher_grid_steps": 3, "restart": True} if "method" in changes else {}
    assert bool(torch.isfinite(made(load(folder), **changes, **few)[0]).all())


def test_strategies_that_train_are_not_had(folder: Path) -> None:
    with pytest.raises(UserError, match='has no strategy "motiondirector"'):
        tiny(folder).config(changes={"strategy": "motiondirector"})


def test_the_student_shares_the_network_and_leaves_the_teacher_alone(folder: Path) -> None:
    pair, z = load(folder), public.noise(1, 16, 3, 4, 8)
    text, at = pair.encode_text(["a fox"]), pair.schedule.at(600)
    assert pair.student.network is pair.teacher.network
    assert pair.student.noise == "fresh"
    with torch.no_grad():
        teacher, student = pair.teacher.x0(z, at, text), pair.student.x0(z, at, text)
        assert not torch.allclose(teacher, student, atol=0.01)
        assert torch.equal(pair.teacher.x0(z, at, text), teacher)
        other = type(pair.teacher)(public.merged(public.lora()), pair.teacher.grid, {})
        torch.testing.assert_close(student, other.x0(z, at, text), rtol=1e-4, atol=1e-4)


def test_networks_that_take_turns_make_the_same_video(folder: Path) -> None:
    taking_turns = load(folder, place=Placement(device="cpu", offload=True))
    assert isinstance(taking_turns.student, Berthed)
    assert torch.equal(made(taking_turns)[0], made(load(folder))[0])


def test_float16_is_refused_and_bfloat16_is_near(folder: Path) -> None:
    with pytest.raises(UserError, match=r"^pair cogvideox-5b\S* makes black videos in float16: run it in bf"):
        load(folder, dtype="float16")
    z = public.noise(1, 16, 3, 4, 8)
    pairs = [load(folder, dtype=dtype) for dtype in ("float32", "bfloat16")]
    with torch.no_grad():
        full, half = (p.teacher.x0(z, p.schedule.at(600), p.encode_text(["a fox"])) for p in pairs)
    assert torch.cosine_similarity(full.flatten(), half.flatten(), dim=0) > 0.99
    assert pairs[1].teacher.network.dtype == pairs[1].codec.dtype == torch.bfloat16


def test_weights_that_fit_are_found_to_fit_and_others_not(folder: Path, tmp_path: Path) -> None:
    loads = cogvideox.networks(tiny(folder).paths(), public.TINY)
    assert list(loads) == ["teacher", "student", "autoencoder", "text encoder"]
    for check in loads.values():
        check()
    torch.save(public.lora() | {"transformer.proj_in.lora_A.weight": torch.zeros(4, 24)}, tmp_path / "l.pt")
    paths = tiny(folder, f"student={tmp_path / 'l.pt'}").paths()
    with pytest.raises(Misfit, match=r"no place in CogVideoX's transformer.*: transformer\.proj_in\.lora_A"):
        cogvideox.networks(paths, public.TINY)["student"]()
    with pytest.raises(Misfit):  # the published form is not so small
        cogvideox.networks(paths)["teacher"]()
    teacher = next((folder / HUB / "transformer").glob("*.index.json"))
    with pytest.raises(UserError, match="would be both teacher and student"):
        load(folder, f"student={teacher}")


def test_a_whole_network_is_a_student_too(folder: Path, tmp_path: Path) -> None:
    torch.save(public.network(1).state_dict(), tmp_path / "whole.pt")
    pair = load(folder, f"student={tmp_path / 'whole.pt'}")
    assert pair.student.network is not pair.teacher.network
    assert bool(torch.isfinite(made(pair)[0]).all())


def test_random_weights_stand_in_for_all() -> None:
    pair = load("random")
    assert bool(torch.isfinite(made(pair)[0]).all())
    states = pair.encode_text(["a fox", ""])
    assert states.shape == (2, 226, public.TINY.text)
    assert bool(states.abs().amax(-1).all()), "no pad is a zero"


def test_states_are_those_of_the_published_pipeline(folder: Path) -> None:
    """Pads are attended to, and their states seen, unlike Wan's."""
    paths = tiny(folder).paths()
    state, tokens = read_encoder(paths, READING.kind), READING.tokenizer_of(paths)
    bare: Any = SimpleNamespace(
        tokenizer=AutoTokenizer.from_pretrained(paths["tokenizer/words"].parent),
        text_encoder=load_encoder(state, READING.kind, torch.device("cpu"), torch.float32),
    )
    prompts = ["", "a fox", "a  fox\njumps &amp; runs", "b c " * 150]
    wanted = CogVideoXPipeline._get_t5_prompt_embeds(bare, prompts, device="cpu", dtype=torch.float32)
    found = TextStates(READING, state, torch.device("cpu"), dtype=torch.float32)(tokens(prompts))
    assert found.shape == wanted.shape == (4, 226, 32)
    assert (found - wanted).abs().max() <= 1e-5
    assert tiny(folder).lost_of("b c " * 150 + "fox").endswith("fox")


def test_a_stage_for_texts_gives_the_pair_s_own_states(folder: Path) -> None:
    spec, pair = tiny(folder), load(folder)
    assert spec.text_stage
    encoded = cogvideox.load_text(spec, CPU)("a fox")
    assert (len(encoded.ids) < 10, encoded.states.shape) == (True, (226, 32))
    assert torch.equal(encoded.states.float(), pair.encode_text(["a fox"])[0])
    assert pair.remember is not None
    pair.remember(replace(encoded, states=torch.ones_like(encoded.states)))
    assert bool((pair.encode_text(["a fox"]) == 1).all())
    assert cogvideox.load_text(tiny("random"), CPU)("a fox").states.shape == (226, 4096)
