"""diffusers' folders load strictly: one tensor off, and it is named; models of another kind are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline
from torch import Tensor

from motionecho.errors import UserError
from motionecho.models.codec import CausalCodec
from motionecho.models.cogvideox import loading
from motionecho.models.cogvideox.forms import FIVE_B
from motionecho.models.registry import pair_spec
from motionecho.models.weights.checkpoint import Misfit, read
from motionecho.models.weights.lora import beside, read_student
from motionecho.models.weights.random_weights import lora_shapes
from tests.models.cogvideox import public

CPU = torch.device("cpu")
STATE, VAE = public.network().state_dict(), public.autoencoder().state_dict()
LORA = public.lora()
BLOCK = "transformer_blocks.1"


def test_it_is_the_network_of_the_file() -> None:
    net = loading.load_transformer(STATE, public.TINY)
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in net.state_dict().items())
    assert not any(p.requires_grad for p in net.parameters())
    half = loading.load_transformer(STATE, public.TINY, torch.bfloat16)
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.bfloat16}


def test_full_size_is_the_published_one() -> None:
    net = loading.empty_transformer(FIVE_B)
    assert sum(p.numel() for p in net.parameters()) == 5_570_283_072
    assert net.state_dict()["patch_embed.proj.weight"].shape == (3072, 16, 2, 2)
    factors = lora_shapes(net)
    assert len(factors) == 42 * 4 * 2
    assert factors["transformer.transformer_blocks.41.attn1.to_out.0.lora_B.weight"] == (3072, 64)
    assert sum(shape.numel() for shape in factors.values()) == 66_060_288
    form = loading.latent_form(loading.empty_vae(FIVE_B.vae))
    assert (form.channels, form.stride, form.shrink, form.std[0]) == (16, 4, 8, 1 / 0.7)


@pytest.mark.parametrize("name", [
    f"{BLOCK}.attn1.to_q.weight", f"{BLOCK}.attn1.norm_k.bias", f"{BLOCK}.norm2.linear.weight",
    f"{BLOCK}.ff.net.0.proj.bias", "patch_embed.text_proj.weight", "time_embedding.linear_1.weight",
    "norm_out.linear.weight", "proj_out.bias",
])  # fmt: skip
def test_a_missing_renamed_or_misshapen_tensor_is_named(name: str) -> None:
    whole = dict(STATE)
    tensor = whole.pop(name)
    for problem, wrong in misfits(whole, name, tensor).items():
        with pytest.raises(Misfit, match="does not fit CogVideoX's transformer") as refused:
            loading.load_transformer(wrong, public.TINY)
        assert problem in {each.problem for each in refused.value.mismatches}
        assert {each.tensor.rstrip("_") for each in refused.value.mismatches} == {name}


def misfits(rest: dict[str, Tensor], name: str, tensor: Tensor) -> dict[str, dict[str, Tensor]]:
    turned = tensor.transpose(0, -1).contiguous()
    turned = turned if turned.shape != tensor.shape else tensor[None]
    return {"missing": rest, "unexpected": rest | {f"{name}_": tensor}, "wrong shape": rest | {name: turned}}


@pytest.mark.parametrize("name", ["encoder.conv_in.conv.weight", "decoder.norm_out.conv_y.conv.bias"])
def test_the_autoencoder_is_strict_too(name: str) -> None:
    whole = dict(VAE)
    for wrong in misfits(whole, name, whole.pop(name)).values():
        with pytest.raises(Misfit, match=f"does not fit CogVideoX's autoencoder; .*{name}"):
            loading.load_vae(wrong, public.VAE)


def test_models_of_a_picture_and_newer_ones_are_refused_in_a_sentence() -> None:
    patch = STATE["patch_embed.proj.weight"]
    with_a_picture = (
        STATE | {"patch_embed.proj.weight": torch.cat([patch, patch], dim=1)},
        STATE | {"patch_embed.pos_embedding": torch.zeros(1, 226, 32)},
        STATE | {"ofs_embedding.linear_1.weight": torch.zeros(2, 2)},
    )
    for wrong in with_a_picture:
        with pytest.raises(UserError, match="makes videos of a picture, while this pair has text alone"):
            loading.load_transformer(wrong, public.TINY)
    newer = public.network(patch_size_t=2).state_dict()
    with pytest.raises(UserError, match=r"is of CogVideoX1\.5, whose patches span frames"):
        loading.load_transformer(newer, public.TINY)


@pytest.mark.parametrize("key", ["transformer.transformer_blocks.3.attn1.to_q.lora_A.weight",
                                 "transformer.transformer_blocks.0.attn2.to_q.lora_A.weight",
                                 "transformer.blocks.0.attn1.to_q.lora_A.weight"])  # fmt: skip
def test_a_key_of_a_lora_without_a_home_is_named(key: str) -> None:
    net = public.network()
    with pytest.raises(Misfit, match=rf"1 of the LoRA's {len(LORA) + 1} keys have no place .*: {key}$"):
        beside(net, LORA | {key: torch.zeros(4, 32)}, loading.TRANSFORMER)
    assert len(beside(net, LORA, loading.TRANSFORMER).factors) == 3 * 4


def test_it_is_read_as_diffusers_writes_it(tmp_path: Path) -> None:
    plain = {name.removeprefix("transformer."): tensor for name, tensor in LORA.items()}
    CogVideoXPipeline.save_lora_weights(tmp_path, plain, transformer_lora_adapter_metadata={"lora_alpha": 8})
    path = tmp_path / "pytorch_lora_weights.safetensors"
    files = {"student": path, "teacher": tmp_path / "another"}
    assert read(path).keys() == LORA.keys()
    branch = beside(public.network(), read_student(files), loading.TRANSFORMER)
    assert {factors.scale for factors in branch.factors.values()} == {2.0}


def codec(frames: int = 9, dtype: torch.dtype | None = None) -> CausalCodec:
    spec = replace(pair_spec("cogvideox-5b"), frames=frames, height=16, width=32)
    vae = loading.load_vae(VAE, public.VAE, dtype)
    return CausalCodec(vae, loading.latent_form(vae), spec, CPU)


def clip(frames: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, 16, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("frames", [9, 17])
def test_it_encodes_and_decodes_as_diffusers_does(frames: int) -> None:
    ours, vae = codec(frames), public.autoencoder()
    with torch.no_grad():
        video = torch.from_numpy(clip(frames)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        mode = vae.encode(video).latent_dist.mode()[0]
        z = ours.encode(clip(frames))
        assert z.shape == ours.shape == (16, (frames - 1) // 4 + 1, 2, 4)
        torch.testing.assert_close(z, 0.7 * mode)
        made = vae.decode(z[None] / 0.7).sample[0]
    shown = ((made.clamp(-1, 1).permute(1, 2, 3, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
    decoded = ours.decode(torch.stack([z, z.flip(-1)]))
    assert decoded.shape == (2, frames, 16, 32, 3)
    assert np.abs(decoded[0].astype(int) - shown).max() <= 1
    assert torch.equal(ours.encode(clip(frames)), z), "nothing of a clip is left for the next"


def test_it_encodes_in_float32_whatever_it_decodes_in() -> None:
    half, full = codec(dtype=torch.bfloat16), codec()
    assert half.dtype == torch.bfloat16
    z = full.encode(clip())
    assert torch.equal(half.encode(clip()), z)
    assert half.decode(z[None]).shape == (1, 9, 16, 32, 3)


@pytest.mark.parametrize(("size", "nearest"), [("53x480x720", "a multiple of 8 and one more: 49 or 57"),
                                               ("49x480x728", "a multiple of 16: 720 or 736")])  # fmt: skip
def test_sizes_that_the_autoencoder_would_not_give_back_are_refused(size: str, nearest: str) -> None:
    with pytest.raises(UserError, match=nearest):
        pair_spec(f"cogvideox-5b@{size}")
    assert pair_spec("cogvideox-5b@25x320x512").frames == 25
