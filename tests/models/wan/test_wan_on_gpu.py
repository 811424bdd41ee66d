"""What only an accelerator can show of Wan's pairs: graphs of their passes, half precision, the decoder."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from motionecho.bench.sampler import STEADY, clip_of
from motionecho.config import Placement
from motionecho.denoiser import Denoiser, Energy, Target, observe
from motionecho.echo import generate
from motionecho.guidance.ditflow import AttentionFlow
from motionecho.guidance.dmt import strategy as dmt
from motionecho.guidance.moft import MotionChannels
from motionecho.guidance.motionclone import Top1Between
from motionecho.guidance.steering import LIFT, stack
from motionecho.inversion import invert
from motionecho.models.pair import ModelPair
from motionecho.models.registry import pair_spec
from motionecho.models.speed.graphs import Recorded, Workspace
from motionecho.models.wan import pair as wan
from motionecho.models.wan.forms import Form, setup_of
from tests.models.wan import public
from tests.models.wan.test_wan_pair import LAYERS, QUICK

pytestmark = pytest.mark.gpu
FORM = Form(heads=2, ffn=512, blocks=3, head=128, text=32, vae=public.VAE | {"base_dim": 32})
BLOCK = ("blocks.1",)
ENERGIES: dict[str, Energy] = {
    "moft": MotionChannels(BLOCK, 0.0, 0.1),
    "motionclone": Top1Between(("blocks.1.attn1",), 0.0),
    "ditflow": AttentionFlow(("blocks.1.attn1",), 0.0, 2.0),
}


def load(name: str = "wan2.1-1.3b", dtype: str = "auto", **how: bool) -> ModelPair:
    spec = replace(pair_spec(f"{name}@9x128x192", ("random",)), layers=LAYERS)
    return wan.load(spec, Placement(device="cuda", **how), dtype, replace(setup_of(name), form=FORM))


@pytest.fixture(scope="module", params=["wan2.1-1.3b", "wan2.1-1.3b-blade"])
def pairs(request: pytest.FixtureRequest) -> Iterator[tuple[ModelPair, ModelPair]]:
    """A pair on fused kernels and recorded, and the same on diffusers' blocks in float32."""
    yield load(request.param), load(request.param, "float32", eager=True)
    torch.cuda.empty_cache()


def looked(denoiser: Denoiser, pair: ModelPair, energy: Energy) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    z, other = torch.randn(2, 1, *pair.codec.shape, generator=draw).to("cuda")
    text, at = pair.encode_text(["a fox"]), pair.schedule.at(600.0)
    with torch.no_grad():
        probe = observe(denoiser, other, pair.schedule.at(400.0), text, energy.taps)
        target: Target = stack([energy.target(probe)])
        x0 = denoiser.x0(z, at, text)
        look = denoiser.look(z, at, text, energy, target)
        return [x0, look.x0, look.loss, look.gradient(torch.full_like(look.loss, LIFT)) / LIFT]


def near(one: Tensor, other: Tensor) -> float:
    return float((one.float() - other.float()).norm() / other.float().norm())


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("again", [False, True])
def test_recorded_passes_are_the_eager_ones_to_the_bit(
    pairs: tuple[ModelPair, ModelPair], role: str, name: str, again: bool
) -> None:
    fast: Any = getattr(pairs[0], role)
    assert isinstance(fast, Recorded)
    fused: Any = fast.denoiser
    fused.checkpointing, anew = again, Recorded(fused, Workspace())
    first, *others = (looked(each, pairs[0], ENERGIES[name]) for each in (fused, anew, anew))
    for other in others:
        assert all(torch.equal(one, same) for one, same in zip(first, other, strict=True))
    fused.checkpointing = False


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_half_precision_is_near_diffusers_in_single(pairs: tuple[ModelPair, ModelPair], role: str) -> None:
    energy = ENERGIES["moft"]
    exact, half = (looked(getattr(pair, role), pair, energy) for pair in reversed(pairs))
    assert max(near(half[k], exact[k]) for k in (0, 1)) < 0.03
    assert half[2].item() == pytest.approx(exact[2].item(), rel=0.05)
    assert torch.cosine_similarity(half[3].flatten(), exact[3].flatten(), dim=0) > 0.97


def test_every_energy_is_recorded_in_one_workspace(pairs: tuple[ModelPair, ModelPair]) -> None:
    pair, _ = pairs
    energies = [
        *ENERGIES.values(),
        dmt(pair.teacher, replace(pair.spec.defaults.reference, strategy="dmt")).energy,
    ]
    first = [looked(pair.teacher, pair, energy) for energy in energies]
    again = [looked(pair.teacher, pair, energy) for energy in energies]
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_videos_are_the_same_bits_twice(pairs: tuple[ModelPair, ModelPair]) -> None:
    first, second = (made_of(pairs[0]) for _ in range(2))
    assert torch.equal(first, second)


def made_of(pair: ModelPair) -> Tensor:
    config = pair.spec.config(changes=QUICK | STEADY)
    motion = invert(pair, clip_of(pair), config)
    return generate(pair, [motion], ["a fox"], [7], config)[0].cpu()


def test_the_fused_decoder_is_near_diffusers(pairs: tuple[ModelPair, ModelPair]) -> None:
    z = torch.randn(1, *pairs[0].codec.shape, generator=torch.Generator().manual_seed(1)).to("cuda")
    fast, slow = (pair.codec.decode(z).astype(float) for pair in pairs)
    assert abs(fast - slow).mean() < 2
