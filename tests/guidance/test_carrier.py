"""The carrying of adapters: merged or beside layers they do the same, and leave nothing behind."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser
from motionecho.errors import UserError
from motionecho.guidance import lora
from motionecho.guidance.carrier import (
    DOWN,
    FRAMES,
    PLACES,
    UP,
    Adapter,
    SidePath,
    factors,
    mergeable,
    merged,
    without_time,
)
from motionecho.guidance.motion_inversion import embeddings
from tests.guidance import small

SETTINGS = ReferenceSettings(lora_rank=3)
AT = small.SCHEDULE.at(500)
EITHER = pytest.mark.parametrize("make", [small.animatediff, small.lvdm], ids=["animatediff", "lvdm"])


@pytest.fixture(autouse=True)
def _no_gradient() -> Iterator[None]:
    with torch.no_grad():
        yield


def carried(net: Denoiser, batch: int = 2) -> Adapter:
    return small.filled(lora.factors_over_time(net, small.latents(0, batch), SETTINGS))


def row(adapter: Adapter, k: int) -> Adapter:
    return {name: tensor[k] for name, tensor in adapter.items()}


def answer(net: Denoiser, *under: AbstractContextManager[object], rows: slice = slice(None)) -> Tensor:
    if under:
        with under[0]:
            return answer(net, *under[1:], rows=rows)
    return net.x0(small.latents(5)[rows], AT, small.texts(6)[rows])


def test_factors_are_found_by_layer() -> None:
    adapter = {f"a.b{UP}": torch.ones(2, 1), f"a.b{DOWN}": torch.zeros(1, 3), f"c{FRAMES}": torch.ones(1)}
    assert list(factors(adapter)) == ["a.b"]
    assert [tuple(part.shape) for part in factors(adapter)["a.b"]] == [(2, 1), (1, 3)]


def test_a_linear_has_the_same_sum_three_ways() -> None:
    net = small.animatediff()
    layer = net.transformers["temporal"][0] + ".transformer_blocks.0.ff.net.0.proj"
    linear, (out, width) = net.network.get_submodule(layer), net.weight(layer).shape
    up, down, x = small.drawn(0, out, 3), small.drawn(1, 3, width), small.drawn(2, 2, 5, width)
    expected = lora.added(x, linear, up, down, 0.7)
    adapter = {layer + UP: up, layer + DOWN: down}
    with merged(net, adapter, 0.7):
        assert small.gap(linear(x), expected) < 2e-6
    beside = SidePath({name: tensor[None] for name, tensor in adapter.items()}, 0.7)
    beside.batch = 2  # as a pass of the network tells it
    with beside.on(net.network):
        assert small.gap(linear(x), expected) < 2e-6
    assert torch.equal(linear(x), lora.added(x, linear, up, down, 0.0))


@EITHER
def test_merged_and_beside_make_the_same_video(make: Callable[[], Denoiser]) -> None:
    net = make()
    adapter = carried(net)
    both = answer(net, SidePath(adapter, 0.7).on(net.network))
    for k in (0, 1):
        alone = answer(net, merged(net, row(adapter, k), 0.7), rows=slice(k, k + 1))
        assert small.gap(both[k : k + 1], alone) < 1e-5
        assert small.gap(answer(net, rows=slice(k, k + 1)), alone) > 0.05


@EITHER
def test_within_frames_too(make: Callable[[], Denoiser]) -> None:
    net = make()
    adapter = small.filled(lora.factors_in_frames(net, small.latents(0, 1), SETTINGS))
    one = answer(net, merged(net, row(adapter, 0), 1.0))
    assert small.gap(answer(net, SidePath(adapter).on(net.network)), one) < 1e-5
    assert small.gap(answer(net), one) > 0.02


@EITHER
@pytest.mark.parametrize("fails", [False, True], ids=["done", "failed"])
def test_weights_have_their_very_bits_again(make: Callable[[], Denoiser], fails: bool) -> None:
    net = make()
    before = {name: tensor.clone() for name, tensor in net.network.state_dict().items()}
    adapter = row(carried(net), 0)
    with pytest.raises(KeyError) if fails else merged(net, {}, 1.0), merged(net, adapter, 3.0):
        changed = sum(not torch.equal(before[name], t) for name, t in net.network.state_dict().items())
        assert changed == len(factors(adapter))
        if fails:
            raise KeyError
    for name, tensor in net.network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_weights_are_restored_where_a_layer_is_not_there() -> None:
    net = small.animatediff()
    adapter = row(carried(net), 0)
    before = {name: tensor.clone() for name, tensor in net.network.state_dict().items()}
    adapter |= {"nowhere.to_q" + UP: torch.ones(2, 1), "nowhere.to_q" + DOWN: torch.ones(1, 2)}
    with pytest.raises(UserError, match=r"nowhere\.to_q"), merged(net, adapter, 1.0):
        pass
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.network.state_dict().items())


def test_merging_keeps_the_memory_that_graphs_read_and_sums_in_float32() -> None:
    net = small.animatediff()
    layer = net.transformers["temporal"][0] + ".transformer_blocks.0.attn1.to_q"
    net.network.half()
    weight = net.weight(layer)
    place, before = weight.data_ptr(), weight.clone()
    up, down = small.drawn(0, len(weight), 2), small.drawn(1, 2, weight.shape[1])
    with merged(net, {layer + UP: up, layer + DOWN: down}, 1e-2):
        assert net.weight(layer).data_ptr() == place
        exact = (before.double() + 1e-2 * up.double() @ down.double()).half()
        assert torch.equal(net.weight(layer), exact)
    assert torch.equal(net.weight(layer), before)


@EITHER
def test_hooks_are_gone_afterwards(make: Callable[[], Denoiser]) -> None:
    net = make()
    plain = answer(net)
    with pytest.raises(KeyError), SidePath(carried(net)).on(net.network):
        raise KeyError
    assert torch.equal(answer(net), plain)
    answer(net, without_time(net))
    assert torch.equal(answer(net), plain)


@EITHER
def test_rows_say_whose_turn_it_is(make: Callable[[], Denoiser]) -> None:
    net = make()
    adapter = carried(net, 3)
    beside = SidePath(adapter, 0.7)
    with beside.on(net.network):
        picked = answer(net, beside.of(torch.tensor([2, 0])))
        one = answer(net, beside.of(torch.tensor([1])), rows=slice(1, 2))
    pair = {name: tensor[[2, 0]] for name, tensor in adapter.items()}
    assert small.gap(picked, answer(net, SidePath(pair, 0.7).on(net.network))) < 1e-6
    own = {name: tensor[1:2] for name, tensor in adapter.items()}
    assert small.gap(one, answer(net, SidePath(own, 0.7).on(net.network), rows=slice(1, 2))) < 1e-6
    assert beside.rows is None


@EITHER
def test_a_batch_that_is_there_twice_gets_each_its_own_twice(make: Callable[[], Denoiser]) -> None:
    """As teachers guided by two branches run: all conditional ones, then all unconditional ones."""
    net = make()
    z, text, null = small.latents(5), small.texts(6), small.texts(7)
    adapter = carried(net) | small.filled(embeddings(net, z, SETTINGS), 50)
    with SidePath(adapter).on(net.network):
        both = net.x0(torch.cat([z, z]), AT, torch.cat([text, null]))
        each = torch.cat([net.x0(z, AT, text), net.x0(z, AT, null)])
    assert small.gap(both, each) < 1e-5
    swapped = {name: tensor.flip(0) for name, tensor in adapter.items()}
    assert small.gap(answer(net, SidePath(swapped).on(net.network)), each[:2]) > 1e-2


def test_one_adapter_serves_every_sample() -> None:
    net = small.animatediff()
    adapter = carried(net, 1)
    twice = {name: tensor.expand(2, *tensor.shape[1:]) for name, tensor in adapter.items()}
    shared = answer(net, SidePath(adapter).on(net.network))
    assert small.gap(shared, answer(net, SidePath(twice).on(net.network))) < 1e-6


def test_what_may_be_merged() -> None:
    net = small.animatediff()
    one = carried(net, 1)
    assert mergeable(one)
    assert mergeable({name: tensor.expand(3, *tensor.shape[1:]) for name, tensor in one.items()})
    assert not mergeable(carried(net, 2))
    assert not mergeable(one | {f"block{PLACES}": torch.zeros(1, 4, 2, 3)})
    assert not mergeable(one | {f"block{FRAMES}": torch.zeros(1, 1, 2, 3)})


@EITHER
def test_scale_is_a_factor_on_what_is_added(make: Callable[[], Denoiser]) -> None:
    net = make()
    adapter = small.filled(embeddings(net, small.latents(0), SETTINGS)) | carried(net)
    larger = {name: 2 * t if not name.endswith(DOWN) else t for name, t in adapter.items()}
    doubled = answer(net, SidePath(adapter, 2.0).on(net.network))
    assert small.gap(doubled, answer(net, SidePath(larger).on(net.network))) < 1e-5
    assert torch.equal(answer(net, SidePath(adapter, 0.0).on(net.network)), answer(net))


def test_dropout_is_of_what_is_added_alone() -> None:
    net = small.animatediff()
    adapter, empty = carried(net), lora.factors_over_time(net, small.latents(0), SETTINGS)
    assert torch.equal(answer(net, SidePath(empty, dropout=0.5).on(net.network)), answer(net))
    once, again = (answer(net, SidePath(adapter, dropout=0.5).on(net.network)) for _ in range(2))
    assert not torch.equal(once, again)


@EITHER
def test_without_layers_over_time_frames_are_pictures(make: Callable[[], Denoiser]) -> None:
    net = make()
    z, text = small.latents(5), small.texts(6)
    with without_time(net):
        whole = net.x0(z, AT, text)
        frames = torch.cat([net.x0(z[:, :, k : k + 1], AT, text) for k in range(small.FRAMES)], dim=2)
    assert small.gap(whole, frames) < 1e-5
    assert small.gap(net.x0(z, AT, text), whole) > 0.05
