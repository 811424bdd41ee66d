"""What recording relies on, shown without a GPU: no pass keeps a tensor that a replay could write over."""

import gc
from collections.abc import Callable

import pytest
import tiny
import torch

from motionecho.denoiser import Backbone, Probe
from motionecho.guidance.motionclone import MotionClone
from motionecho.guidance.steering import predict, stack
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.animatediff.text import load_text as text_of_clip
from motionecho.models.toy.nets import WordEncoder
from motionecho.models.videocrafter.backbone import EmbeddedScales, VideoCrafter
from motionecho.models.videocrafter.loading import load_unet
from motionecho.models.videocrafter.text import load_text as text_of_openclip
from motionecho.schedules import Consistency, NoiseSchedule
from tests.models.animatediff import public as animatediff
from tests.models.videocrafter import public as videocrafter

Pass = Callable[[], object]


def tensors() -> list[torch.Tensor]:
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]


def motion_unet() -> Pass:
    schedule = NoiseSchedule.from_betas(0.001, 0.011)  # seen by no other test
    return guided(MotionUNet(tiny.unet(0), schedule, Consistency(), tiny.LAYERS, "v"), 5, tiny.WIDTH)


def lvdm() -> Pass:
    net = load_unet(videocrafter.unet_state(turbo=True))
    return guided(VideoCrafter(net, scales=EmbeddedScales()), 77, videocrafter.TEXT_WIDTH)


def guided(backbone: Backbone, words: int, width: int) -> Pass:
    """A plain pass, one that ends early, and one with its gradient."""
    z, text, guidance = torch.randn(1, 4, 4, 8, 8), torch.randn(1, words, width), MotionClone(backbone.layers)

    def passes() -> None:
        backbone.denoise(z, 500, text)
        probe = Probe(guidance.layers)
        backbone.observe(z, 400, text, probe)
        seen = predict(backbone, z, 500, text, guidance, stack([guidance.target(probe)]), 0.0)
        assert seen.gradient is not None

    return passes


def openclip() -> Pass:
    encoder = text_of_openclip(videocrafter.text_state())
    return lambda: encoder(encoder.tokenizer(["a fox", ""]))


def clip() -> Pass:
    encoder = text_of_clip(animatediff.files()["base/text"])
    return lambda: encoder(encoder.tokens(["a fox", ""]))


def words() -> Pass:
    encoder, ids = WordEncoder().eval(), torch.zeros(2, 16, dtype=torch.long)
    return lambda: encoder(ids)


@pytest.mark.parametrize("make", [motion_unet, lvdm, openclip, clip, words])
def test_a_pass_leaves_no_tensor_behind(make: Callable[[], Pass]) -> None:
    action = make()
    before = tensors()  # kept, so that no new one gets an old one's identity
    known = {id(each) for each in before}
    with torch.no_grad():
        action()
    assert [each.shape for each in tensors() if id(each) not in known] == []
