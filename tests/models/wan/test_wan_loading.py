"""Three layouts load strictly and give diffusers' network to the bit; one tensor off, and it is named."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_wan_transformer_to_diffusers,
    convert_wan_vae_to_diffusers,
)
from safetensors.torch import save_file
from torch import Tensor

from motionecho.errors import UserError
from motionecho.models.wan import loading
from motionecho.models.wan.forms import FORMS, SETUPS, VAE_2_2, setup_of
from motionecho.models.wan.settings import PAIRS
from motionecho.models.weights.checkpoint import Misfit, read, read_part
from tests.models.wan import public

NET = public.network()
STATE = NET.state_dict()
ORIGINAL = public.original(STATE)


def answer(net: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    z, text = torch.randn(1, 16, 3, 4, 6, generator=generator), torch.randn(1, 7, 32, generator=generator)
    with torch.no_grad():
        return net(z, torch.tensor([400.0]), text).sample


def in_several_files(folder: Path) -> dict[str, Tensor]:
    index = public.write_shards(folder, STATE)
    shards = {f"teacher/{path.name}": path for path in folder.glob("*.safetensors")}
    return read_part({"teacher": index} | shards, "teacher")


def in_one_original_file(folder: Path) -> dict[str, Tensor]:
    save_file(ORIGINAL, folder / "wan.safetensors")
    return read(folder / "wan.safetensors")


def as_comfy_has_it(folder: Path) -> dict[str, Tensor]:
    save_file(public.original(STATE, "model.diffusion_model."), folder / "wan.safetensors")
    return read(folder / "wan.safetensors")


def as_rcm_has_it(folder: Path) -> dict[str, Tensor]:
    torch.save(public.flat_patches(public.original(STATE, "net.")), folder / "rcm.pt")
    return read(folder / "rcm.pt")


def as_causvid_has_it(folder: Path) -> dict[str, Tensor]:
    torch.save({"generator": public.original(STATE, "model.")}, folder / "model.pt")
    return read(folder / "model.pt")


LAYOUTS = [in_several_files, in_one_original_file, as_comfy_has_it, as_rcm_has_it, as_causvid_has_it]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_network(layout: Any, tmp_path: Path) -> None:
    net = loading.load_transformer(layout(tmp_path), public.TINY)
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in net.state_dict().items())
    torch.testing.assert_close(
        answer(net), answer(NET)
    )  # mapped memory is aligned otherwise, and sums with it


def test_original_names_are_those_that_diffusers_converts() -> None:
    assert ORIGINAL.keys() != STATE.keys()
    converted = convert_wan_transformer_to_diffusers(dict(ORIGINAL))
    assert converted.keys() == STATE.keys()
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in converted.items())
    vae = public.autoencoder().state_dict()
    converted = convert_wan_vae_to_diffusers(public.original_vae(vae))
    assert converted.keys() == vae.keys()
    assert all(torch.equal(tensor, vae[name]) for name, tensor in converted.items())


def test_full_size_has_exactly_the_published_tensors() -> None:
    nets = [loading.empty_transformer(form) for form in FORMS]
    counts = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert counts == [1_418_996_800, 4_999_787_712, 14_288_491_584]
    vae = loading.empty_vae(VAE_2_2)
    assert (vae.config.z_dim, len(vae.config.latents_mean), len(vae.config.latents_std)) == (48, 48, 48)
    for form, net in zip(FORMS, nets, strict=True):
        assert loading.form_of(public.original(net.state_dict(), "net.")) is form


PREFIX = "blocks.1."
SAME = {name: name for name in STATE}
CALLED = {name: loading.original_name(name) for name in STATE}


@pytest.mark.parametrize("name", [
    f"{PREFIX}attn1.to_q.bias", f"{PREFIX}attn2.to_out.0.bias", f"{PREFIX}norm2.weight",
    f"{PREFIX}ffn.net.2.weight", f"{PREFIX}scale_shift_table", "condition_embedder.time_proj.weight",
    "patch_embedding.weight", "scale_shift_table", "proj_out.bias",
])  # fmt: skip
@pytest.mark.parametrize("called", [SAME, CALLED], ids=["diffusers", "original"])
def test_a_missing_renamed_or_transposed_tensor_is_named(name: str, called: dict[str, str]) -> None:
    whole = {called[each]: tensor for each, tensor in STATE.items()}
    tensor = whole.pop(called[name])
    turned = tensor.transpose(0, -1).contiguous() if tensor.ndim > 1 else tensor[None]
    wrongs = {"missing": whole, "unexpected": whole | {f"{called[name]}_": tensor},
              "wrong shape": whole | {called[name]: turned}}  # fmt: skip
    for problem, wrong in wrongs.items():
        with pytest.raises(Misfit) as refused:
            loading.load_transformer(wrong, public.TINY)
        assert called[name] in str(refused.value)
        assert problem in {each.problem for each in refused.value.mismatches}
        assert {each.tensor.rstrip("_") for each in refused.value.mismatches} == {called[name]}


def test_norms_that_have_changed_names_are_not_mixed_up() -> None:
    mixed = {name.replace(".norm3.", ".norm2."): tensor for name, tensor in ORIGINAL.items()}
    with pytest.raises(Misfit, match=r"norm2.weight \(did you mean"):
        loading.load_transformer(mixed, public.TINY)


def test_models_of_a_picture_are_refused_in_a_sentence_that_says_why() -> None:
    patch = torch.zeros(24, 36, 1, 2, 2)
    for wrong in (
        ORIGINAL | {"img_emb.proj.1.weight": patch}, ORIGINAL | {"patch_embedding.weight": patch},
        STATE | {"blocks.0.attn2.add_k_proj.weight": patch},
        ORIGINAL | {"blocks.0.cross_attn.k_img.weight": patch},
    ):  # fmt: skip
        with pytest.raises(UserError, match=r"makes videos of a picture.* take the T2V weights"):
            loading.load_transformer(wrong, public.TINY)
    gates = STATE | {"blocks.0.to_gate_compress.weight": patch}
    with pytest.raises(UserError, match="trained for sparse attention"):
        loading.load_transformer(gates, public.TINY)


def test_a_checkpoint_of_something_else_lists_every_tensor() -> None:
    with pytest.raises(Misfit) as refused:
        loading.load_transformer({"weight": torch.zeros(2)}, public.TINY)
    assert len(refused.value.mismatches) == len(STATE) + 1


def test_in_bfloat16_what_diffusers_keeps_stays_in_float32() -> None:
    net = loading.load_transformer(ORIGINAL, public.TINY, torch.bfloat16)
    assert net.dtype == torch.bfloat16
    kept = ("time_embedder", "scale_shift_table", "norm2")  # norm1 and norm3 have no tensors
    for name, tensor in net.state_dict().items():
        one_of_them = any(part in name.split(".") for part in kept)
        assert tensor.dtype == (torch.float32 if one_of_them else torch.bfloat16), name
    assert net.rope.freqs_cos.dtype == NET.rope.freqs_cos.dtype
    z, text = torch.randn(1, 16, 3, 4, 6), torch.randn(1, 7, 32)
    with torch.no_grad():
        out = net(z.bfloat16(), torch.tensor([400.0]), text.bfloat16()).sample.float()
        torch.testing.assert_close(out, NET(z, torch.tensor([400.0]), text).sample, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", ["encoder.down_blocks.2.resample.1.weight", "decoder.norm_out.gamma",
                                  "decoder.up_blocks.1.resnets.0.conv_shortcut.weight", "quant_conv.bias",
                                  "decoder.mid_block.attentions.0.to_qkv.weight"])  # fmt: skip
def test_both_files_of_the_autoencoder_are_strict(name: str) -> None:
    state = public.autoencoder().state_dict()
    for named, called in ((state, str), (public.original_vae(state), loading.vae_original_name)):
        loaded = loading.load_vae(named, public.VAE).state_dict()
        assert all(torch.equal(tensor, state[each]) for each, tensor in loaded.items())
        with pytest.raises(Misfit, match=f"1 missing: {called(name)}"):
            loading.load_vae({each: t for each, t in named.items() if each != called(name)}, public.VAE)


def test_the_original_file_of_the_newer_autoencoder_has_its_own_names() -> None:
    small = {**VAE_2_2, "base_dim": 8, "decoder_base_dim": 8, "z_dim": 4,
             "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}  # fmt: skip
    state = public.autoencoder(small).state_dict()
    named = public.original_vae(state, nested=True)
    assert {"encoder.downsamples.1.downsamples.2.time_conv.weight", "encoder.conv1.weight",
            "encoder.downsamples.1.downsamples.0.shortcut.weight", "encoder.middle.1.to_qkv.weight",
            "decoder.upsamples.0.upsamples.3.resample.1.weight", "conv2.bias", "decoder.head.2.bias",
            "decoder.upsamples.3.upsamples.2.residual.6.bias"} <= named.keys()  # fmt: skip
    loaded = loading.load_vae(named, small).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.items())
    lost = "decoder.upsamples.2.upsamples.0.shortcut.weight"
    with pytest.raises(Misfit, match=f"1 missing: {lost}"):
        loading.load_vae({name: tensor for name, tensor in named.items() if name != lost}, small)


def test_the_encoder_stays_in_float32() -> None:
    vae = loading.load_vae(public.autoencoder().state_dict(), public.VAE, torch.bfloat16)
    kinds = {name.split(".")[0]: tensor.dtype for name, tensor in vae.state_dict().items()}
    assert kinds == {"encoder": torch.float32, "quant_conv": torch.float32,
                     "decoder": torch.bfloat16, "post_quant_conv": torch.bfloat16}  # fmt: skip


def test_every_pair_has_its_recipe_and_its_steps() -> None:
    assert [spec.name for spec in PAIRS] == list(SETUPS)
    for spec in PAIRS:
        setup = setup_of(f"{spec.name}@33x320x512")
        assert setup is SETUPS[spec.name]
        times = setup.grid(spec.defaults.student.steps)
        assert sorted(times, reverse=True) == times
        assert len(times) == spec.defaults.student.steps == (spec.distilled_for or 4)
        if spec.most_steps is None:
            continue
        assert len(setup.grid(spec.most_steps)) == spec.most_steps
        with pytest.raises(ValueError, match="distilled for no more"):
            setup.grid(spec.most_steps + 1)
        with pytest.raises(UserError, match=f"a student of at most {spec.most_steps} steps, not 9"):
            spec.config(changes={"steps": 9})
    rcm = SETUPS["wan2.1-1.3b"].grid(4)
    assert rcm == pytest.approx([987.654, 933.781, 852.895, 608.979], abs=1e-3)
    shifted = [SETUPS["wan2.1-14b"].schedule.time(u) for u in (1000, 750, 500, 250)]
    assert SETUPS["wan2.1-14b"].grid(4) == pytest.approx(shifted)  # lightx2v's list is of unshifted times


def test_the_large_model_is_not_taken_for_the_small_one() -> None:
    with pytest.raises(Misfit, match=r"wrongly shaped: .* is \[1, 2, 5120\], not \[1, 2, 1536\]"):
        loading.load_transformer(loading.empty_transformer(FORMS[2]).state_dict(), FORMS[0])
