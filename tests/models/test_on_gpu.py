"""What only an accelerator can show: float16 at full width, and the CPU's result on another device."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from motionecho.config import Placement
from motionecho.denoiser import Denoiser, Energy, Look, Probe, Target, observe
from motionecho.echo import generate
from motionecho.guidance.motionclone import Top1Attention
from motionecho.guidance.steering import LIFT, stack
from motionecho.inversion import invert
from motionecho.models.animatediff import loading
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.animatediff.pair import SCHEDULE as ANIMATEDIFF_SCHEDULE
from motionecho.models.animatediff.settings import LAYERS
from motionecho.models.animatediff.text import load_text as text_of_clip
from motionecho.models.registry import load_pair
from motionecho.models.speed.graphs import Recorded, Replayed, Workspace
from motionecho.models.videocrafter.denoiser import SCHEDULE as VIDEOCRAFTER_SCHEDULE
from motionecho.models.videocrafter.denoiser import VideoCrafter
from motionecho.models.videocrafter.loading import load_unet, published_shapes
from motionecho.models.videocrafter.text import load_text as text_of_openclip
from motionecho.models.weights.checkpoint import shapes
from motionecho.models.weights.random_weights import random_tensors
from motionecho.schedules import Discrete, eps_of, trailing
from tests.models.animatediff import public as animatediff_s
from tests.models.videocrafter import public as videocrafter_s

pytestmark = pytest.mark.gpu
FRAMES, HEIGHT, WIDTH = 16, 40, 64  # latents of 320 x 512


def videocrafter(dtype: torch.dtype) -> Denoiser:
    return VideoCrafter(load_unet(random_tensors(published_shapes(), 0)).to("cuda", dtype))


def animatediff(dtype: torch.dtype) -> Denoiser:
    net = loading.empty_unet()
    drawn = {name: t.to("cuda", dtype) for name, t in random_tensors(shapes(net.state_dict()), 0).items()}
    base = {name: drawn[name] for name in loading.base_shapes(net)}
    drawn_modules = {name: drawn[name] for name in loading.module_shapes(net)}
    # positions are left out, and so become the sines that they have to be
    modules = {name: t for name, t in drawn_modules.items() if not name.endswith(loading.POSITIONS)}
    unet = loading.load_motion_unet(base, modules)
    return MotionUNet(unet.to("cuda", dtype), trailing, LAYERS)


@dataclass(frozen=True)
class Family:
    """A way to build a denoiser in a dtype, the width of the text states that it reads, and its schedule."""

    build: Callable[[torch.dtype], Denoiser]
    text_width: int
    schedule: Discrete


FAMILIES = {
    "videocrafter": Family(videocrafter, 1024, VIDEOCRAFTER_SCHEDULE),
    "animatediff": Family(animatediff, 768, ANIMATEDIFF_SCHEDULE),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Iterator[Family]:
    yield FAMILIES[request.param]
    torch.cuda.empty_cache()


def drawn(family: Family, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A latent and a reference at full width, and text states."""
    generator = torch.Generator().manual_seed(seed)
    z, reference = torch.randn(2, 1, 4, FRAMES, HEIGHT, WIDTH, generator=generator).to("cuda")
    return z, reference, torch.randn(1, 77, family.text_width, generator=generator).to("cuda")


def motion(denoiser: Denoiser, family: Family, reference: Tensor, text: Tensor) -> tuple[Energy, Target]:
    energy = Top1Attention(denoiser.layers["motionclone"], 400.0)
    probe = observe(denoiser, reference, family.schedule.at(400), text, energy.taps)
    return energy, stack([energy.target(probe)])


def seen(denoiser: Denoiser, family: Family) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, motion loss and gradient at full width, float32 on the CPU."""
    z, reference, text = drawn(family, 1)
    energy, target = motion(denoiser, family, reference, text)
    return looked_at(denoiser.look(z, family.schedule.at(600), text, energy, target), z, family)


def looked_at(look: Look, z: Tensor, family: Family) -> tuple[Tensor, Tensor, Tensor]:
    gradient = look.gradient(torch.full_like(look.loss, LIFT)) / LIFT
    return eps_of(z, look.x0, family.schedule.at(600)).cpu(), look.loss.cpu(), gradient.cpu()


def test_half_precision_at_full_width_is_single_precision_s(family: Family) -> None:
    exact, half = (seen(family.build(dtype), family) for dtype in (torch.float32, torch.float16))
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
        assert pair.codec.decode(made).shape == (1, 16, 64, 64, 3)
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
            for denoiser in (pair.student, pair.teacher):
                denoiser.x0(z, pair.schedule.at(500), text)
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


def test_a_guided_pass_gives_the_same_bits_every_time(family: Family) -> None:
    denoiser = family.build(torch.float16)
    first, second = (seen(Recorded(denoiser, Workspace()), family) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("fast", [False, True])
def test_a_look_and_its_gradient_are_the_same_bits_when_repeated(family: Family, fast: bool) -> None:
    denoiser = family.build(torch.float16)
    denoiser = Recorded(denoiser, Workspace()) if fast else denoiser
    z, reference, text = drawn(family, 1)
    (energy, target), at = motion(denoiser, family, reference, text), family.schedule.at(600)
    with torch.no_grad():
        first, *others = [looked_at(denoiser.look(z, at, text, energy, target), z, family) for _ in range(3)]
        denoiser.look(reference, at, text, energy, target)  # whose gradient nobody wants
        denoiser.x0(reference, at, text)
        others.append(looked_at(denoiser.look(z, at, text, energy, target), z, family))
    for other in others:
        assert all(torch.equal(one, same) for one, same in zip(first, other, strict=True))


def test_recorded_passes_are_the_eager_ones(family: Family) -> None:
    eager = family.build(torch.float16)
    fast = Recorded(eager, Workspace())
    first = [seen(denoiser, family) for denoiser in (eager, fast, fast)]  # recorded, then replayed
    z, _, text = drawn(family, 2)
    plain = []
    with torch.no_grad():
        # other times than the recording's, and a plain pass between guided ones
        for t in (900, 20):
            at = family.schedule.at(t)
            plain.append(tuple(eps_of(z, denoiser.x0(z, at, text), at) for denoiser in (eager, fast)))
    again = seen(fast, family)
    for one, other in [*plain, *zip(first[0] * 3, first[1] + first[2] + again, strict=True)]:
        assert (one - other).norm() <= 1e-2 * one.norm()


def test_what_a_look_found_outlives_later_looks(family: Family) -> None:
    fast = Recorded(family.build(torch.float16), Workspace())
    z, reference, text = drawn(family, 1)
    (energy, target), at = motion(fast, family, reference, text), family.schedule.at(600)
    with torch.no_grad():
        look, probe = fast.look(z, at, text, energy, target), Probe(energy.taps)
        probed = fast.x0(z, at, text, probe)
        found = [look.x0, look.loss, probed, *probe.seen.values()]
        before = [tensor.cpu() for tensor in found]
        fast.look(reference, at, text, energy, target).gradient(torch.ones_like(look.loss))
        fast.x0(reference, at, text)
    assert all(torch.equal(tensor.cpu(), kept) for tensor, kept in zip(found, before, strict=True))


def test_recorded_passes_compute_with_what_is_written_to_a_weight(family: Family) -> None:
    eager = family.build(torch.float16)
    fast = Recorded(eager, Workspace())
    z, _, text = drawn(family, 1)
    at = family.schedule.at(600)
    with torch.no_grad():
        before = fast.x0(z, at, text)
        fast.weight(f"{fast.layers['motionclone'][-1]}.to_v").neg_()
        after, expected = fast.x0(z, at, text), eager.x0(z, at, text)
    assert not torch.equal(after, before)
    assert (after - expected).norm() <= 1e-2 * expected.norm()


def test_what_is_written_to_a_weight_is_gone_once_another_network_has_had_the_berth() -> None:
    pair = load_pair("toy", Placement(device="cuda", offload=True))
    student, teacher, at = pair.student, pair.teacher, pair.schedule.at(500)
    name = f"{student.layers['motionclone'][0]}.to_v"
    z = torch.randn(1, 4, 16, 8, 8, generator=torch.Generator().manual_seed(1)).to("cuda")
    text = pair.encode_text(["a red star"])
    with torch.no_grad():
        original = load_pair("toy", "cpu").student.weight(name)
        before = student.x0(z, at, text)
        weight = student.weight(name)
        assert weight.is_cuda
        assert torch.equal(weight.cpu(), original)
        weight.zero_()
        assert (student.x0(z, at, text) - before).norm() > 1e-3 * before.norm()
        teacher.x0(z, at, text)
        assert not any(parameter.is_cuda for parameter in student.network.parameters())
        weight = student.weight(name)
        assert weight.is_cuda
        assert torch.equal(weight.cpu(), original)
        assert (student.x0(z, at, text) - before).norm() <= 1e-5 * before.norm()
