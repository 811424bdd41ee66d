"""Wan's pairs from files as a user with the public ones has them, at tiny widths."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from motionecho.config import Placement
from motionecho.echo import generate
from motionecho.errors import UserError
from motionecho.inversion import invert
from motionecho.models.pair import ModelPair
from motionecho.models.registry import PAIRS, PairSpec, pair_spec
from motionecho.models.speed.offload import Berthed
from motionecho.models.wan import pair as wan
from motionecho.models.wan.forms import Setup, setup_of
from motionecho.models.weights.checkpoint import Misfit
from tests.models.wan import public

CPU = Placement(device="cpu")
SMALL = ("wan2.1-1.3b", "wan2.1-1.3b-blade", "wan2.1-1.3b-causvid")
LAYERS = {name: tuple(its.replace("14", "1") for its in layers)
          for name, layers in PAIRS["wan2.1-1.3b"].layers.items()}  # fmt: skip
QUICK = {"steps": 2, "guided_fraction": 1.0, "activation": "always", "teacher_max_steps": 1,
         "channel_share": 0.5}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return public.write(tmp_path_factory.mktemp("weights"))


def tiny(name: str, *weights: object) -> PairSpec:
    return replace(pair_spec(f"{name}@9x32x64", tuple(map(str, weights))), layers=LAYERS)


def setup(name: str) -> Setup:
    return replace(setup_of(name), form=public.TINY)


def load(name: str, *weights: object, place: Placement = CPU, dtype: str = "auto") -> ModelPair:
    return wan.load(tiny(name, *weights), place, dtype, setup(name))


def made(pair: ModelPair, **changes: object) -> tuple[Tensor, dict[str, Any]]:
    frames = np.random.default_rng(0).integers(0, 255, (9, 32, 64, 3), dtype=np.uint8)
    config = pair.spec.config(changes=QUICK | changes)
    motion = invert(pair, frames, config)
    latents, (trace,) = generate(pair, [motion], ["a fox"], [7], config)
    return latents, trace.summary()


@pytest.mark.parametrize("name", SMALL)
def test_a_clip_becomes_a_video(name: str, folder: Path) -> None:
    pair = load(name, folder)
    latents, summary = made(pair)
    assert bool(torch.isfinite(latents).all())
    assert summary["evaluations"]["student_guided"] == 0  # a student that is loses the prompt
    assert summary["evaluations"]["teacher_guided"] > 0
    video = pair.codec.decode(latents)
    assert (video.shape, video.dtype) == ((1, 9, 32, 64, 3), np.uint8)


def test_a_student_is_guided_where_that_is_asked_for(folder: Path) -> None:
    pair, alone = load("wan2.1-1.3b-blade", folder), {"method": "guided-student", "activation": "never"}
    spent = made(pair, **alone)[1]["evaluations"]
    assert spent["student_guided"] == 2
    assert spent["teacher"] == spent["teacher_guided"] == 0


@pytest.mark.parametrize("strategy", ["motionclone", "dmt", "ditflow", "flowmotion"])
def test_other_strategies_run_and_those_that_train_are_not_had(strategy: str, folder: Path) -> None:
    pair = load("wan2.1-1.3b-blade", folder)
    assert bool(torch.isfinite(made(pair, strategy=strategy)[0]).all())
    with pytest.raises(UserError, match='has no strategy "motiondirector"'):
        pair.spec.config(changes={"strategy": "motiondirector"})


def test_a_lora_student_shares_the_network_and_leaves_the_teacher_alone(folder: Path) -> None:
    pair, z = load("wan2.1-1.3b-blade", folder), torch.randn(1, 16, 3, 4, 8)
    text, at = pair.encode_text(["a fox"]), pair.schedule.at(600)
    assert pair.student.network is pair.teacher.network
    with torch.no_grad():
        teacher = pair.teacher.x0(z, at, text)
        student = pair.student.x0(z, at, text)
        assert not torch.allclose(teacher, student, atol=0.01)
        assert torch.equal(pair.teacher.x0(z, at, text), teacher)
        net = public.network(0)
        with public.beside(net, public.lora()).on():
            flow = net(z, torch.tensor([600.0]), text).sample
    torch.testing.assert_close(student, z - 0.6 * flow, rtol=1e-4, atol=1e-4)


def test_a_gradient_that_computes_again_is_still_the_student_s(folder: Path) -> None:
    found = []
    for again in (False, True):
        pair = load("wan2.1-1.3b-blade", folder)
        pair.student.checkpointing = again
        z = torch.randn(1, 16, 3, 4, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        x0 = pair.student.x0(z, pair.schedule.at(600), pair.encode_text(["a fox"]))
        found.append(torch.autograd.grad(x0.square().sum(), z)[0])
    assert torch.equal(*found)


def test_networks_that_take_turns_make_the_same_video(folder: Path) -> None:
    for name in SMALL[:2]:
        taking_turns = load(name, folder, place=Placement(device="cpu", offload=True))
        assert isinstance(taking_turns.student, Berthed)
        assert torch.equal(made(taking_turns)[0], made(load(name, folder))[0])


def test_in_bfloat16_the_teacher_is_near(folder: Path) -> None:
    z, at = torch.randn(1, 16, 3, 4, 8), 600
    pairs = [load("wan2.1-1.3b", folder, dtype=dtype) for dtype in ("float32", "bfloat16")]
    with torch.no_grad():
        full, half = (p.teacher.x0(z, p.schedule.at(at), p.encode_text(["a fox"])) for p in pairs)
    assert torch.cosine_similarity(full.flatten(), half.flatten(), dim=0) > 0.999
    assert pairs[1].teacher.network.dtype == pairs[1].codec.dtype == torch.bfloat16


def test_a_student_that_is_the_teacher_s_own_file_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="would be both teacher and student; name the student's weights"):
        load("wan2.1-1.3b", folder, f"student={next((folder / public.WAN).rglob('*.index.json'))}")


def test_the_original_folder_is_read_too(folder: Path, tmp_path: Path) -> None:
    torch.save(public.original_vae(public.autoencoder().state_dict()), tmp_path / "Wan2.1_VAE.pth")
    torch.save(public.original(public.network(0).state_dict()), tmp_path / "wan.pth")
    other = load(
        "wan2.1-1.3b", folder, f"teacher={tmp_path / 'wan.pth'}", f"vae={tmp_path / 'Wan2.1_VAE.pth'}"
    )
    assert torch.equal(made(other)[0], made(load("wan2.1-1.3b", folder))[0])


@pytest.mark.parametrize("name", SMALL)
def test_weights_that_fit_are_found_to_fit(name: str, folder: Path) -> None:
    loads = wan.networks(tiny(name, folder).paths(), (public.TINY,))
    assert list(loads) == ["teacher", "student", "autoencoder", "text encoder"]
    for check in loads.values():
        check()


def test_what_does_not_fit_is_found_without_loading_the_pair(folder: Path, tmp_path: Path) -> None:
    lora = public.lora() | {"transformer.blocks.7.attn1.to_q.lora_A.weight": torch.zeros(4, 24)}
    torch.save(lora, tmp_path / "lora.pt")
    paths = tiny("wan2.1-1.3b-blade", folder, f"student={tmp_path / 'lora.pt'}").paths()
    with pytest.raises(Misfit) as refused:
        wan.networks(paths, (public.TINY,))["student"]()
    assert [each.tensor for each in refused.value.mismatches] == [
        "transformer.blocks.7.attn1.to_q.lora_A.weight"
    ]
    with pytest.raises(Misfit):  # among the published forms there is none so small
        wan.networks(paths)["teacher"]()


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.1-14b"])
def test_random_weights_stand_in_for_all(name: str) -> None:
    pair = load(name, "random")
    assert bool(torch.isfinite(made(pair)[0]).all())
    assert (pair.student.network is pair.teacher.network) == setup(name).lora
    states = pair.encode_text(["a fox", ""])
    assert states.shape == (2, 512, public.TINY.text)
    assert not states[0, 6:].any()
    assert states[0, :6].all()
    assert states[1, 0].any()
    assert not states[1, 1:].any()


def test_a_stage_for_texts_gives_the_pair_s_own_states(folder: Path) -> None:
    spec = tiny("wan2.1-1.3b", folder)
    assert spec.text_stage
    assert spec.lost_of("a fox") == ""
    encoded, pair = wan.load_text(spec, CPU)("a fox"), load("wan2.1-1.3b", folder)
    expected = pair.encode_text(["a fox"])[0]
    assert torch.equal(encoded.states.float(), expected[: len(encoded.ids)])
    assert pair.remember is not None
    pair.remember(replace(encoded, states=torch.ones_like(encoded.states)))
    assert torch.equal(
        pair.encode_text(["a fox"])[0, : len(encoded.ids)], torch.ones_like(encoded.states).float()
    )
    random = wan.load_text(tiny("wan2.1-1.3b", "random"), CPU)("a fox")
    assert random.states.shape == (len("a fox") + 1, 4096)


def test_what_a_gradient_keeps_decides_whether_it_is_computed_again(folder: Path, monkeypatch: Any) -> None:
    asked = tiny("wan2.1-1.3b", folder)
    for free, again in ((1e12, False), (1e3, True)):
        monkeypatch.setattr(wan, "free_bytes", lambda _, free=free: free)
        assert wan.load(asked, CPU, "auto", setup("wan2.1-1.3b")).student.checkpointing is again
