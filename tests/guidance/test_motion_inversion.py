"""MotionInversion's embeddings: numbers frozen when they were the public ones, and what has to hold."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionecho.config import ReferenceSettings
from motionecho.guidance.carrier import FRAMES, PLACES, SidePath
from motionecho.guidance.motion_inversion import RECIPE, Mode, embeddings, in_mode, query_key, value
from motionecho.guidance.motiondirector import temporal_loss
from tests.guidance import small

MODES: tuple[Mode, ...] = ("learn", "difference", "none")
SETTINGS = ReferenceSettings(strategy="motioninversion", train_rate=0.02, train_steps=3, spatial_path="none")
BLOCK = small.LAYERS["motioninversion"][0]


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of two videos of two places and three frames, P and V with two rows more than that."""
    return small.drawn(11, 4, 3, 2), small.drawn(13, 1, 5, 2), small.drawn(12, 2, 5, 2)


def test_numbers_of_queries_and_keys_are_the_public_ones() -> None:
    tokens, frames, _ = drawn()
    expected = [[-0.8157823086, -0.6473094225], [1.3615033627, 2.6905474663], [2.0445778370, -0.7367087603]]
    torch.testing.assert_close(query_key(tokens, frames)[3], torch.tensor(expected), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("learn", [-0.7392564416, 1.0256792307, -0.7432484627, 1.1127011776, 1.1601841450, -1.0183053017]),
        (
            "difference",
            [-0.7392564416, 1.0256792307, -0.7081149817, 0.5853222013, 1.8546197414, -0.8058547378],
        ),
        ("none", [-0.7041229606, 0.4983002841, -0.0488127694, 1.3251518011, 0.9240058064, 0.2255274802]),
    ],
)
def test_numbers_of_values_are_the_public_ones(mode: Mode, expected: list[float]) -> None:
    tokens, _, places = drawn()
    found = value(tokens, places, mode)[3].flatten()
    torch.testing.assert_close(found, torch.tensor(expected), rtol=2e-5, atol=1e-6)


def test_differences_keep_the_first_frame_and_add_up_to_the_last() -> None:
    _, _, places = drawn()
    changed = in_mode(places, "difference")
    assert torch.equal(changed[:, 0], places[:, 0])
    torch.testing.assert_close(changed.cumsum(1), places)
    still = places[:, :1].expand(-1, 5, -1)
    assert not in_mode(still, "difference")[:, 1:].any()
    assert torch.equal(in_mode(places, "learn"), places)
    assert not in_mode(places, "none").any()


def test_every_place_has_values_of_its_own_and_every_video_the_same() -> None:
    tokens, frames, places = drawn()
    nothing = torch.zeros_like(tokens)
    added = value(nothing, places, "learn")
    assert torch.equal(added, torch.cat([places[:, :3], places[:, :3]]))
    assert torch.equal(query_key(nothing, frames), frames[:, :3].expand(4, -1, -1))


def test_embeddings_begin_at_zero_in_the_blocks_that_are_named() -> None:
    net = small.animatediff()
    made = embeddings(net, small.latents(0), SETTINGS)
    width, places = 32, (small.SIDE // 2) ** 2
    expected = {f"{block}{FRAMES}": (2, 1, small.FRAMES, width) for block in small.LAYERS["motioninversion"]}
    for block in small.LAYERS["motioninversion"]:
        for attention in ("attn1", "attn2"):
            expected[f"{block}.{attention}{PLACES}"] = (2, places, small.FRAMES, width)
    assert {name: tuple(tensor.shape) for name, tensor in made.items()} == expected
    assert not any(tensor.any() for tensor in made.values())
    own = embeddings(net, small.latents(0), ReferenceSettings(layers=(BLOCK,), strategy="motioninversion"))
    assert {name.split("/")[0].removesuffix(".attn1").removesuffix(".attn2") for name in own} == {BLOCK}


def test_places_are_counted_as_a_downsampling_rounds() -> None:
    z0 = small.drawn(0, 1, 4, small.FRAMES, 10, 6)
    net, text, at = small.animatediff(), small.texts(1, 1), small.SCHEDULE.at(500)
    made = small.filled(embeddings(net, z0[..., :5], SETTINGS))
    assert {tensor.shape[1] for name, tensor in made.items() if name.endswith(PLACES)} == {15}
    with torch.no_grad(), SidePath(made).on(net.network):
        assert net.x0(z0, at, text).isfinite().all()  # 10x6 and 10x5 both become 5x3


def by_equations(network: nn.Module, adapter: dict[str, Tensor], mode: Mode, places: int) -> None:
    """Change the inputs of the projections themselves, [b*h*w, f, c], by the functions of the equations."""

    def change(name: str, layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        embed = query_key if name.endswith(FRAMES) else partial(value, mode=mode)
        each = zip(inputs[0].split(places), adapter[name], strict=True)
        return (torch.cat([embed(tokens, own) for tokens, own in each]),)

    for name in adapter:
        for linear in projections(name):
            network.get_submodule(linear).register_forward_pre_hook(partial(change, name))


def projections(name: str) -> list[str]:
    """The projections of which an embedding is."""
    owner, _, part = name.rpartition("/")
    if f"/{part}" == PLACES:
        return [f"{owner}.to_v"]
    return [f"{owner}.{a}.{p}" for a in ("attn1", "attn2") for p in ("to_q", "to_k")]


@pytest.mark.parametrize("mode", MODES)
def test_a_network_that_carries_them_is_that_of_the_equations(mode: Mode) -> None:
    """W u + W P beside each projection is W (u + P), of every video with its own embeddings."""
    z, text, at = small.latents(0), small.texts(1), small.SCHEDULE.at(500)
    net, by_hand = small.animatediff(), small.animatediff()
    adapter = small.filled(embeddings(net, z, SETTINGS))
    places = adapter[f"{BLOCK}.attn1{PLACES}"].shape[1]
    with torch.no_grad():
        plain = net.x0(z, at, text)
        with SidePath(adapter, values=partial(in_mode, mode=mode)).on(net.network):
            carried = net.x0(z, at, text)
        by_equations(by_hand.network, adapter, mode, places)
        expected = by_hand.x0(z, at, text)
    assert small.gap(carried, expected) < 2e-5
    assert small.gap(plain, expected) > 1e-3


def test_frames_in_front_of_places_get_the_same_rows() -> None:
    """LVDM's layers have tokens [b, f, h*w, c], diffusers' have [b*h*w, f, c]."""
    net, z, text, at = small.lvdm(), small.latents(0), small.texts(1), small.SCHEDULE.at(500)
    adapter = small.filled(embeddings(net, z, SETTINGS))
    assert {tuple(tensor.shape[1:3]) for tensor in adapter.values()} == {(1, 4), (16, 4)}
    by_hand = small.lvdm()

    def change(name: str, layer: nn.Linear, inputs: tuple[Tensor], out: Tensor) -> Tensor:
        seen = inputs[0].transpose(1, 2).flatten(0, 1)  # [b*h*w, f, c]
        embed = query_key if name.endswith(FRAMES) else partial(value, mode="difference")
        own = torch.cat([embed(part, adapter[name][k]) for k, part in enumerate(seen.chunk(2))])
        return F.linear(own, layer.weight).unflatten(0, (2, -1)).transpose(1, 2)

    for name in adapter:
        for linear in projections(name):
            by_hand.network.get_submodule(linear).register_forward_hook(partial(change, name))
    with torch.no_grad(), SidePath(adapter, values=partial(in_mode, mode="difference")).on(net.network):
        assert small.gap(net.x0(z, at, text), by_hand.x0(z, at, text)) < 2e-5


def test_modes_make_different_videos() -> None:
    net, z, text, at = small.animatediff(), small.latents(0), small.texts(1), small.SCHEDULE.at(500)
    adapter, made = small.filled(embeddings(net, z, SETTINGS)), []
    with torch.no_grad():
        for mode in MODES:
            with SidePath(adapter, values=partial(in_mode, mode=mode)).on(net.network):
                made.append(net.x0(z, at, text))
    assert min(small.gap(made[a], made[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > 1e-3


def test_both_kinds_are_trained_and_lower_the_loss() -> None:
    net, z0, text = small.animatediff(), small.latents(0, batch=1), small.texts(1, batch=1)
    settings = ReferenceSettings(**(SETTINGS.to_dict() | {"train_steps": 6, "train_rate": 0.05}))
    adapter = RECIPE.train(net, small.SCHEDULE, z0, text, settings)
    assert all(tensor.any() for tensor in adapter.values())
    before, after = (small.loss_on(net, z0, text, RECIPE, carried) for carried in ({}, adapter))
    assert after < before
    assert RECIPE.loss is temporal_loss
