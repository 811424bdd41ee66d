"""Checkpoints in the public layout load strictly; one tensor off, and it is named."""

import io
import os
from pathlib import Path

import pytest
import torch

from motionecho.errors import UserError
from motionecho.models.videocrafter.loading import empty_unet, load_unet
from motionecho.models.videocrafter.text import load_text
from motionecho.models.videocrafter.unet import UNetConfig
from motionecho.models.videocrafter.vae import empty_vae, load_vae, public_shapes
from motionecho.models.weights.checkpoint import read
from tests.models.videocrafter import public

WEIGHT = "output_blocks.5.2.transformer_blocks.0.attn1.to_out.0.weight"


def shapes(state) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in state.items()}


def test_full_size_has_exactly_the_public_tensors() -> None:
    plain, turbo = empty_unet(UNetConfig()), empty_unet(UNetConfig(scale_width=256, motion_width=256))
    assert shapes(plain.state_dict()) == public.table("unet")
    assert list(plain.state_dict()) == list(public.table("unet"))  # in order, for T2V-Turbo's nameless LoRA
    assert shapes(turbo.state_dict()) == public.table("unet") | public.TURBO
    around = ["fps_embedding.2.bias", *public.TURBO, "input_blocks.0.0.weight"]
    assert list(turbo.state_dict())[7:12] == around
    assert sum(p.numel() for p in plain.parameters()) == 1_413_284_420
    assert sum(p.numel() for p in turbo.parameters()) == 1_413_653_060
    vae = empty_vae()
    assert {name: list(shape) for name, shape in public_shapes(vae).items()} == public.table("vae")
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863


def test_full_size_widths_are_read_off_the_tensors() -> None:
    full = public.table("unet") | public.TURBO
    meta = {name: torch.empty(shape, device="meta") for name, shape in full.items()}
    assert load_unet(meta).config == UNetConfig(scale_width=256, motion_width=256)


def test_a_whole_checkpoint_loads_from_its_file(tmp_path: Path) -> None:
    state = public.model_ckpt()
    torch.save({"state_dict": state}, tmp_path / "model.ckpt")
    loaded = read(tmp_path / "model.ckpt")
    net = load_unet(loaded)
    assert (net.config.channels, net.config.head_width) == (32, 16)
    assert net.config.text_width == public.TEXT_WIDTH
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, state[f"model.diffusion_model.{name}"])
    load_vae(loaded)
    load_text(loaded)


def test_weights_are_taken_over_not_copied() -> None:
    state = public.unet_state()
    net = load_unet(state)
    assert all(t.data_ptr() == state[name].data_ptr() for name, t in net.state_dict().items())


def test_bare_students_load_with_and_without_their_projections() -> None:
    state = public.unet_state(turbo=True)
    assert load_unet(state).config.motion_width == 256
    for name in ("motion_cond_proj.weight", "combine_proj.weight"):
        del state[name]
    first = load_unet(state).config
    assert (first.scale_width, first.motion_width) == (256, None)


@pytest.mark.parametrize("name", [
    "input_blocks.0.0.weight", "input_blocks.0.0.bias", "out.2.bias", "init_attn.0.proj_in.weight", WEIGHT,
    "input_blocks.1.0.temopral_conv.conv1.2.weight", "time_cond_proj.weight", "motion_cond_proj.weight",
    "combine_proj.weight", "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
])  # fmt: skip
def test_a_renamed_or_missing_tensor_is_named(name: str) -> None:
    state = public.unet_state(turbo=True)
    tensor = state.pop(name)
    with pytest.raises(UserError) as missing:
        load_unet(state)
    assert name in str(missing.value)
    with pytest.raises(UserError) as renamed:
        load_unet(state | {f"{name}_": tensor})
    assert name in str(renamed.value)


@pytest.mark.parametrize("name", [
    "input_blocks.0.0.weight", "init_attn.0.proj_in.weight", "time_cond_proj.weight", "combine_proj.weight",
    "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", "input_blocks.4.0.in_layers.2.weight",
])  # fmt: skip
def test_a_transposed_tensor_alone_is_named(name: str) -> None:
    state = public.unet_state(turbo=True)
    state[name] = state[name].transpose(0, 1)
    with pytest.raises(UserError) as refused:
        load_unet(state)
    assert f"1 wrongly shaped: {name} is " in str(refused.value)
    assert "missing" not in str(refused.value)


@pytest.mark.parametrize("name", ["input_blocks.0.0.bias", "init_attn.0.proj_in.weight"])
def test_a_cut_off_tensor_that_widths_are_read_off_is_named(name: str) -> None:
    state = public.unet_state()
    state[name] = state[name][:1, ...]
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        load_unet(state)


def test_an_unknown_tensor_is_named_with_the_nearest_missing_one() -> None:
    state = public.unet_state()
    state[WEIGHT.replace("to_out.0", "to_out")] = state.pop(WEIGHT)
    with pytest.raises(UserError, match=r"1 missing: .*1 unexpected: .*to_out\.weight \(did you mean"):
        load_unet(state)


@pytest.mark.parametrize(("load", "state", "name"), [
    (load_vae, public.vae_state, "decoder.up.3.upsample.conv.weight"),
    (load_vae, public.vae_state, "encoder.mid.attn_1.q.weight"),
    (load_vae, public.vae_state, "encoder.down.2.block.0.conv1.bias"),
    (load_text, public.text_state, "transformer.resblocks.1.attn.in_proj_weight"),
    (load_text, public.text_state, "positional_embedding"),
    (load_text, public.text_state, "text_projection"),
])  # fmt: skip
def test_autoencoder_and_text_tower_are_as_strict(load, state, name: str) -> None:
    whole = state()
    tensor = whole.pop(name)
    for wrong in (whole, whole | {f"{name}_": tensor}, whole | {name: tensor[None]}):
        with pytest.raises(UserError) as refused:
            load(wrong)
        assert name in str(refused.value)


class _Code:
    def __reduce__(self):
        return os.getpid, ()


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"x": _Code()}}, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match=r"bad\.ckpt is no readable checkpoint of tensors alone"):
        read(tmp_path / "bad.ckpt")


def test_half_a_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"x": torch.zeros(1000)}, buffer)
    (tmp_path / "half.pt").write_bytes(buffer.getvalue()[:1500])
    with pytest.raises(UserError, match=r"half\.pt is no readable checkpoint"):
        read(tmp_path / "half.pt")
    with pytest.raises(UserError, match="there are no weights at"):
        read(tmp_path / "none.pt")
