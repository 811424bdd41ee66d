"""Factors of linear layers: the sum they make, where they sit, how they begin, and users' files of them."""

from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from motionecho.config import ReferenceSettings
from motionecho.errors import UserError
from motionecho.guidance import lora
from motionecho.guidance.carrier import DOWN, UP
from tests.guidance import small

# what the public code calls the linears of a block, found by running it, and what UNetMotionModel does
NAMES = {
    "attention_blocks.0.processor.to_q_lora": "attn1.to_q",
    "attention_blocks.0.processor.to_k_lora": "attn1.to_k",
    "attention_blocks.0.processor.to_v_lora": "attn1.to_v",
    "attention_blocks.0.to_out.processor.0_lora": "attn1.to_out.0",
    "attention_blocks.1.processor.to_q_lora": "attn2.to_q",
    "attention_blocks.1.processor.to_k_lora": "attn2.to_k",
    "attention_blocks.1.processor.to_v_lora": "attn2.to_v",
    "attention_blocks.1.to_out.processor.0_lora": "attn2.to_out.0",
    "ff.net.0.processor.proj_lora": "ff.net.0.proj",
    "ff.net.processor.2_lora": "ff.net.2",
}
MODULES = ("down_blocks.1.motion_modules.0", "mid_block.motion_modules.0", "up_blocks.0.motion_modules.1")
BLOCK = "transformer_blocks.0"


def file_of(modules: tuple[str, ...] = MODULES, prefix: str = "", rank: int = 3) -> dict[str, Tensor]:
    """The tensors of a user's file that fits the small network."""
    net, made = small.animatediff(), dict[str, Tensor]()
    for module in modules:
        for public, own in NAMES.items():
            out, width = net.weight(f"{module}.{BLOCK}.{own}").shape
            name = f"{prefix}{module}.temporal_transformer.{BLOCK}.{public}"
            made[f"{name}.up.weight"] = small.drawn(len(made), out, rank)
            made[f"{name}.down.weight"] = small.drawn(len(made), rank, width)
    return made


def test_numbers_of_a_layer_with_factors_are_the_public_ones() -> None:
    linear = nn.Linear(4, 3)
    linear.weight.data, linear.bias.data = small.drawn(6, 3, 4), small.drawn(7, 3)
    found = lora.added(small.drawn(8, 1, 4), linear, small.drawn(9, 3, 2), small.drawn(10, 2, 4), 0.5)
    expected = torch.tensor([[0.5510109067, 1.0820820332, 3.2803332806]])
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-6)


def test_factors_of_zero_and_a_scale_of_zero_add_nothing() -> None:
    linear, x = nn.Linear(8, 6), small.drawn(0, 2, 5, 8)
    up, down = small.drawn(1, 6, 2), small.drawn(2, 2, 8)
    assert torch.equal(lora.added(x, linear, torch.zeros_like(up), down, 1.0), linear(x))
    assert torch.equal(lora.added(x, linear, up, down, 0.0), linear(x))


@pytest.mark.parametrize("prefix", ["", "unet.", "model.diffusion_model."])
def test_all_ten_pairs_of_every_block_are_read(prefix: str) -> None:
    tensors = file_of(prefix=prefix)
    found = lora.read(tensors)
    assert set(found) == {f"{module}.{BLOCK}.{own}" for module in MODULES for own in NAMES.values()}
    for module in MODULES:
        for public, own in NAMES.items():
            name = f"{prefix}{module}.temporal_transformer.{BLOCK}.{public}"
            up, down = found[f"{module}.{BLOCK}.{own}"]
            assert torch.equal(up, tensors[f"{name}.up.weight"])
            assert torch.equal(down, tensors[f"{name}.down.weight"])


@pytest.mark.parametrize(
    "name",
    [
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight",  # spatial
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
        f"{MODULES[0]}.temporal_transformer.{BLOCK}.attention_blocks.0.to_q.weight",  # a motion module itself
        f"{MODULES[0]}.{BLOCK}.attn1.to_q.lora_A.weight",
        "up_0",
    ],
)
def test_foreign_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(UserError) as refused:
        lora.read(file_of() | {name: torch.zeros(2, 2)})
    assert f'"{name}" is no factor' in str(refused.value)


def test_one_factor_without_the_other_is_refused() -> None:
    tensors = file_of()
    del tensors[f"{MODULES[1]}.temporal_transformer.{BLOCK}.ff.net.processor.2_lora.down.weight"]
    with pytest.raises(UserError, match=rf'only the "up" factor of {MODULES[1]}\.{BLOCK}\.ff\.net\.2'):
        lora.read(tensors)


def test_a_file_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="no factors"):
        lora.read({})


def test_factors_that_fit_become_an_adapter() -> None:
    adapter = lora.fitted(lora.read(file_of()), small.animatediff(), "their.safetensors")
    layer = f"{MODULES[1]}.{BLOCK}.ff.net.0.proj"
    assert len(adapter) == 2 * len(MODULES) * len(NAMES)
    assert adapter[layer + UP].shape == (256, 3)
    assert adapter[layer + DOWN].shape == (3, 32)


@pytest.mark.parametrize(
    ("up", "down"), [([31, 3], [3, 32]), ([32, 3], [3, 31]), ([32, 3], [2, 32]), ([32, 3, 1], [3, 32])]
)
def test_factors_of_other_shapes_are_refused_with_all_shapes(up: list[int], down: list[int]) -> None:
    layer = f"{MODULES[0]}.{BLOCK}.attn1.to_q"
    with pytest.raises(UserError) as refused:
        lora.fitted({layer: (torch.zeros(up), torch.zeros(down))}, small.animatediff(), "their.safetensors")
    said = str(refused.value)
    assert 'motion_lora "their.safetensors" is of another base' in said
    assert f"{layer} is [32, 32] here" in said
    assert f"{up} and {down}" in said


def test_factors_of_a_layer_that_is_not_there_are_refused() -> None:
    layer = f"down_blocks.3.motion_modules.1.{BLOCK}.attn1.to_q"
    with pytest.raises(UserError, match=rf'"theirs" is of another base.*no layer {layer}'):
        lora.fitted({layer: (torch.zeros(32, 3), torch.zeros(3, 32))}, small.animatediff(), "theirs")


def test_files_are_read_and_other_files_refused(tmp_path: Path) -> None:
    good, bad, net = tmp_path / "good.safetensors", tmp_path / "list.pt", small.animatediff()
    save_file({name: tensor.half() for name, tensor in file_of().items()}, good)
    adapter = lora.fitted(lora.read_file(str(good), "good"), net, "good")
    assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}
    torch.save([torch.zeros(2, 2)], bad)
    with pytest.raises(UserError, match=r'"a list" is no safetensors file.*which base'):
        lora.read_file(str(bad), "a list")


@pytest.mark.parametrize(("words", "count"), [("qkv", 6), ("attention", 8), ("all", 10)])
def test_settings_choose_which_linears_over_time_have_factors(
    words: Literal["qkv", "attention", "all"], count: int
) -> None:
    net, settings = small.animatediff(), ReferenceSettings(lora_layers=words)
    adapter = lora.factors_over_time(net, small.latents(0), settings)
    layers = {name.removesuffix(UP) for name in adapter if name.endswith(UP)}
    assert len(layers) == count * len(net.transformers["temporal"])
    assert all("motion_modules" in layer for layer in layers)


def test_factors_within_frames_leave_text_and_projections_out() -> None:
    net = small.animatediff()
    adapter = lora.factors_in_frames(net, small.latents(0), ReferenceSettings())
    layers = {name.removesuffix(UP) for name in adapter if name.endswith(UP)}
    assert len(layers) == 6 * len(net.transformers["spatial"])
    foreign = ("attn2", "motion_modules", "proj_in")
    assert not any(part in layer for layer in layers for part in foreign)


def test_factors_begin_as_the_public_ones_do() -> None:
    """Nothing is added yet: up is 0, and down is normal with a deviation of one over the rank."""
    net = small.animatediff()
    for rank in (4, 16):
        adapter = lora.factors_over_time(net, small.latents(0), ReferenceSettings(lora_rank=rank))
        downs = torch.cat([tensor[0].flatten() for name, tensor in adapter.items() if name.endswith(DOWN)])
        assert not any(tensor.any() for name, tensor in adapter.items() if name.endswith(UP))
        assert downs.std().item() * rank == pytest.approx(1, rel=0.03)
        assert abs(downs.mean().item()) * rank < 0.03
    layers = [name for name in adapter if name.endswith(DOWN)]
    assert all(torch.equal(adapter[name][0], adapter[name][1]) for name in layers)
    assert not torch.equal(adapter[layers[0]], adapter[layers[1]])


def test_a_rank_is_never_more_than_a_layer_has() -> None:
    adapter = lora.factors_over_time(small.animatediff(), small.latents(0), ReferenceSettings(lora_rank=24))
    shapes = {tuple(tensor.shape[1:]) for name, tensor in adapter.items() if name.endswith(DOWN)}
    assert {(16, 16), (24, 32)} <= shapes
