"""What the networks gave when they had been found equal to the public code; running this writes it anew.

The weights are `public`'s with seed 0 (VideoCrafter2, autoencoder, text) and 1 (T2V-Turbo-V2).
"""

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from motionecho.denoiser import Probe, Tap
from motionecho.models.videocrafter.denoiser import LAYERS
from motionecho.models.videocrafter.loading import load_unet
from motionecho.models.videocrafter.signal import scale_embedding
from motionecho.models.videocrafter.text import load_text
from motionecho.models.videocrafter.vae import load_vae
from tests.models.videocrafter import public

FILE = public.DATA / "expected.safetensors"
PROMPTS = ["", "a fox running in a snowy mountain"]
TIMES = torch.tensor([641, 37])


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def latents() -> Tensor:
    return drawn(10, 2, 4, 4, 8, 8)


def states() -> Tensor:
    return drawn(11, 2, 77, public.TEXT_WIDTH)


def scales() -> dict[str, Tensor]:
    return {"w_embedding": scale_embedding(torch.tensor([7.5, 5.0])),
            "motion_embedding": scale_embedding(torch.tensor([0.05, 0.0]))}  # fmt: skip


def frames() -> Tensor:
    return drawn(12, 1, 3, 32, 32).clamp(-1, 1)


def compute() -> dict[str, Tensor]:
    """Outputs by name; gradients are of the squared maps' sum, the deepest reading of the temporal layers."""
    results = {}
    for name, turbo, told in (("vc2", False, {}), ("turbo", True, scales())):
        net = load_unet(public.unet_state(turbo, seed=int(turbo)))
        z, probe = latents().requires_grad_(), Probe(tuple(Tap(layer) for layer in LAYERS["motionclone"]))
        results[f"{name}.eps"] = net(z, TIMES, states(), fps=10, **told, probe=probe).detach()
        energy = torch.stack([weights.square().sum() for weights in probe.seen.values()]).sum()
        (results[f"{name}.gradient"],) = torch.autograd.grad(energy, z)
    with torch.no_grad():
        vae = load_vae(public.vae_state())
        results["vae.latents"] = vae.encode(frames()).latent_dist.mode()
        results["vae.frames"] = vae.decode(drawn(13, 1, 4, 4, 4)).sample
        encoder = load_text(public.text_state())
        results["text.states"] = encoder(encoder.tokenizer(PROMPTS))[:, :16]
    return {name: tensor.contiguous() for name, tensor in results.items()}


def frozen() -> dict[str, Tensor]:
    return load_file(FILE)


if __name__ == "__main__":
    save_file(compute(), FILE)
