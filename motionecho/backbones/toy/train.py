"""Trains the embedded pair on procedural video: autoencoder, judge, teacher, then its few-step student.

Every stage is boxed in seconds, and a run that reaches --wall saves its state and continues when the
same command is given again. The shipped weights come from two GPUs:

    torchrun --nproc-per-node 2 -m motionecho.backbones.toy.train --out weights --compile
    python -m motionecho.backbones.toy.train --out /tmp/smoke --smoke        # the same code on a CPU, in a minute
"""

import argparse
import copy
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from motionecho.backbones.toy.nets import SCHEDULE, Judge, TextEncoder, build_unet, build_vae, tokenize
from motionecho.backbones.toy.render import render
from motionecho.backbones.toy.sprites import FRAMES, captions, sample_scenes

GUIDANCE_SCALE = 2.5  # classifier-free guidance distilled into the student
DISTILLATION_STRIDE = 40  # timesteps that one teacher step spans in consistency distillation
EMPTY_SHARE, MOTION_SHARE, TEXTURE_SHARE = (
    0.12,
    0.3,
    0.75,
)  # how often a caption is empty, names the motion, the texture


@dataclass
class Workplace:
    """Where this process trains: device, rank, and the clock that all stages share."""

    out: Path
    device: torch.device
    rank: int
    world: int
    batch: int
    compile: bool
    deadline: float
    generator: torch.Generator

    def say(self, text: str) -> None:
        if self.rank == 0:
            print(text, flush=True)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def save(self, name: str, module: nn.Module) -> None:
        if self.rank == 0:
            tensors = {
                key: value.detach().half().contiguous().cpu() for key, value in module.state_dict().items()
            }
            save_file(tensors, self.out / f"{name}.safetensors")

    def load(self, name: str, module: nn.Module) -> nn.Module:
        module.load_state_dict({k: v.float() for k, v in load_file(self.out / f"{name}.safetensors").items()})
        return module.to(self.device).eval().requires_grad_(False)

    def card(self, **facts: float) -> None:
        """Add facts to config.json, the numbers beside the weights."""
        if self.rank == 0:
            path = self.out / "config.json"
            known = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps(known | {k: round(v, 5) for k, v in facts.items()}, indent=2) + "\n")


class OutOfTime(Exception):
    """This process's wall time is over; its state is saved."""


def fit(place: Workplace, name: str, module: nn.Module, loss_of: Callable[[nn.Module], Tensor], seconds: float, lr: float,
        decay: float = 0.999, after_step: Callable[[], None] | None = None) -> nn.Module:  # fmt: skip
    """Train for `seconds` in all, over as many calls as it takes; return the moving average of the weights."""
    average = AveragedModel(module, multi_avg_fn=_warmed_up(decay), use_buffers=False)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=place.device.type == "cuda"
    )
    state_path, spent, step = place.out / f"{name}.state.pt", 0.0, 0
    if state_path.exists():
        state = torch.load(state_path, map_location=place.device, weights_only=True)
        module.load_state_dict(state["module"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        spent, step = state["spent"], state["step"]
    trained: nn.Module = torch.compile(module) if place.compile else module  # type: ignore[assignment]
    if place.world > 1:
        trained = DistributedDataParallel(trained, device_ids=[place.device.index], broadcast_buffers=False)
    total, began, reported = torch.zeros((), device=place.device), time.time(), step
    while True:
        if step % 10 == 0 or place.device.type == "cpu":
            now = torch.tensor(
                [spent + time.time() - began, time.time() - place.deadline], device=place.device
            )
            if place.world > 1:
                dist.broadcast(now, 0)
            elapsed, overdue = now.tolist()
            if elapsed >= seconds or overdue > 0:
                break
        for group in optimizer.param_groups:
            group["lr"] = (
                lr
                * min(1, (step + 1) / 200)
                * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1, elapsed / seconds))))
            )
        loss = loss_of(trained)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update_parameters(module)
        if after_step:
            after_step()
        step, total = step + 1, total + loss.detach()
        if step % 200 == 0:
            place.say(f"{name}: step {step}, {elapsed:.0f} s, loss {total.item() / (step - reported):.4f}")
            total, reported = torch.zeros_like(total), step
    if elapsed < seconds:
        if place.rank == 0:
            torch.save({"module": module.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(),
                        "spent": elapsed, "step": step}, state_path)  # fmt: skip
        raise OutOfTime(f"{name} stopped after {elapsed:.0f} of {seconds:.0f} s, {step} steps")
    place.card(**{f"{name}_steps": step, f"{name}_seconds": elapsed})
    place.say(f"{name}: done, {step} steps in {elapsed:.0f} s")
    return average.module.eval().requires_grad_(False)


def _warmed_up(decay: float) -> Callable[..., None]:
    """Moving average whose memory grows with the steps seen: a short stage must not average its own beginning."""

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], seen: Tensor | int) -> None:
        n = float(seen)
        torch._foreach_lerp_(averages, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update


def clips(place: Workplace, n: int) -> Iterator[tuple[Tensor, object]]:
    """Endless batches of fresh scenes and their frames [n, f, 3, h, w]."""
    while True:
        scenes = sample_scenes(n, place.generator, place.device)
        yield render(scenes), scenes


def train_vae(place: Workplace, seconds: float) -> None:
    vae, source = build_vae().to(place.device), clips(place, max(2, place.batch // 3))

    def reconstruction(model: nn.Module) -> Tensor:
        frames = next(source)[0].flatten(0, 1)
        frames = frames[torch.randperm(len(frames), device=place.device)[: len(frames) // 2]]
        with place.autocast():
            sample, posterior = model(frames)
        error = sample.float() - frames
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        return error.abs().mean() + 2 * (error**2).mean() + edges + 3e-4 * divergence

    class Reconstruct(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, frames: Tensor) -> tuple[Tensor, object]:
            posterior = self.vae.encode(frames).latent_dist
            latent = posterior.mean + torch.randn_like(posterior.mean) * posterior.std
            return self.vae.decode(latent).sample, posterior

    compiled, place.compile = place.compile, False  # returns a distribution, small anyway
    vae = fit(place, "vae", Reconstruct(), reconstruction, seconds, 1.5e-3).vae  # type: ignore[assignment]
    place.compile = compiled
    with torch.no_grad():
        frames = next(source)[0].flatten(0, 1)
        latent = vae.encode(frames).latent_dist.mean
        psnr = -10 * ((vae.decode(latent).sample.clamp(-1, 1) - frames) ** 2 / 4).mean().log10()
    place.card(latent_shift=latent.mean().item(), latent_scale=1 / latent.std().item(), vae_psnr=psnr.item())
    place.save("vae", vae)


def train_judge(place: Workplace, seconds: float) -> None:
    vae = place.load("vae", build_vae())
    source = clips(place, max(2, place.batch // 3))

    def error(model: nn.Module) -> Tensor:
        frames, scenes = next(source)
        pick = torch.randint(0, FRAMES, (len(frames), 8), device=place.device)
        rows = torch.arange(len(frames), device=place.device)[:, None]
        frames = frames[rows, pick].flatten(0, 1)
        blur = torch.rand(len(frames), 1, 1, 1, device=place.device)
        with torch.no_grad(), place.autocast():  # generated frames look like decoded, slightly wrong latents
            latent = vae.encode(frames).latent_dist.mean
            decoded = vae.decode(
                latent + 0.15 * blur * latent.std() * torch.randn_like(latent)
            ).sample.float()
        seen = model(torch.where(torch.rand_like(blur) < 0.7, decoded, frames))
        centre, size = scenes.screen()[rows, pick].flatten(0, 1), scenes.screen_size()[rows, pick].flatten()
        visible = (centre.abs().amax(1) < 0.95).float()
        loss = 5 * (seen["centre"] - centre).abs().sum(1) + (seen["log_size"] - size.log()).abs()
        for name in ("shape", "color", "background"):
            loss = loss + F.cross_entropy(
                seen[name], getattr(scenes, name).repeat_interleave(8), reduction="none"
            )
        return (loss * visible).mean()

    judge = fit(place, "judge", Judge().to(place.device), error, seconds, 2e-3, decay=0.99)
    with torch.no_grad():
        frames, scenes = next(source)
        decoded = vae.decode(vae.encode(frames.flatten(0, 1)).latent_dist.mean).sample
        seen, centre = judge(decoded), scenes.screen().flatten(0, 1)
        visible = centre.abs().amax(1) < 0.9
        right = {n: (seen[n].argmax(1) == getattr(scenes, n).repeat_interleave(FRAMES))[visible].float().mean().item()
                 for n in ("shape", "color", "background")}  # fmt: skip
        pixels = (seen["centre"] - centre).norm(dim=1)[visible].mean().item() * 32
    place.card(judge_centre_error_px=pixels, **{f"judge_{n}_accuracy": v for n, v in right.items()})
    place.save("judge", judge)


@dataclass
class Latents:
    """A cache of encoded training videos [n, 4, f, 16, 16] and four captions of each [n, 4, 16]."""

    z: Tensor
    ids: Tensor

    @classmethod
    def build(cls, place: Workplace, n: int) -> "Latents":
        vae, facts = place.load("vae", build_vae()), json.loads((place.out / "config.json").read_text())
        z, ids, chunk = [], [], min(128, n)
        for _ in range(n // chunk):
            scenes = sample_scenes(chunk, place.generator, place.device)
            with torch.no_grad(), place.autocast():
                mean = vae.encode(render(scenes).flatten(0, 1)).latent_dist.mean
            mean = (mean.float() - facts["latent_shift"]) * facts["latent_scale"]
            z.append(mean.unflatten(0, (-1, FRAMES)).transpose(1, 2).bfloat16())
            variants = [
                captions(scenes, motion, texture) for motion in (False, True) for texture in (False, True)
            ]
            ids.append(
                torch.tensor([[tokenize(line) for line in lines] for lines in zip(*variants, strict=True)])
            )
        place.say(f"cached {n} videos")
        return cls(torch.cat(z), torch.cat(ids).to(place.device))

    def draw(self, place: Workplace) -> tuple[Tensor, Tensor]:
        """A batch of latents [b, 4, f, h, w] and caption ids [b, 16], some of them empty."""
        rows, chance = torch.rand(2, place.batch, 3, device=place.device, generator=place.generator)
        pick = (rows[:, 0] * len(self.z)).long()
        variant = 2 * (chance[:, 0] < MOTION_SHARE).long() + (chance[:, 1] < TEXTURE_SHARE).long()
        empty = torch.tensor(tokenize(""), device=place.device)
        ids = torch.where((chance[:, 2] < EMPTY_SHARE)[:, None], empty, self.ids[pick, variant])
        return self.z[pick].float(), ids


class Denoiser(nn.Module):
    """UNet and text encoder as one: v-prediction of z [b, 4, f, h, w] at t [b] given word ids [b, 16]."""

    def __init__(self, unet: nn.Module, text: nn.Module):
        super().__init__()
        self.unet, self.text = unet, text

    def forward(self, z: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        return self.unet(z, t, self.text(ids).repeat_interleave(FRAMES, 0)).sample


def _scales(place: Workplace) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t as tables [1000, 1, 1, 1, 1]."""
    cumprod = torch.tensor(SCHEDULE.alphas_cumprod, device=place.device).view(-1, 1, 1, 1, 1)
    return cumprod.sqrt(), (1 - cumprod).sqrt()


def train_teacher(place: Workplace, latents: Latents, seconds: float) -> None:
    alpha, sigma = _scales(place)

    def denoising(model: nn.Module) -> Tensor:
        z0, ids = latents.draw(place)
        t = torch.randint(0, 1000, (len(z0),), device=place.device, generator=place.generator)
        eps = torch.randn(z0.shape, device=place.device, generator=place.generator)
        with place.autocast():
            v = model(alpha[t] * z0 + sigma[t] * eps, t, ids)
        return F.mse_loss(v.float(), alpha[t] * eps - sigma[t] * z0)

    trained = fit(
        place, "teacher", Denoiser(build_unet(), TextEncoder()).to(place.device), denoising, seconds, 6e-4
    )
    place.save("teacher", trained.unet)  # type: ignore[arg-type]
    place.save("text", trained.text)  # type: ignore[arg-type]


def train_student(place: Workplace, latents: Latents, seconds: float) -> None:
    """Consistency distillation (LCM) of the guided teacher, targets from a fast moving average."""
    alpha, sigma = _scales(place)
    teacher = Denoiser(place.load("teacher", build_unet()), place.load("text", TextEncoder()))
    student = copy.deepcopy(teacher).train()
    student.unet.requires_grad_(True)
    target = copy.deepcopy(teacher)
    guide: nn.Module = torch.compile(teacher) if place.compile else teacher  # type: ignore[assignment]
    aim: nn.Module = torch.compile(target) if place.compile else target  # type: ignore[assignment]

    def clean(z: Tensor, v: Tensor, t: Tensor) -> Tensor:
        scaled = (10.0 * t.float().view(-1, 1, 1, 1, 1)) ** 2  # LCM's boundary: identity at t = 0
        return 0.25 / (scaled + 0.25) * z + (scaled / (scaled + 0.25)).sqrt() * (alpha[t] * z - sigma[t] * v)

    def consistency(model: nn.Module) -> Tensor:
        z0, ids = latents.draw(place)
        t = 20 * torch.randint(1, 51, (len(z0),), device=place.device, generator=place.generator) - 1
        s = (t - DISTILLATION_STRIDE).clamp_min(0)
        z = alpha[t] * z0 + sigma[t] * torch.randn(z0.shape, device=place.device, generator=place.generator)
        empty = torch.tensor(tokenize(""), device=place.device).expand_as(ids)
        with torch.no_grad(), place.autocast():
            conditional, unconditional = (
                guide(torch.cat([z, z]), torch.cat([t, t]), torch.cat([ids, empty])).float().chunk(2)
            )
            v = unconditional + GUIDANCE_SCALE * (conditional - unconditional)
            eps, x0 = alpha[t] * v + sigma[t] * z, alpha[t] * z - sigma[t] * v
            z_s = alpha[s] * x0 + sigma[s] * eps
            aimed = clean(z_s, aim(z_s, s, ids).float(), s)
        with place.autocast():
            v = model(z, t, ids)
        return (((clean(z, v.float(), t) - aimed) ** 2 + 1e-6).sqrt() - 1e-3).mean()

    @torch.no_grad()
    def follow() -> None:
        torch._foreach_lerp_(
            list(target.unet.parameters()), [p.detach() for p in student.unet.parameters()], 0.05
        )

    trained = fit(place, "student", student, consistency, seconds, 3e-4, decay=0.998, after_step=follow)
    place.save("student", trained.unet)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vae-seconds", type=float, default=75)
    parser.add_argument("--judge-seconds", type=float, default=30)
    parser.add_argument("--teacher-seconds", type=float, default=700)
    parser.add_argument("--student-seconds", type=float, default=240)
    parser.add_argument("--videos", type=int, default=81920, help="training videos cached by each process")
    parser.add_argument("--batch", type=int, default=64, help="videos a step of each process")
    parser.add_argument(
        "--wall", type=float, default=math.inf, help="save the state and stop after this many seconds"
    )
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile: about a minute to start, then faster"
    )
    parser.add_argument("--smoke", action="store_true", help="a few seconds a stage and little data")
    options = parser.parse_args()
    if options.smoke:
        options.vae_seconds, options.judge_seconds, options.teacher_seconds, options.student_seconds = (
            4,
            4,
            6,
            6,
        )
        options.videos, options.batch = 8, 2
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
    place = Workplace(options.out, device, rank, world, options.batch, options.compile, time.time() + options.wall,
                      torch.Generator(device).manual_seed((rank << 32) + int(time.time())))  # fmt: skip
    place.out.mkdir(parents=True, exist_ok=True)
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
                stage()
            if world > 1:
                dist.barrier()
    except OutOfTime as stop:
        place.say(f"{stop}; give the same command again to continue")
    finally:
        if world > 1:
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
