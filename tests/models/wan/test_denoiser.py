"""Wan's transformer walked block by block, against diffusers' own pass of it: values, taps and gradients."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers import transformer_wan
from torch import Tensor

from motionecho.denoiser import Probe, Seen, Tap, observe
from motionecho.errors import UserError
from motionecho.guidance.ditflow import AttentionFlow
from motionecho.guidance.moft import MotionChannels
from motionecho.guidance.steering import stack
from motionecho.models.wan.denoiser import WanDenoiser
from motionecho.models.wan.forms import Form
from motionecho.schedules import Flow, uniform
from tests.models.wan import public

FORM = Form(heads=3, ffn=96, blocks=4, head=16, text=24, channels=4)
GRID, MIDDLE = (3, 2, 4), 2  # places of a latent of 3 x 4 x 8; the block that is looked at
TAPS = (Tap("blocks.2.attn1", "queries"), Tap("blocks.2.attn1", "keys"), Tap("blocks.2", "features"))
FLOW = Flow(3.0)
AT = FLOW.at(737.5)
FROZEN = [-2.639892, -1.291518, -1.185960, 1.296963]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net() -> WanTransformer3DModel:
    return public.network(0, FORM)


def denoiser(net: WanTransformer3DModel, checkpointing: bool = False, **more: Any) -> WanDenoiser:
    return WanDenoiser(net, uniform(FLOW), {}, checkpointing=checkpointing, **more)


Z, TEXT = drawn(1, 2, 4, 3, 4, 8), drawn(2, 2, 7, 24)


def shown(net: WanTransformer3DModel, z: Tensor, monkeypatch: pytest.MonkeyPatch) -> dict[Tap, Tensor]:
    """What diffusers' whole pass gives its attention, and a block its successor, as taps name it."""
    attended: list[tuple[Tensor, Tensor]] = []
    features: list[Tensor] = []
    plain: Callable[..., Tensor] = transformer_wan.dispatch_attention_fn

    def spied(query: Tensor, key: Tensor, value: Tensor, **more: Any) -> Tensor:
        attended.append((query, key))
        return plain(query, key, value, **more)

    hook = net.blocks[MIDDLE].register_forward_hook(lambda block, given, made: features.append(made))
    with monkeypatch.context() as patch:
        patch.setattr(transformer_wan, "dispatch_attention_fn", spied)
        net(z, torch.full((len(z),), AT.t), TEXT)
    hook.remove()
    query, key = attended[2 * MIDDLE]  # each block attends to the video, then to the text
    found = (query.flatten(2) / (FORM.heads * FORM.head**0.5), key.flatten(2), features[0])
    return {tap: x.unflatten(1, GRID).movedim(-1, 2) for tap, x in zip(TAPS, found, strict=True)}


@pytest.mark.parametrize("t", [1000.0, 999.999, 737.5, 20.0])
def test_the_clean_video_is_that_of_diffusers_own_pass(net: WanTransformer3DModel, t: float) -> None:
    with torch.no_grad():
        flow = net(Z, torch.full((2,), t), TEXT).sample
        found = denoiser(net).x0(Z, FLOW.at(t), TEXT)
    torch.testing.assert_close(found, Z - t / 1000 * flow, rtol=1e-5, atol=1e-5)


def test_numbers_are_those_it_had_beside_wan_s_own_code(net: WanTransformer3DModel) -> None:
    with torch.no_grad():
        found = denoiser(net).x0(Z, AT, TEXT)
    torch.testing.assert_close(found[1, 2, 1, 2, 3:7], torch.tensor(FROZEN), rtol=1e-3, atol=1e-4)


def test_a_pass_that_ends_early_sees_what_the_whole_one_does(net, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = shown(net, Z, monkeypatch)
    entered: list[int] = []
    hooks = [b.register_forward_hook(lambda *_, k=k: entered.append(k)) for k, b in enumerate(net.blocks)]
    early = observe(denoiser(net), Z, AT, TEXT, TAPS)
    assert entered == [0, 1, 2], "nothing lies behind the last tap"
    entered.clear()
    observe(denoiser(net), Z, AT, TEXT, TAPS[:2])
    assert entered == [0, 1], "queries and keys come before their block's own attention"
    for hook in hooks:
        hook.remove()
    whole = Probe(TAPS)
    denoiser(net).x0(Z, AT, TEXT, whole)
    for tap in TAPS:
        torch.testing.assert_close(early.seen[tap], expected[tap], rtol=1e-5, atol=1e-6)
        assert torch.equal(whole.seen[tap], early.seen[tap])


def test_queries_times_keys_is_the_mean_over_heads(net, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = observe(denoiser(net), Z, AT, TEXT, TAPS).seen
    queries, keys = (seen[tap].movedim(2, -1).flatten(1, 3) for tap in TAPS[:2])
    mine = queries @ keys.mT
    query, key = (
        x.movedim(2, -1).flatten(1, 3).unflatten(-1, (FORM.heads, FORM.head)).transpose(1, 2)
        for x in [*shown(net, Z, monkeypatch).values()][:2]
    )
    each = FORM.heads * query @ key.mT  # of which one is divided by heads and by the root of the width
    torch.testing.assert_close(mine, each.mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "computed again"])
@pytest.mark.parametrize("ends", [False, True], ids=["whole", "early"])
@pytest.mark.parametrize("taps", [TAPS[:2], TAPS[2:]], ids=["queries and keys", "features"])
def test_a_gradient_is_that_of_diffusers_own_pass(
    net, taps: tuple[Tap, ...], ends: bool, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(seen: dict[Tap, Tensor]) -> Tensor:
        return sum(
            (torch.tanh(seen[tap]) * drawn(3 + k, *seen[tap].shape)).sum() for k, tap in enumerate(taps)
        )

    z = Z.clone().requires_grad_()
    expected = torch.autograd.grad(loss(shown(net, z, monkeypatch)), z)[0]
    mine, probe = Z.clone().requires_grad_(), Probe(taps, ends=ends)
    with suppress(Seen):
        denoiser(net, checkpointing).x0(mine, AT, TEXT, probe)
    found = torch.autograd.grad(loss(probe.seen), mine)[0]
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("energy", [
    AttentionFlow(("blocks.2.attn1",), 400.0, 2.0), MotionChannels(("blocks.2",), 400.0, share=0.5),
], ids=["flow", "channels"])  # fmt: skip
def test_a_look_is_a_plain_answer_with_a_loss_and_its_slope(net, energy: Any) -> None:
    """Checkpointing changes no bit; along the slope the loss changes as the slope says."""
    again = (observe(denoiser(net), Z[k : k + 1].flip(-1), AT, TEXT[:1], energy.taps) for k in (0, 1))
    target = stack([energy.target(probe) for probe in again])
    looks = [denoiser(net, each).look(Z, AT, TEXT, energy, target) for each in (False, True)]
    slopes = [look.gradient(torch.ones(2)) for look in looks]
    assert torch.equal(*slopes)
    assert torch.equal(looks[0].x0, looks[1].x0)
    torch.testing.assert_close(looks[0].x0, denoiser(net).x0(Z, AT, TEXT))
    norm = slopes[0].flatten(1).norm(dim=1)
    step = slopes[0] / norm.view(-1, 1, 1, 1, 1)
    up, down = (
        denoiser(net).look(Z + h * step, AT, TEXT, energy, target, gradient=False).loss for h in (1e-2, -1e-2)
    )
    torch.testing.assert_close((up - down) / 2e-2, norm, rtol=2e-3, atol=1e-5)
    untold = denoiser(net).look(Z[:1], AT, TEXT[:1], energy, {name: x[:1] for name, x in target.items()})
    torch.testing.assert_close(untold.loss, looks[0].loss[:1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("layer", "kind", "said"), [
    ("blocks.2.attn", "queries", r'"blocks.2.attn" is no attention layer over all frames .*did you mean'),
    ("blocks.4", "features", r'"blocks.4" is no layer that shows features .*did you mean "blocks.'),
    ("blocks.0.attn1", "time_attention", r"is no temporal attention layer of this model"),
])  # fmt: skip
def test_a_layer_that_shows_no_such_thing_is_named(net, layer: str, kind: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        observe(denoiser(net), Z, AT, TEXT, [Tap(layer, kind)])
    assert torch.is_grad_enabled()


def test_weights_are_had_by_their_public_names(net) -> None:
    named = denoiser(net)
    assert torch.equal(named.weight("blocks.1.attn1.to_q"), net.blocks[1].attn1.to_q.weight)
    assert named.shrinks("blocks.1") == 2
    with pytest.raises(UserError, match=r'"blocks.1.norm2" is no linear layer'):
        named.weight("blocks.1.norm2")
