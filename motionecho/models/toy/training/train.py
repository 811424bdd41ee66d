"""Training of the embedded pair on procedural video: autoencoder, judge, teacher, its few-step student.

Every stage is boxed in seconds, and a run that reaches --wall saves its state and continues when the
same command is given again. The shipped weights come from two GPUs:

    torchrun --nproc-per-node 2 -m motionecho.models.toy.training.train --out weights --compile
    python -m motionecho.models.toy.training.train --out /tmp/smoke --smoke   # the same on a CPU, in a minute
"""

import argparse
import copy
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from motionecho.models.toy.nets import SCHEDULE, WordEncoder, build_unet, build_vae
from motionecho.models.toy.training.data import Latents, clips
from motionecho.models.toy.training.fit import Network, OutOfTime, Workplace, adamw, fit
from motionecho.sprites.judge import Judge
from motionecho.sprites.motions import FRAMES
from motionecho.sprites.words import tokenize

GUIDANCE_SCALE = 2.5  # classifier-free guidance distilled into the student
LOOKS = ("shape", "color", "background")  # what the judge reads beside place and size
DISTILLATION_STRIDE = 40  # timesteps that one teacher step spans in consistency distillation


class Reconstruct(nn.Module):
    """The autoencoder with its sampling: frames [b, 3, h, w] to frames and the posterior."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, frames: Tensor) -> tuple[Tensor, object]:
        posterior = self.vae.encode(frames).latent_dist
        latent = posterior.mean + torch.randn_like(posterior.mean) * posterior.std
        return self.vae.decode(latent).sample, posterior


def train_vae(place: Workplace, seconds: float) -> None:
    vae, source = build_vae().to(place.device), clips(place, max(2, place.batch // 3))

    def reconstruction(model: Network) -> Tensor:
        frames = next(source)[0].flatten(0, 1)
        frames = frames[torch.randperm(len(frames), device=place.device)[: len(frames) // 2]]
        with place.autocast():
            sample, posterior = model(frames)
        error = sample.float() - frames
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        return error.abs().mean() + 2 * (error**2).mean() + edges + 3e-4 * divergence

    whole = Reconstruct(vae)
    vae = fit(place, "vae", whole, reconstruction, seconds, [adamw(place, whole.parameters(), 1.5e-3)]).vae
    with torch.no_grad():
        frames = next(source)[0].flatten(0, 1)
        latent = vae.encode(frames).latent_dist.mean
        psnr = -10 * ((vae.decode(latent).sample.clamp(-1, 1) - frames) ** 2 / 4).mean().log10()
    place.card(latent_shift=latent.mean().item(), latent_scale=1 / latent.std().item(), vae_psnr=psnr.item())
    place.save("vae", vae)


def train_judge(place: Workplace, seconds: float) -> None:
    vae = place.load("vae", build_vae())
    # a judge that had missed the held-out couples would read them as couples that it knows
    source = clips(place, max(2, place.batch // 3), looks="any")

    def error(model: Network) -> Tensor:
        frames, scenes = next(source)
        pick = torch.randint(0, FRAMES, (len(frames), 8), device=place.device)
        rows = torch.arange(len(frames), device=place.device)[:, None]
        frames = frames[rows, pick].flatten(0, 1)
        blur = torch.rand(len(frames), 1, 1, 1, device=place.device)
        with torch.no_grad(), place.autocast():  # generated frames look like decoded, slightly wrong latents
            latent = vae.encode(frames).latent_dist.mean
            noisy = latent + 0.15 * blur * latent.std() * torch.randn_like(latent)
            decoded = vae.decode(noisy).sample.float()
        seen = model(torch.where(torch.rand_like(blur) < 0.7, decoded, frames))
        centre, size = scenes.screen()[rows, pick].flatten(0, 1), scenes.screen_size()[rows, pick].flatten()
        visible = (centre.abs().amax(1) < 0.95).float()
        loss = 5 * (seen["centre"] - centre).abs().sum(1) + (seen["log_size"] - size.log()).abs()
        for name in LOOKS:
            truth = getattr(scenes, name).repeat_interleave(8)
            loss = loss + F.cross_entropy(seen[name], truth, reduction="none")
        return (loss * visible).mean()

    judge = Judge().to(place.device)
    fit(place, "judge", judge, error, seconds, [adamw(place, judge.parameters(), 2e-3)], decay=0.99)
    with torch.no_grad():
        frames, scenes = next(source)
        decoded = vae.decode(vae.encode(frames.flatten(0, 1)).latent_dist.mean).sample
        seen, centre = judge(decoded), scenes.screen().flatten(0, 1)
        visible = centre.abs().amax(1) < 0.9
        right = {n: seen[n].argmax(1) == getattr(scenes, n).repeat_interleave(FRAMES) for n in LOOKS}
        shares = {f"judge_{n}_accuracy": hits[visible].float().mean().item() for n, hits in right.items()}
        pixels = (seen["centre"] - centre).norm(dim=1)[visible].mean().item() * 32
    place.card(judge_centre_error_px=pixels, **shares)
    place.save("judge", judge)


class Conditioned(nn.Module):
    """A UNet and text encoder as one: v-prediction of z [b, 4, f, h, w] at t [b] given word ids [b, 16]."""

    def __init__(self, unet: nn.Module, text: nn.Module):
        super().__init__()
        self.unet, self.text = unet, text

    def forward(self, z: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        return self.unet(z, t, self.text(ids).repeat_interleave(FRAMES, 0)).sample


def _scales(place: Workplace) -> tuple[Tensor, Tensor]:
    """Return alpha_t and sigma_t as tables [1000, 1, 1, 1, 1]."""
    cumprod = torch.tensor(SCHEDULE.alphas_cumprod, device=place.device).view(-1, 1, 1, 1, 1)
    return cumprod.sqrt(), (1 - cumprod).sqrt()


def train_teacher(place: Workplace, latents: Latents, seconds: float) -> None:
    alpha, sigma = _scales(place)

    def denoising(model: Network) -> Tensor:
        z0, ids = latents.draw(place)
        t = torch.randint(0, 1000, (len(z0),), device=place.device, generator=place.generator)
        eps = torch.randn(z0.shape, device=place.device, generator=place.generator)
        with place.autocast():
            v = model(alpha[t] * z0 + sigma[t] * eps, t, ids)
        return F.mse_loss(v.float(), alpha[t] * eps - sigma[t] * z0)

    untrained = Conditioned(build_unet(), WordEncoder()).to(place.device)
    optimizer = adamw(place, untrained.parameters(), 6e-4)
    trained = fit(place, "teacher", untrained, denoising, seconds, [optimizer])
    place.save("teacher", trained.unet)
    place.save("text", trained.text)


def train_student(place: Workplace, latents: Latents, seconds: float) -> None:
    """Distil the guided teacher by consistency (LCM), with targets from a fast moving average."""
    alpha, sigma = _scales(place)
    teacher = Conditioned(place.load("teacher", build_unet()), place.load("text", WordEncoder()))
    student = copy.deepcopy(teacher).train()
    student.unet.requires_grad_(True)
    target = copy.deepcopy(teacher)

    def clean(z: Tensor, v: Tensor, t: Tensor) -> Tensor:
        scaled = (10.0 * t.float().view(-1, 1, 1, 1, 1)) ** 2  # LCM's boundary: identity at t = 0
        return 0.25 / (scaled + 0.25) * z + (scaled / (scaled + 0.25)).sqrt() * (alpha[t] * z - sigma[t] * v)

    def consistency(model: Network) -> Tensor:
        z0, ids = latents.draw(place)
        t = 20 * torch.randint(1, 51, (len(z0),), device=place.device, generator=place.generator) - 1
        s = (t - DISTILLATION_STRIDE).clamp_min(0)
        z = alpha[t] * z0 + sigma[t] * torch.randn(z0.shape, device=place.device, generator=place.generator)
        empty = torch.tensor(tokenize(""), device=place.device).expand_as(ids)
        with torch.no_grad(), place.autocast():
            both = teacher(torch.cat([z, z]), torch.cat([t, t]), torch.cat([ids, empty]))
            conditional, unconditional = both.float().chunk(2)
            v = unconditional + GUIDANCE_SCALE * (conditional - unconditional)
            eps, x0 = alpha[t] * v + sigma[t] * z, alpha[t] * z - sigma[t] * v
            z_s = alpha[s] * x0 + sigma[s] * eps
            aimed = clean(z_s, target(z_s, s, ids).float(), s)
        with place.autocast():
            v = model(z, t, ids)
        return (((clean(z, v.float(), t) - aimed) ** 2 + 1e-6).sqrt() - 1e-3).mean()

    @torch.no_grad()
    def follow() -> None:
        current = [p.detach() for p in student.unet.parameters()]
        torch._foreach_lerp_(list(target.unet.parameters()), current, 0.05)

    optimizer = adamw(place, student.parameters(), 3e-4)
    trained = fit(place, "student", student, consistency, seconds, [optimizer], 0.998, follow)
    place.save("student", trained.unet)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vae-seconds", type=float, default=75)
    parser.add_argument("--judge-seconds", type=float, default=60)
    parser.add_argument("--teacher-seconds", type=float, default=700)
    parser.add_argument("--student-seconds", type=float, default=240)
    parser.add_argument("--videos", type=int, default=81920, help="training videos cached by each process")
    parser.add_argument("--batch", type=int, default=64, help="videos a step of each process")
    parser.add_argument("--wall", type=float, default=math.inf, help="save and stop after this many seconds")
    parser.add_argument("--compile", action="store_true", help="compile the teacher: a minute, then faster")
    parser.add_argument("--smoke", action="store_true", help="a few seconds a stage and little data")
    options = parser.parse_args()
    if options.smoke:
        options.vae_seconds = options.judge_seconds = 4
        options.teacher_seconds = options.student_seconds = 6
        options.videos, options.batch = 8, 2
    return options


def _workplace(options: argparse.Namespace) -> Workplace:
    """Read this process's device, rank and clock from what torchrun says in the environment."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    torch.manual_seed(1)  # equal initial weights everywhere; data differ by rank
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.time() + options.wall
    generator = torch.Generator(device).manual_seed((rank << 32) + int(time.time()))
    return Workplace(options.out, device, rank, world, options.batch, options.compile, deadline, generator)


def main() -> None:
    options = _options()
    place = _workplace(options)
    stages: dict[str, Callable[[], None]] = {
        "vae": lambda: train_vae(place, options.vae_seconds),
        "judge": lambda: train_judge(place, options.judge_seconds),
        "teacher": lambda: train_teacher(place, latents(), options.teacher_seconds),
        "student": lambda: train_student(place, latents(), options.student_seconds),
    }
    cache: list[Latents] = []

    def latents() -> Latents:
        if not cache:
            cache.append(Latents.build(place, options.videos))
        return cache[0]

    try:
        for name, stage in stages.items():
            if not (place.out / f"{name}.safetensors").exists():
                place.compile = options.compile and name == "teacher"  # others end before it pays
                stage()
            if place.world > 1:
                dist.barrier()
    except OutOfTime as stop:
        place.say(f"{stop}; give the same command again to continue")
    finally:
        if place.world > 1:
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
