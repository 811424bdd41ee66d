"""A LoRA beside the network is what diffusers would merge, leaves nothing behind and no key unused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_wan_lora_to_diffusers
from torch import Tensor

from motionecho.errors import UserError
from motionecho.models.wan.forms import Form
from motionecho.models.wan.loading import empty_transformer
from motionecho.models.weights.checkpoint import Misfit, read
from motionecho.models.weights.lora import is_lora, read_lora
from tests.models.wan import public
from tests.models.wan.public import beside

GENERATOR = torch.Generator().manual_seed(0)
Z, TEXT = (torch.randn(shape, generator=GENERATOR) for shape in ((1, 16, 3, 4, 6), (1, 7, 32)))
LORA = public.lora(rank=4, alpha=10.0)


def answer(net: Any) -> Tensor:
    with torch.no_grad():
        return net(Z, torch.tensor([400.0]), TEXT).sample


def merged(factors: dict[str, Tensor], scale: float) -> Any:
    """A network with up down added to its weights, as diffusers' names have them."""
    net = public.network()
    for key, down in factors.items():
        if key.endswith("lora_A.weight"):
            layer = net.get_submodule(key.removeprefix("transformer.").removesuffix(".lora_A.weight"))
            layer.weight += scale * factors[key.replace("lora_A", "lora_B")] @ down
        elif key.endswith("lora_B.bias"):
            layer = net.get_submodule(key.removeprefix("transformer.").removesuffix(".lora_B.bias"))
            layer.bias += scale * factors[key]
    return net


@pytest.mark.parametrize("alpha", [None, 4.0, 10.0])
def test_it_adds_alpha_over_rank_times_its_factors(alpha: float | None) -> None:
    state, net = public.lora(rank=4, alpha=alpha), public.network()
    plain, expected = answer(net), answer(merged(state, (alpha or 4.0) / 4))
    branch = beside(net, state)
    with branch.on():
        torch.testing.assert_close(answer(net), expected, rtol=1e-4, atol=1e-5)
    assert (expected - plain).abs().max() > 0.1
    assert torch.equal(answer(net), plain), "the teacher is as it was, to the bit"


def test_a_bias_of_factors_is_scaled_as_they_are() -> None:
    state, net = public.lora(rank=4, alpha=2.0), public.network()
    layer = next(key for key in state if key.endswith("lora_B.weight"))
    state[layer.replace("weight", "bias")] = torch.ones(len(state[layer]))
    expected = answer(merged(state, 0.5))
    with beside(net, state).on():
        torch.testing.assert_close(answer(net), expected, rtol=1e-4, atol=1e-5)


def test_original_names_mean_what_diffusers_makes_of_them() -> None:
    original = public.original_lora(LORA)
    original |= {f"diffusion_model.blocks.{k}.self_attn.q.diff_b": torch.full((24,), 0.3) for k in range(3)}
    assert not original.keys() & LORA.keys()
    copied = {key: tensor.clone() for key, tensor in original.items()}  # which is scaled in place
    expected = answer(merged(_convert_non_diffusers_wan_lora_to_diffusers(copied), 1.0))
    net = public.network()
    with beside(net, original).on():
        torch.testing.assert_close(answer(net), expected, rtol=1e-4, atol=1e-5)


def test_tensors_that_are_changed_as_a_whole_are_put_back() -> None:
    net = public.network()
    before = {name: (id(p), p.clone()) for name, p in net.named_parameters()}
    changed = {
        "blocks.1.norm2.weight": "blocks.1.norm3.diff",
        "blocks.0.attn1.norm_q.weight": "blocks.0.self_attn.norm_q.diff",
        "blocks.2.scale_shift_table": "blocks.2.diff_m", "proj_out.weight": "head.head.diff",
        "scale_shift_table": "head.modulation.diff", "patch_embedding.bias": "patch_embedding.diff_b",
    }  # fmt: skip
    state = {f"diffusion_model.{key}": torch.full_like(before[name][1], 0.5) for name, key in changed.items()}
    branch = beside(net, state)
    with branch.on():
        for name, parameter in net.named_parameters():
            difference = parameter - before[name][1]
            assert torch.allclose(difference, torch.tensor(0.5 if name in changed else 0.0), atol=1e-6), name
    assert {name: id(p) for name, p in net.named_parameters()} == {n: i for n, (i, _) in before.items()}


def test_entering_twice_adds_once_and_an_error_ends_it() -> None:
    net = public.network()
    plain, branch = answer(net), beside(net, LORA)
    with branch.on():
        once = answer(net)
        with branch.on():
            assert torch.equal(answer(net), once)
        assert torch.equal(answer(net), once)
    with pytest.raises(RuntimeError, match="a pass that fails"), branch.on():
        raise RuntimeError("a pass that fails")
    assert torch.equal(answer(net), plain)
    assert branch.depth == 0


def test_its_gradient_is_that_of_the_merged_network() -> None:
    def gradient(net: Any) -> Tensor:
        z = Z.clone().requires_grad_()
        return torch.autograd.grad(net(z, torch.tensor([400.0]), TEXT).sample.square().sum(), z)[0]

    net = public.network()
    state = LORA | {"transformer.blocks.1.norm2.diff": torch.full((24,), 0.5)}
    branch, other = beside(net, state), merged(LORA, 2.5)
    other.get_submodule("blocks.1.norm2").weight += 0.5
    z = Z.clone().requires_grad_()
    with branch.on():
        loss = net(z, torch.tensor([400.0]), TEXT).sample.square().sum()
    ours = torch.autograd.grad(loss, z)[0]  # after the teacher has its network back
    torch.testing.assert_close(ours, gradient(other), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, gradient(net), rtol=1e-2, atol=1e-2)


def test_factors_are_as_precise_as_their_layer() -> None:
    net = public.network().to(torch.bfloat16)
    branch = beside(net, LORA)
    assert {factors.up.dtype for factors in branch.factors.values()} == {torch.bfloat16}
    assert {factors.scale for factors in branch.factors.values()} == {2.5}


@pytest.mark.parametrize("prefix", ["", "diffusion_model.", "transformer."])
@pytest.mark.parametrize("key", ["blocks.0.attn1.to_x.lora_A.weight", "blocks.3.attn1.to_q.lora_A.weight",
                                 "blocks.0.attn1.to_q.lora_C.weight", "lora_unet_blocks_0.lora_up.weight",
                                 "patch_embedding.lora_down.weight"])  # fmt: skip
def test_a_key_without_a_home_is_named(prefix: str, key: str) -> None:
    state = LORA | {prefix + key: torch.zeros(4, 24)}
    with pytest.raises(Misfit, match=rf"^1 of the LoRA's {len(state)} keys have no place .*: {prefix}{key}$"):
        beside(public.network(), state)


def test_many_keys_without_a_home_are_counted() -> None:
    with pytest.raises(Misfit) as refused:
        beside(public.network(), {f"unet.{key}": tensor for key, tensor in LORA.items()})
    assert f"{len(LORA)} of the LoRA's {len(LORA)} keys have no place" in str(refused.value)
    assert str(refused.value).endswith(f"and {len(LORA) - 5} more")
    assert len(refused.value.mismatches) == len(LORA)
    pictured = LORA | {"transformer.blocks.0.cross_attn.k_img.lora_down.weight": torch.zeros(4, 24)}
    with pytest.raises(Misfit, match="makes videos of a picture"):
        beside(public.network(), pictured)


def test_a_lora_of_a_larger_model_is_one_sentence() -> None:
    large = empty_transformer(Form(heads=4, ffn=128, blocks=2, head=12, text=32))
    state = public.lora(rank=4, net=large)
    with pytest.raises(
        Misfit, match=r"may be made for one of another size: blocks\.0\.\S+ is \[\d+, \d+\], not"
    ):
        beside(public.network(), state)


@pytest.mark.parametrize("half", ["lora_A", "lora_B"])
def test_half_of_a_pair_of_factors_is_missed(half: str) -> None:
    key = f"transformer.blocks.1.ffn.net.2.{half}.weight"
    with pytest.raises(
        Misfit, match=r"1 of the LoRA's tensors do not fit .*: blocks\.1\.ffn\.net\.2\.\w+ is missing"
    ):
        beside(public.network(), {name: tensor for name, tensor in LORA.items() if name != key})


def saved(folder: Path, **metadata: object) -> Path:
    state = {name.removeprefix("transformer."): tensor for name, tensor in public.lora(rank=4).items()}
    WanPipeline.save_lora_weights(folder, state, transformer_lora_adapter_metadata=metadata)
    return folder / "pytorch_lora_weights.safetensors"


def test_the_alpha_in_the_header_that_diffusers_writes_counts(tmp_path: Path) -> None:
    path = saved(tmp_path, r=4, lora_alpha=10, alpha_pattern={"blocks.1.attn1.to_q": 2, "ffn.net.2": 6})
    branch = beside(public.network(), read_lora(path, read(path)))
    assert len(branch.factors) == 30
    scales = {name: factors.scale for name, factors in branch.factors.items()}
    assert scales.pop("blocks.1.attn1.to_q") == 0.5
    assert {name for name, scale in scales.items() if scale == 1.5} == {
        f"blocks.{k}.ffn.net.2" for k in range(3)
    }
    assert {*scales.values()} == {1.5, 2.5}


def test_a_header_without_alpha_changes_nothing_and_another_scaling_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "plain")
    assert read_lora(path, read(path)).keys() == read(path).keys()
    path = saved(tmp_path / "other", r=4, lora_alpha=4, use_rslora=True)
    with pytest.raises(UserError, match="scaled in another way than by alpha / rank"):
        read_lora(path, read(path))
    torch.save(LORA, tmp_path / "lora.pt")
    assert read_lora(tmp_path / "lora.pt", LORA) is LORA


def test_a_lora_is_told_from_a_network() -> None:
    assert is_lora(LORA)
    assert is_lora(public.original_lora(LORA))
    assert not is_lora(public.original(public.network().state_dict()))
