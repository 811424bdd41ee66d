"""The denoiser's own walk through the blocks is diffusers' network, seen into and left early."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import CogVideoXPipeline
from torch import Tensor

from motionecho.denoiser import Kind, Probe, Seen, Tap, observe
from motionecho.errors import UserError
from motionecho.guidance.steering import Update
from motionecho.guidance.strategy import strategy_of
from motionecho.models.cogvideox import denoiser as cogvideox
from motionecho.models.cogvideox.denoiser import CogVideoXDenoiser
from motionecho.models.cogvideox.forms import schedule_of
from motionecho.models.registry import pair_spec
from motionecho.models.transformer_pairs import read_layers
from motionecho.models.weights.lora import beside
from motionecho.schedules import trailing
from tests.models.cogvideox import public
from tests.models.descent import loss_after, target_of

CPU = torch.device("cpu")
SCHEDULE = schedule_of()
NET = public.network()
Z, TEXT = public.noise(2, 16, 3, 8, 12), public.noise(2, 7, 32, seed=1)  # 4 x 6 patches
QUERIES, KEYS = (Tap("transformer_blocks.1.attn1", kind) for kind in ("queries", "keys"))
FEATURES = Tap("transformer_blocks.1", "features")
LAYERS = read_layers("transformer_blocks.1")


def ours(net: Any = NET, **settings: Any) -> CogVideoXDenoiser:
    return CogVideoXDenoiser(net, trailing, {}, **settings)


def rotations(frames: int, height: int, width: int, net: Any = NET) -> tuple[Tensor, Tensor]:
    """Positions by the published pipeline, for latents of this size."""
    bare: Any = SimpleNamespace(vae_scale_factor_spatial=8, transformer=net)
    return CogVideoXPipeline._prepare_rotary_positional_embeddings(bare, 8 * height, 8 * width, frames, CPU)


def theirs(z: Tensor, t: float, net: Any = NET) -> Tensor:
    """The clean video that diffusers' network means."""
    frames, height, width = z.shape[2:]
    at = SCHEDULE.at(t)
    v = net(
        z.transpose(1, 2), TEXT[: len(z)], torch.tensor([t] * len(z)),
        image_rotary_emb=rotations(frames, height, width, net),
    ).sample  # fmt: skip
    return at.alpha * z - at.sigma * v.transpose(1, 2)


def apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize("t", [999.0, 874.0, 500.0, 1.0])
def test_it_answers_what_the_network_means(t: float) -> None:
    with torch.no_grad():
        found = ours().x0(Z, SCHEDULE.at(t), TEXT)
        assert found.shape == Z.shape
        assert apart(found, theirs(Z, t)) <= 1e-5


@pytest.mark.parametrize("size", [(13, 60, 90), (3, 8, 12), (2, 60, 104), (1, 96, 64), (2, 40, 64)])
def test_positions_are_the_published_pipeline_s(size: tuple[int, int, int]) -> None:
    frames, height, width = size
    found = cogvideox._rotation(16, (frames, height // 2, width // 2), (30, 45), CPU)
    for table, published in zip(found, rotations(*size), strict=True):
        assert torch.equal(table, published)


def test_its_gradient_is_the_network_s() -> None:
    mine, other = (Z.clone().requires_grad_() for _ in range(2))
    found = torch.autograd.grad(ours().x0(mine, SCHEDULE.at(874), TEXT).square().sum(), mine)[0]
    wanted = torch.autograd.grad(theirs(other, 874).square().sum(), other)[0]
    assert apart(found, wanted) <= 1e-5


def test_features_are_a_block_s_output_of_video_alone() -> None:
    seen = []
    hook = NET.transformer_blocks[1].register_forward_hook(lambda *of: seen.append(of[2][0]))
    with torch.no_grad():
        theirs(Z, 874)
    hook.remove()
    shown = observe(ours(), Z, SCHEDULE.at(874), TEXT, [FEATURES]).seen[FEATURES]
    assert shown.shape == (2, 3, 32, 4, 6)
    assert apart(shown, seen[0].unflatten(1, (3, 4, 6)).movedim(-1, 2)) <= 1e-5
    frame, row, column = 2, 3, 1  # the token of a place, width fastest
    assert apart(shown[:, frame, :, row, column], seen[0][:, (frame * 4 + row) * 6 + column]) <= 1e-5


def test_queries_and_keys_are_what_attention_compares(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Tensor, Tensor]] = []
    real = F.scaled_dot_product_attention

    def watched(q: Tensor, k: Tensor, *rest: Any, **named: Any) -> Tensor:
        compared.append((q, k))
        return real(q, k, *rest, **named)

    with monkeypatch.context() as patched, torch.no_grad():
        patched.setattr(F, "scaled_dot_product_attention", watched)
        theirs(Z, 874)
    q, k = (tensor[:, :, TEXT.shape[1] :] for tensor in compared[1])  # behind the words, [b, heads, n, d]
    seen = observe(ours(), Z, SCHEDULE.at(874), TEXT, [QUERIES, KEYS]).seen
    queries, keys = (seen[tap].flatten(3).transpose(2, 3).flatten(1, 2) for tap in (QUERIES, KEYS))
    assert apart(queries @ keys.mT, (q @ k.mT / 16**0.5).mean(1)) <= 1e-5


def ended(net: Any, taps: tuple[Tap, ...], stop: bool, **settings: Any) -> tuple[Tensor, int]:
    """The gradient of what is seen at the latents, and how many blocks ran."""
    ran: list[int] = []
    hooks = [b.register_forward_hook(lambda *_: ran.append(1)) for b in net.transformer_blocks]
    z, probe = Z.clone().requires_grad_(), Probe(taps, ends=stop)
    with suppress(Seen):
        ours(net, **settings).x0(z, SCHEDULE.at(874), TEXT, probe)
    for hook in hooks:
        hook.remove()
    count = len(ran)
    return torch.autograd.grad(sum(seen.square().sum() for seen in probe.seen.values()), z)[0], count


@pytest.mark.parametrize(("taps", "blocks"), [((FEATURES,), 2), ((QUERIES, KEYS), 1)])
def test_a_pass_that_ends_early_has_the_same_gradient(taps: tuple[Tap, ...], blocks: int) -> None:
    (early, ran), (whole, all_of_them) = ended(NET, taps, True), ended(NET, taps, False)
    assert (ran, all_of_them) == (blocks, 3)
    assert torch.equal(early, whole)
    assert early.abs().max() > 0


def test_a_gradient_that_computes_again_is_the_same_and_still_the_lora_s() -> None:
    net = public.network()
    using = beside(net, public.lora(), "a network").on
    for taps in ((FEATURES,), (QUERIES, KEYS)):
        found = [ended(net, taps, True, using=using, checkpointing=again)[0] for again in (False, True)]
        assert torch.equal(*found)
        assert apart(found[0], ended(public.merged(public.lora()), taps, True)[0]) <= 1e-4
        assert apart(found[0], ended(net, taps, True)[0]) > 0.01


@pytest.mark.parametrize("times", [(999, 874), (749, 624)])
@pytest.mark.parametrize("update", ["x0", "direction", "velocity"])
@pytest.mark.parametrize("strategy", ["moft", "ditflow"])
def test_one_small_step_lowers_the_motion_loss(
    strategy: str, update: Update, times: tuple[float, float]
) -> None:
    denoiser = CogVideoXDenoiser(NET, trailing, LAYERS)
    changes = {"strategy": strategy, "channel_share": 0.5}
    energy = strategy_of(denoiser, pair_spec("cogvideox-5b").config(changes=changes).reference).energy
    target = target_of(denoiser, Z.flip(0)[:1], SCHEDULE.at(0), TEXT[:1], energy)

    def after(strength: float) -> float:
        return loss_after(strength, denoiser, SCHEDULE, Z[:1], times, TEXT[:1], energy, target, update)

    small = 0.002 if update == "x0" else 0.02
    assert after(small) < after(0.0) < after(-small)


@pytest.mark.parametrize(("layer", "kind"), [("transformer_blocks.3", "features"), ("blocks.1", "features"),
                                             ("transformer_blocks.1", "queries")])  # fmt: skip
def test_what_it_does_not_have_is_said(layer: str, kind: Kind) -> None:
    with pytest.raises(UserError, match=f'"{layer}" is no '):
        observe(ours(), Z, SCHEDULE.at(874), TEXT, [Tap(layer, kind)])


def test_layers_have_weights_and_a_size() -> None:
    assert ours().shrinks("transformer_blocks.1") == 2
    assert ours().weight("transformer_blocks.1.attn1.to_q").shape == (32, 32)
    with pytest.raises(UserError, match="is no linear layer"):
        ours().weight("transformer_blocks.1.attn1.norm_q")
