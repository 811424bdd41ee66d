"""What guidance gave when it had been found equal to MotionClone's own functions; run to write it anew."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from motionecho.denoiser import observe
from motionecho.guidance.motionclone import Top1Attention
from motionecho.guidance.steering import stack
from motionecho.models.animatediff.loading import load_motion_unet
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.animatediff.pair import SCHEDULE
from motionecho.models.animatediff.settings import LAYERS
from motionecho.schedules import eps_of, renoise, trailing
from tests.models.animatediff import public

FILE = Path(__file__).parent / "expected.safetensors"


def compute() -> dict[str, Tensor]:
    """Return of both models noise, motion loss, its gradient, and the reference in first and last layer."""
    files, energy, results = public.files(), Top1Attention(LAYERS["motionclone"], 400.0), {}
    at, at_reference = SCHEDULE.at(749), SCHEDULE.at(400)
    for role in ("teacher", "student"):
        unet = load_motion_unet(files["base/unet"], files[role])
        net = MotionUNet(unet, trailing, LAYERS)
        generator = torch.Generator().manual_seed(3)
        z, reference, noise = torch.randn(3, 1, 4, 8, 16, 16, generator=generator)
        text, null = torch.randn(2, 1, 77, public.TEXT_WIDTH, generator=generator)
        noised = renoise(reference, noise, at_reference)
        target = energy.target(observe(net, noised, at_reference, null, energy.taps))
        look = net.look(z, at, text, energy, stack([target]))
        results |= {f"{role}.eps": eps_of(z, look.x0, at), f"{role}.loss": look.loss * energy.unit}
        results[f"{role}.gradient"] = look.gradient(torch.ones_like(look.loss))
        results |= {f"{role}.{k}": target[f"{LAYERS['motionclone'][k]}:value"][::8] for k in (0, 5)}
    return {name: tensor.contiguous() for name, tensor in results.items()}


def frozen() -> dict[str, Tensor]:
    return load_file(FILE)


if __name__ == "__main__":
    save_file(compute(), FILE)
