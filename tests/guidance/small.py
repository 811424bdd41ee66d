"""Networks of both architectures that are small enough to train in a test, and what is drawn for them."""

import tiny
import torch
from torch import Tensor

from motionecho.denoiser import Denoiser, Energy, Target, observe
from motionecho.guidance.carrier import UP, Adapter, SidePath
from motionecho.guidance.steering import stack
from motionecho.guidance.training import Draw, Recipe
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.videocrafter.denoiser import VideoCrafter
from motionecho.models.videocrafter.unet import UNet, UNetConfig
from motionecho.models.wan.denoiser import WanDenoiser
from motionecho.schedules import Flow, Schedule, uniform
from tests.models.wan import public

SCHEDULE, FRAMES, SIDE = tiny.SCHEDULE, 4, 8
FLOW = Flow(3.0)
TOKENS = 5
LAYERS = {
    "dmt": ("up_blocks.0.resnets.1.conv2", "up_blocks.0.motion_modules.1", "up_blocks.0.upsamplers.0"),
    "moft": ("up_blocks.0.motion_modules.1",),
    "motioninversion": tuple(f"up_blocks.0.motion_modules.{k}.transformer_blocks.0" for k in (0, 1)),
    "motionclone": tiny.LAYERS,
}
LVDM = UNetConfig(
    channels=32, multipliers=(1, 1), blocks=1, attention_levels=(1,), head_width=16, text_width=tiny.WIDTH
)
LVDM_BLOCK = "output_blocks.0.2.transformer_blocks.0"


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def animatediff() -> MotionUNet:
    """A network that predicts v, whose every layer counts."""
    return MotionUNet(tiny.unet(0), uniform(SCHEDULE), LAYERS, "v")


def lvdm() -> VideoCrafter:
    torch.manual_seed(0)
    return VideoCrafter(UNet(LVDM).eval().requires_grad_(False), layers={"motioninversion": (LVDM_BLOCK,)})


def transformer() -> WanDenoiser:
    """Wan's network with 3 blocks, which attends to all frames and places at once."""
    return WanDenoiser(public.network(), uniform(FLOW), {})


def video(seed: int, batch: int = 2) -> Tensor:
    """Latents of a transformer: 3 frames of 4 x 8, 2 x 4 places."""
    return drawn(seed, batch, public.TINY.channels, 3, 4, 8)


def states(seed: int, batch: int = 2) -> Tensor:
    return drawn(seed, batch, TOKENS, public.TINY.text)


def latents(seed: int, batch: int = 2) -> Tensor:
    return drawn(seed, batch, 4, FRAMES, SIDE, SIDE)


def texts(seed: int, batch: int = 2) -> Tensor:
    return drawn(seed, batch, TOKENS, tiny.WIDTH)


def filled(adapter: Adapter, seed: int = 0) -> Adapter:
    """The adapter with numbers in the place of those it begins with, of a size that shows in what is made."""
    sizes = {name: 0.1 if name.endswith(UP) else 0.4 for name in adapter}
    return {
        name: sizes[name] * drawn(seed + k, *tensor.shape) for k, (name, tensor) in enumerate(adapter.items())
    }


def targets(
    denoiser: Denoiser, z: Tensor, text: Tensor, energy: Energy, schedule: Schedule = SCHEDULE
) -> Target:
    """What is kept of each of some references, seen as they are at time 400."""
    probes = (
        observe(denoiser, z[k : k + 1], schedule.at(400), text[k : k + 1], energy.taps) for k in range(len(z))
    )
    return stack([energy.target(probe) for probe in probes])


def gap(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    return float((found - expected).abs().max() / expected.abs().max())


def loss_on(
    denoiser: Denoiser, z0: Tensor, text: Tensor, recipe: Recipe, adapter: Adapter, steps: int = 6
) -> float:
    """The mean of a recipe's loss over the draws of the first steps of training, without dropout."""
    found = []
    with torch.no_grad(), SidePath(adapter).on(denoiser.network):
        for step in range(steps):
            draw = Draw.of(step, SCHEDULE, z0)
            found.append(recipe.loss(*draw.predicted(denoiser, z0, text), draw.anchor).mean())
    return float(torch.stack(found).mean())
