"""Training of the embedded transformer pair: a teacher by flow matching, then its few-step student.

It stands on the autoencoder, text encoder and words of the embedded U-Net pair, which stay as they are. Every
stage is boxed in seconds, and a run that reaches --wall saves its state and continues when the same command
is given again. The shipped weights come from one GPU; the second piece goes on from the teacher of the first,
with larger batches, as a step waits for the CPU:

    TRAIN="python -m motionecho.models.toy_dit.training.train --compile"
    $TRAIN --out first --student-seconds 1
    $TRAIN --out weights --from first --batch 256 --rate 5e-4 --teacher-seconds 470 --student-seconds 1
    rm weights/student.safetensors; $TRAIN --out weights --batch 192 --student-seconds 110
    python -m motionecho.models.toy_dit.training.train --out smoke --smoke   # on a CPU
"""

import argparse
import copy
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from motionecho.models.toy.nets import WordEncoder
from motionecho.models.toy.settings import WEIGHTS as SHARED
from motionecho.models.toy.training.data import Latents
from motionecho.models.toy.training.fit import Network, OutOfTime, Workplace, adamw, fit
from motionecho.models.toy_dit.nets import SCHEDULE, build_transformer
from motionecho.sprites.words import tokenize

GUIDANCE_SCALE = 2.5  # classifier-free guidance distilled into the student
POINTS, STRIDE = 50, 2  # the student's distillation grid, and how many of its points one teacher step spans
TOP = SCHEDULE.top


class Captioned(nn.Module):
    """A transformer behind a frozen text encoder: the velocity of z [b, 4, f, h, w] at t [b], given ids."""

    def __init__(self, transformer: WanTransformer3DModel, text: nn.Module):
        super().__init__()
        self.transformer, self.text = transformer, text.requires_grad_(False)

    def forward(self, z: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        with torch.no_grad():
            states = self.text(ids)
        return self.transformer(z, t, states, return_dict=False)[0]


def begin(transformer: WanTransformer3DModel) -> WanTransformer3DModel:
    """Have a network answer zero at first: transformers learn slowly from large answers."""
    for layer in transformer.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    embedder = transformer.condition_embedder.time_embedder
    for layer in (embedder.linear_1, embedder.linear_2):
        nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(transformer.proj_out.weight)
    return transformer


def optimizers(
    place: Workplace, transformer: WanTransformer3DModel, rate: float
) -> list[torch.optim.Optimizer]:
    """Make Muon for the matrices of the blocks, at ten times the rate of AdamW for all else."""
    matrices = [p for p in transformer.blocks.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    rest = [p for p in transformer.parameters() if id(p) not in known]
    muon = torch.optim.Muon(matrices, lr=10 * rate, weight_decay=0.01, momentum=0.95)
    return [muon, adamw(place, rest, rate)]


def compiled(transformer: WanTransformer3DModel) -> None:
    """Compile every block by itself, which takes seconds where a whole network takes minutes."""
    for block in transformer.blocks:
        block.compile(dynamic=False)


def noised(place: Workplace, z0: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Noise clean latents to times t [b]; return them and the velocity there, eps - z0."""
    s = _column(t) / TOP
    eps = torch.randn(z0.shape, device=place.device, generator=place.generator)
    return (1 - s) * z0 + s * eps, eps - z0


def train_teacher(
    place: Workplace, latents: Latents, seconds: float, rate: float, compile: bool, earlier: Path | None
) -> None:
    """Train by flow matching, from the beginning or from the teacher in a folder."""

    def velocity(model: Network) -> Tensor:
        z0, ids = latents.draw(place)
        t = _training_times(place, len(z0))
        z, wanted = noised(place, z0, t)
        with place.autocast():
            seen = model(z, t, ids)
        return F.mse_loss(seen.float(), wanted)

    transformer = begin(build_transformer()).to(place.device)
    if earlier is not None:
        transformer = place.load("teacher", transformer, earlier).train().requires_grad_(True)
    if compile:
        compiled(transformer)
    model = Captioned(transformer, place.load("text", WordEncoder(), SHARED))
    fit(place, "teacher", model, velocity, seconds, optimizers(place, transformer, rate))
    place.save("teacher", transformer)


def train_student(place: Workplace, latents: Latents, seconds: float, compile: bool) -> None:
    """Distil the guided teacher by consistency; in flow form x0 = z - s v is exact at s = 0 without more.

    Targets come from a fast moving average of the student.
    """
    text = place.load("text", WordEncoder(), SHARED)
    teacher = place.load("teacher", build_transformer())
    transformer, target = copy.deepcopy(teacher).train().requires_grad_(True), copy.deepcopy(teacher)
    empty = torch.tensor([tokenize("")], device=place.device)
    guided, aiming = Captioned(teacher, text), Captioned(target, text)
    for network in (teacher, transformer, target) if compile else ():
        compiled(network)

    def consistency(model: Network) -> Tensor:
        z0, ids = latents.draw(place)
        k = torch.randint(1, POINTS + 1, (len(z0),), device=place.device, generator=place.generator)
        t, to = (_shifted(point.clamp_min(0) / POINTS) for point in (k, k - STRIDE))
        z, _ = noised(place, z0, t)
        s, s_to = _column(t) / TOP, _column(to) / TOP
        with torch.no_grad(), place.autocast():
            both = guided(torch.cat([z, z]), torch.cat([t, t]), torch.cat([ids, empty.expand_as(ids)]))
            conditional, unconditional = both.float().chunk(2)
            walked = z + (s_to - s) * (unconditional + GUIDANCE_SCALE * (conditional - unconditional))
            aimed = walked - s_to * aiming(walked, to, ids).float()
        with place.autocast():
            seen = z - s * model(z, t, ids).float()
        return (((seen - aimed) ** 2 + 1e-6).sqrt() - 1e-3).mean()

    @torch.no_grad()
    def follow() -> None:
        torch._foreach_lerp_(list(target.parameters()), [p.detach() for p in transformer.parameters()], 0.05)

    steps = [adamw(place, transformer.parameters(), 3e-4)]
    fit(place, "student", Captioned(transformer, text), consistency, seconds, steps, 0.998, follow)
    place.save("student", transformer)


def _column(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 1, 1)


def _shifted(u: Tensor) -> Tensor:
    return TOP * SCHEDULE.shift * u / (1 + (SCHEDULE.shift - 1) * u)


def _training_times(place: Workplace, n: int) -> Tensor:
    """Draw times [n] spread evenly over a batch, half of them rather in the middle, shifted."""
    chance, half = torch.rand(2, n, device=place.device, generator=place.generator)
    u = (torch.arange(n, device=place.device) + chance) / n
    middle = torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)).sigmoid()
    return _shifted(torch.where(half < 0.5, u, middle))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher-seconds", type=float, default=440)
    parser.add_argument("--student-seconds", type=float, default=150)
    parser.add_argument("--videos", type=int, default=65536, help="training videos that are cached")
    parser.add_argument("--batch", type=int, default=128, help="videos a step")
    parser.add_argument(
        "--rate", type=float, default=1e-3, help="learning rate of the teacher; Muon's is tenfold"
    )
    parser.add_argument("--from", dest="earlier", type=Path, help="folder with the teacher to go on from")
    parser.add_argument("--wall", type=float, default=math.inf, help="save and stop after this many seconds")
    parser.add_argument(
        "--compile", action="store_true", help="compile the blocks: half a minute, then faster"
    )
    parser.add_argument("--smoke", action="store_true", help="a few seconds a stage and little data")
    options = parser.parse_args()
    if options.smoke:
        options.teacher_seconds = options.student_seconds = 6
        options.videos, options.batch = 8, 2
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(1)
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.time()
    # data differ from piece to piece, as a piece begins anew in them
    generator = torch.Generator(device).manual_seed(int(began))
    place = Workplace(options.out, device, 0, 1, options.batch, False, began + options.wall, generator)
    latents = Latents.build(place, options.videos, SHARED)
    place.say(f"data after {time.time() - began:.0f} s")
    stages = {
        "teacher": lambda: train_teacher(
            place, latents, options.teacher_seconds, options.rate, options.compile, options.earlier
        ),
        "student": lambda: train_student(place, latents, options.student_seconds, options.compile),
    }
    try:
        for name, stage in stages.items():
            if not (options.out / f"{name}.safetensors").exists():
                stage()
    except OutOfTime as stop:
        place.say(f"{stop}; give the same command again to continue")


if __name__ == "__main__":
    main()
