"""What guidance gave when it had been found equal to MotionClone's own functions; run to write it anew."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from motionecho.denoiser import Probe
from motionecho.guidance.motionclone import MotionClone
from motionecho.guidance.steering import predict, stack
from motionecho.models.animatediff.loading import load_motion_unet
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.animatediff.pair import SCHEDULE
from motionecho.models.animatediff.settings import LAYERS
from motionecho.schedules import EulerTrailing
from tests.models.animatediff import public

FILE = Path(__file__).parent / "expected.safetensors"


def compute() -> dict[str, Tensor]:
    """Of both models: noise, motion loss, its gradient, and the reference in the first and last layer."""
    files, guidance, results = public.files(), MotionClone(LAYERS), {}
    for role in ("teacher", "student"):
        unet = load_motion_unet(files["base/unet"], files[role])
        net = MotionUNet(unet, SCHEDULE, EulerTrailing(), LAYERS)
        generator = torch.Generator().manual_seed(3)
        z, reference, noise = torch.randn(3, 1, 4, 8, 16, 16, generator=generator)
        text, null = torch.randn(2, 1, 77, public.TEXT_WIDTH, generator=generator)
        probe = Probe(LAYERS)
        with torch.no_grad():
            net.observe(SCHEDULE.add_noise(reference, noise, 400), 400, null, probe)
        target = guidance.target(probe)
        seen = predict(net, z, 749, text, guidance, stack([target]), above=0.0)
        assert seen.loss is not None
        assert seen.gradient is not None
        results |= {f"{role}.eps": seen.eps, f"{role}.loss": seen.loss, f"{role}.gradient": seen.gradient}
        results |= {f"{role}.{k}": target[f"{LAYERS[k]}:value"][::8] for k in (0, 5)}
    return {name: tensor.contiguous() for name, tensor in results.items()}


def frozen() -> dict[str, Tensor]:
    return load_file(FILE)


if __name__ == "__main__":
    save_file(compute(), FILE)
