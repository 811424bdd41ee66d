"""The causal codec is diffusers' autoencoder, normalised by channel; 4k + 1 frames are k + 1 latent ones."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from motionecho.errors import BadSample
from motionecho.models.codec import CausalCodec
from motionecho.models.kernels import plain
from motionecho.models.registry import pair_spec
from motionecho.models.speed.causal_vae import fused_decoder
from motionecho.models.wan.loading import latent_form, load_vae
from tests.models.wan import public

CPU = torch.device("cpu")


def codec(
    frames: int = 9, config: dict[str, Any] = public.VAE, dtype: torch.dtype | None = None
) -> CausalCodec:
    spec = replace(pair_spec("wan2.1-1.3b"), frames=frames, height=32, width=64)
    vae = load_vae(public.autoencoder(config).state_dict(), config, dtype)
    return CausalCodec(vae, latent_form(vae), spec, CPU)


def clip(frames: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, 32, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(("config", "channels", "shrink"), [(public.VAE, 16, 8), (public.VAE_2_2, 6, 16)])
def test_it_encodes_and_decodes_as_diffusers_does(config: dict[str, Any], channels: int, shrink: int) -> None:
    ours, vae = codec(config=config), public.autoencoder(config)
    assert ours.shape == (channels, 3, 32 // shrink, 64 // shrink)
    with torch.no_grad():
        video = torch.from_numpy(clip()).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        mode = vae.encode(video).latent_dist.mode()[0]
        mean, std = (
            torch.tensor(list(numbers)).view(-1, 1, 1, 1)
            for numbers in (vae.config.latents_mean, vae.config.latents_std)
        )
        z = ours.encode(clip())
        assert z.shape == ours.shape
        torch.testing.assert_close(z, (mode - mean) / std)
        made = vae.decode(z[None] * std + mean).sample[0]
    frames = ((made.permute(1, 2, 3, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
    decoded = ours.decode(torch.stack([z, z.flip(-1)]))
    assert decoded.shape == (2, 9, 32, 64, 3)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded[0].astype(int) - frames).max() <= 1
    assert not np.array_equal(decoded[0], decoded[1])


@pytest.mark.parametrize("config", [public.VAE, public.VAE_2_2])
def test_the_fused_decoder_decodes_as_diffusers_does(config: dict[str, Any]) -> None:
    slow, fast = (codec(config=config) for _ in range(2))
    z = torch.randn(1, *slow.shape, generator=torch.Generator().manual_seed(1))
    expected = slow.decode(z).astype(int)
    fused_decoder(fast.vae, plain)
    assert fast.dtype == torch.float32
    for _ in range(2):  # nothing is carried from one clip to the next
        assert np.abs(fast.decode(z).astype(int) - expected).max() <= 1
    with torch.no_grad():
        wanted = slow.vae.decode(z).sample
        torch.testing.assert_close(fast.vae.decode(z).sample, wanted, rtol=1e-4, atol=1e-4)
    assert np.array_equal(fast.encode(clip()), slow.encode(clip()))


@pytest.mark.parametrize(("frames", "latent"), [(1, 1), (5, 2), (13, 4)])
def test_four_frames_and_one_more_at_first(frames: int, latent: int) -> None:
    ours = codec(frames)
    z = ours.encode(clip(frames))
    assert ours.shape[1] == z.shape[1] == latent
    assert ours.decode(z[None]).shape == (1, frames, 32, 64, 3)


def fails_after(calls: int, forward: Any) -> Any:
    left = iter(range(calls))

    def failing(*inputs: Any, **named: Any) -> Any:
        out = forward(*inputs, **named)
        if next(left, None) is None:
            raise MemoryError
        return out

    return failing


def test_nothing_of_a_clip_is_left_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, other = codec(), clip()[::-1].copy()
    first = ours.encode(clip())
    both = ours.decode(torch.stack([first, ours.encode(other)]))
    assert torch.equal(ours.encode(clip()), first)
    assert np.array_equal(ours.decode(first[None])[0], both[0])
    monkeypatch.setattr(ours.vae.decoder, "forward", fails_after(1, ours.vae.decoder.forward))
    with pytest.raises(MemoryError):
        ours.decode(first[None])
    assert all(kept is None for kept in ours.vae._feat_map + ours.vae._enc_feat_map)


def test_it_encodes_in_float32_whatever_it_decodes_in() -> None:
    half, full = codec(dtype=torch.bfloat16), codec()
    assert half.dtype == torch.bfloat16
    assert torch.equal(half.encode(clip()), full.encode(clip()))
    z = full.encode(clip())[None]
    difference = np.abs(half.decode(z).astype(int) - full.decode(z))
    assert 0 < difference.mean() < 3


def test_a_clip_of_another_size_is_a_bad_sample() -> None:
    for wrong in (clip(8), clip()[:, :16], clip().astype(np.float32)):
        with pytest.raises(BadSample, match=r"has to be uint8 \(9, 32, 64, 3\), not"):
            codec().encode(wrong)
