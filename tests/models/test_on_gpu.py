"""What only an accelerator can show: float16 at full width, and the CPU's result on another device."""

import gc

import numpy as np
import pytest
import torch
from torch import Tensor

from motionecho.config import Placement
from motionecho.denoiser import Backbone, Probe
from motionecho.echo import generate
from motionecho.guidance.motionclone import MotionClone
from motionecho.guidance.steering import predict, stack
from motionecho.inversion import invert
from motionecho.models.animatediff import loading
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.animatediff.pair import SCHEDULE
from motionecho.models.animatediff.settings import LAYERS
from motionecho.models.animatediff.text import load_text as text_of_clip
from motionecho.models.registry import load_pair
from motionecho.models.speed.graphs import Recorded, Replayed, Workspace
from motionecho.models.videocrafter.backbone import VideoCrafter
from motionecho.models.videocrafter.loading import load_unet, published_shapes
from motionecho.models.videocrafter.text import load_text as text_of_openclip
from motionecho.models.weights.checkpoint import shapes
from motionecho.models.weights.random_weights import random_tensors
from motionecho.schedules import EulerTrailing
from tests.models.animatediff import public as animatediff_s
from tests.models.videocrafter import public as videocrafter_s

pytestmark = pytest.mark.gpu
FRAMES, HEIGHT, WIDTH = 16, 40, 64  # latents of 320 x 512


def videocrafter(dtype: torch.dtype) -> Backbone:
    return VideoCrafter(load_unet(random_tensors(published_shapes(), 0)).to("cuda", dtype))


def animatediff(dtype: torch.dtype) -> Backbone:
    net = loading.empty_unet()
    drawn = {name: t.to("cuda", dtype) for name, t in random_tensors(shapes(net.state_dict()), 0).items()}
    base = {name: drawn[name] for name in loading.base_shapes(net)}
    drawn_modules = {name: drawn[name] for name in loading.module_shapes(net)}
    # positions are left out, and so become the sines that they have to be
    modules = {name: t for name, t in drawn_modules.items() if not name.endswith(loading.POSITIONS)}
    unet = loading.load_motion_unet(base, modules)
    return MotionUNet(unet.to("cuda", dtype), SCHEDULE, EulerTrailing(), LAYERS)


@pytest.fixture(params=[(videocrafter, 1024), (animatediff, 768)], ids=["videocrafter", "animatediff"])
def family(request: pytest.FixtureRequest):
    """What builds a backbone in a dtype, and the width of the text states it reads."""
    yield request.param
    torch.cuda.empty_cache()


def seen(backbone: Backbone, text_width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, motion loss and gradient at full width, float32 on the CPU."""
    generator = torch.Generator().manual_seed(1)
    z, reference = torch.randn(2, 1, 4, FRAMES, HEIGHT, WIDTH, generator=generator).to("cuda")
    text = torch.randn(1, 77, text_width, generator=generator).to("cuda")
    guidance, probe = MotionClone(backbone.layers), Probe(backbone.layers)
    with torch.no_grad():
        backbone.observe(reference, 400, text, probe)
    found = predict(backbone, z, 600, text, guidance, stack([guidance.target(probe)]), above=0.0)
    assert found.loss is not None
    assert found.gradient is not None
    return found.eps.cpu(), found.loss.cpu(), found.gradient.cpu()


def test_half_precision_at_full_width_is_single_precision_s(family) -> None:
    build, text_width = family
    exact, half = (seen(build(dtype), text_width) for dtype in (torch.float32, torch.float16))
    assert (exact[0] - half[0]).norm() / exact[0].norm() < 0.02
    assert half[1].item() == pytest.approx(exact[1].item(), rel=0.02)
    assert torch.cosine_similarity(exact[2].flatten(), half[2].flatten(), dim=0) > 0.99


def test_the_embedded_pair_makes_the_cpu_s_video() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (16, 64, 64, 3), dtype=np.uint8)
    latents = []
    ways = ("cpu", {}), ("cuda", {"eager": True}), ("cuda", {"offload": True}), ("cuda", {}), ("cuda", {})
    for device, how in ways:
        pair = load_pair("toy", Placement(device=device, **how))
        config = pair.spec.config(changes={"steps": 2, "inversion_steps": 2, "activation": "always"})
        motion = invert(pair, frames, config)
        made, _ = generate(pair, [motion], ["a red star on a blue background"], [3], config)
        assert pair.decode_video(made).shape == (1, 16, 64, 64, 3)
        latents.append(made.cpu())
    assert all(bool(torch.isfinite(one).all()) for one in latents)
    assert (latents[0] - latents[1]).norm() / latents[0].norm() < 0.1
    for other in latents[2:]:
        assert (latents[1] - other).norm() / latents[1].norm() < 1e-3
    assert torch.equal(latents[3], latents[4])  # recorded anew, and yet the same bits


def test_networks_that_take_turns_take_less_memory() -> None:
    peaks = []
    for offload in (False, True):
        gc.collect()  # what tests before have left
        before = torch.cuda.memory_allocated()
        pair = load_pair("toy", Placement(device="cuda", offload=offload, eager=True))
        torch.cuda.reset_peak_memory_stats()
        with torch.no_grad():
            z = torch.randn(1, 4, 16, 8, 8, device="cuda")
            text = pair.encode_text(["a red star on a blue background"])
            pair.student.denoise(z, 500, text)
            pair.teacher.denoise(z, 500, text)
        peaks.append(torch.cuda.max_memory_allocated() - before)
        del pair
    assert peaks[1] < peaks[0]


@pytest.mark.parametrize(
    ("load", "state"),
    [
        (text_of_openclip, videocrafter_s.text_state),
        (text_of_clip, lambda: animatediff_s.files()["base/text"]),
    ],
    ids=["openclip", "clip"],
)
def test_recorded_text_is_the_eager_one(load, state) -> None:
    encoder = load(state())
    encoder.tower.to("cuda", torch.float16)
    fast = Replayed(encoder, Workspace())
    for prompt in ("a fox", "a red star on a blue background", ""):  # recorded, then replayed twice
        ids = encoder.tokenizer([prompt, "blurred"]).to("cuda")
        with torch.no_grad():
            assert torch.allclose(fast(ids=ids), encoder(ids), atol=1e-3)


def test_a_guided_pass_gives_the_same_bits_every_time(family) -> None:
    build, text_width = family
    backbone = build(torch.float16)
    first, second = (seen(Recorded(backbone, Workspace()), text_width) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_recorded_passes_are_the_eager_ones(family) -> None:
    build, text_width = family
    eager = build(torch.float16)
    fast = Recorded(eager, Workspace())
    first = [seen(backbone, text_width) for backbone in (eager, fast, fast)]  # recorded, then replayed
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(1, 4, FRAMES, HEIGHT, WIDTH, generator=generator).to("cuda")
    text = torch.randn(1, 77, text_width, generator=generator).to("cuda")
    with torch.no_grad():
        # other timesteps than the recording's, and a plain pass between guided ones
        plain = [(eager.denoise(z, t, text), fast.denoise(z, t, text)) for t in (900, 20)]
    again = seen(fast, text_width)
    for one, other in [*plain, *zip(first[0] * 3, first[1] + first[2] + again, strict=True)]:
        assert (one - other).norm() <= 1e-2 * one.norm()
