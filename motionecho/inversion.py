"""The motion of a reference clip: its inverted noise, and what student and teacher carry of it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from motionecho.config import EchoConfig, ReferenceSettings
from motionecho.denoiser import Denoiser
from motionecho.errors import BadSample
from motionecho.guidance.steering import stack
from motionecho.guidance.strategy import Carried, strategy_of
from motionecho.models.pair import ModelPair
from motionecho.schedules import Level, Schedule, climb, eps_of, uniform

ADAPTER = "adapter"  # beside the times in a file's names


@dataclass(frozen=True)
class Motion:
    """Inverted noise z_T [c, f, h, w] and what both models carry of a reference; of a batch, all with [b]."""

    z_T: Tensor
    student: Carried
    teacher: Carried

    def save(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write a safetensors file: z_T, <role>/<time>/<tensor>, <role>/adapter/<tensor>, and a header."""
        tensors = {"z_T": self.z_T}
        for role, carried in (("student", self.student), ("teacher", self.teacher)):
            for part, named in [*carried.targets.items(), (ADAPTER, carried.adapter)]:
                tensors |= {f"{role}/{part}/{name}": tensor for name, tensor in named.items()}
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, path, metadata=metadata or {})

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """Read a file that `save` wrote."""
        carried = {"student": Carried({}), "teacher": Carried({})}
        with safe_open(path, framework="pt", device=str(device)) as file:
            for whole in file.keys():  # noqa: SIM118 - not a dict
                role, _, rest = whole.partition("/")
                if role not in carried:
                    continue
                part, _, name = rest.partition("/")
                its = carried[role]
                named = its.adapter if part == ADAPTER else its.targets.setdefault(float(part), {})
                named[name] = file.get_tensor(whole)
            return cls(file.get_tensor("z_T"), carried["student"], carried["teacher"])

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Change every tensor alike."""

        def changed(carried: Carried) -> Carried:
            targets = {
                t: {name: change(tensor) for name, tensor in named.items()}
                for t, named in carried.targets.items()
            }
            return Carried(targets, {name: change(tensor) for name, tensor in carried.adapter.items()})

        return type(self)(change(self.z_T), changed(self.student), changed(self.teacher))

    @classmethod
    def stack(cls, motions: Sequence["Motion"], device: str | torch.device) -> "Motion":
        """Batch motions of one pair, [b, ...] each, on a device."""

        def together(carried: list[Carried]) -> Carried:
            targets = {t: stack([each.targets[t] for each in carried]) for t in carried[0].targets}
            return Carried(targets, stack([each.adapter for each in carried]))

        batch = cls(
            torch.stack([m.z_T for m in motions]),
            together([m.student for m in motions]),
            together([m.teacher for m in motions]),
        )
        return batch.map(lambda tensor: tensor.to(device))


@torch.no_grad()
def invert(pair: ModelPair, frames: np.ndarray, config: EchoConfig) -> Motion:
    """Distil the motion of a clip, uint8 [f, h, w, 3] at the pair's size and length (Sec. 4.1, App. B.2).

    Raises BadSample where the clip is of another size, or its latents become not finite.
    """
    reference, schedule = config.reference, pair.schedule
    z0, null = pair.codec.encode(frames)[None], pair.encode_text([""])
    *_, (_, z_T) = inversion(pair.teacher, schedule, z0, null, reference)
    if not bool(torch.isfinite(z_T).all()):
        raise BadSample("the reference could not be inverted: its latents became not finite")
    student, teacher = (
        strategy_of(denoiser, reference).prepare(denoiser, schedule, z0, null)
        for denoiser in (pair.student, pair.teacher)
    )
    return Motion(z_T[0], student, teacher)


@torch.no_grad()
def inversion(
    teacher: Denoiser, schedule: Schedule, z0: Tensor, null: Tensor, reference: ReferenceSettings
) -> Iterator[tuple[Level, Tensor]]:
    """Walk clean latents [b, c, f, h, w] up the teacher's DDIM path under the empty prompt, level by level.

    The last one is z_T, at the schedule's top.
    """
    z, at = z0, schedule.at(0)
    for t in reversed(uniform(schedule)(reference.inversion_steps)):
        to = schedule.at(t)
        where = to if reference.inversion_evaluate_at == "target" or at.sigma == 0 else at
        z = climb(z, eps_of(z, teacher.x0(z, where, null), where), at, to)
        at = to
        yield at, z


def motion_metadata(config: EchoConfig, **facts: str) -> dict[str, str]:
    """Header of a motion file: how it was made."""
    return {"inversion": json.dumps(config.reference.to_dict(), sort_keys=True)} | facts
