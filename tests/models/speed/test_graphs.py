"""What recording relies on, shown without a GPU: no pass keeps a tensor that a replay could write over."""

import gc
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from motionecho.denoiser import Denoiser, Seen, observe
from motionecho.guidance.motionclone import Top1Attention, Top1Between
from motionecho.guidance.steering import stack
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.animatediff.text import load_text as text_of_clip
from motionecho.models.codec import CausalCodec
from motionecho.models.kernels import plain
from motionecho.models.registry import pair_spec
from motionecho.models.speed.causal_vae import fused_decoder
from motionecho.models.speed.graphs import Workspace
from motionecho.models.toy.nets import WordEncoder
from motionecho.models.videocrafter.denoiser import SCHEDULE, EmbeddedScales, VideoCrafter
from motionecho.models.videocrafter.loading import load_unet
from motionecho.models.videocrafter.text import load_text as text_of_openclip
from motionecho.models.wan.fused import FusedWan
from motionecho.models.wan.loading import latent_form
from motionecho.schedules import Discrete, Flow, Schedule, trailing, uniform
from tests.models.animatediff import public as animatediff
from tests.models.videocrafter import public as videocrafter
from tests.models.wan import public as wan

Pass = Callable[[], object]


def tensors() -> list[torch.Tensor]:
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]


def motion_unet() -> Pass:
    schedule = Discrete.from_betas(0.001, 0.011)  # seen by no other test
    return guided(
        MotionUNet(tiny.unet(0), trailing, {"motionclone": tiny.LAYERS}, "v"), schedule, 5, tiny.WIDTH
    )


def lvdm() -> Pass:
    net = load_unet(videocrafter.unet_state(turbo=True))
    return guided(VideoCrafter(net, scales=EmbeddedScales()), SCHEDULE, 77, videocrafter.TEXT_WIDTH)


def guided(denoiser: Denoiser, schedule: Schedule, words: int, width: int) -> Pass:
    """A plain pass, one that ends early, and one with its gradient."""
    z, text, energy = (
        torch.randn(1, 4, 4, 8, 8),
        torch.randn(1, words, width),
        Top1Attention(denoiser.layers["motionclone"], 400),
    )

    def passes() -> None:
        at = schedule.at(500)
        denoiser.x0(z, at, text)
        probe = observe(denoiser, z, schedule.at(400), text, energy.taps)
        look = denoiser.look(z, at, text, energy, stack([energy.target(probe)]))
        assert look.gradient(torch.ones(1)).shape == z.shape

    return passes


def fused_wan() -> Pass:
    z, text, energy = torch.randn(1, 16, 3, 4, 6), torch.randn(1, 7, 32), Top1Between(("blocks.1.attn1",), 0)
    flow = Flow(3.0)
    denoiser = FusedWan(wan.network(), uniform(flow), {}, checkpointing=True, ops=plain)

    def passes() -> None:
        denoiser.x0(z, flow.at(500.0), text)
        probe = observe(denoiser, z, flow.at(400.0), text, energy.taps)
        look = denoiser.look(z, flow.at(500.0), text, energy, stack([energy.target(probe)]))
        assert look.gradient(torch.ones(1)).shape == z.shape

    return passes


def causal_decoder() -> Pass:
    """Encode and decode as codecs do, who forget what the network carries along."""
    vae = fused_decoder(wan.autoencoder(), plain)
    spec = replace(pair_spec("wan2.1-1.3b"), frames=5, height=16, width=16)
    codec = CausalCodec(vae, latent_form(vae), spec, torch.device("cpu"))
    clip = np.zeros((5, 16, 16, 3), dtype=np.uint8)
    return lambda: codec.decode(codec.encode(clip)[None])


def openclip() -> Pass:
    encoder = text_of_openclip(videocrafter.text_state())
    return lambda: encoder(encoder.tokenizer(["a fox", ""]))


def clip() -> Pass:
    encoder = text_of_clip(animatediff.files()["base/text"])
    return lambda: encoder(encoder.tokens(["a fox", ""]))


def words() -> Pass:
    encoder, ids = WordEncoder().eval(), torch.zeros(2, 16, dtype=torch.long)
    return lambda: encoder(ids)


@pytest.mark.parametrize("make", [motion_unet, lvdm, fused_wan, causal_decoder, openclip, clip, words])
def test_a_pass_leaves_no_tensor_behind(make: Callable[[], Pass]) -> None:
    action = make()
    before = tensors()  # kept, so that no new one gets an old one's identity
    known = {id(each) for each in before}
    with torch.no_grad():
        action()
    assert [each.shape for each in tensors() if id(each) not in known] == []


def test_what_comes_next_waits_for_a_pass_that_a_probe_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def __init__(self) -> None:
            self.waited_for: list[Stream] = []

        def wait_stream(self, other: "Stream") -> None:
            self.waited_for.append(other)

    pool: Any = None
    inner: Any = Stream()
    outer = Stream()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: outer)
    for name in ("use_mem_pool", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())
    with suppress(Seen), Workspace(pool, inner).inside():
        raise Seen
    assert inner.waited_for == [outer]
    assert outer.waited_for == [inner]
