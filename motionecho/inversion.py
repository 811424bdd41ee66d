"""The motion of a reference clip: its inverted noise, and what student and teacher carry of it."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from motionecho.config import EchoConfig, ReferenceSettings
from motionecho.denoiser import Denoiser
from motionecho.errors import BadSample, Damaged, UserError
from motionecho.guidance import dmt, lora
from motionecho.guidance.carrier import Adapter
from motionecho.guidance.strategy import Carried, strategy_of
from motionecho.models.pair import ModelPair, Role
from motionecho.noise import batch_noise, blend
from motionecho.runs.files import fetch
from motionecho.runs.keys import differences
from motionecho.runs.tensor_file import forms, read_tensors, write_tensors
from motionecho.runs.waits import counted, doing
from motionecho.schedules import Level, Schedule, climb, eps_of, output_of, uniform
from motionecho.video.outlines import outlines

ADAPTER = "adapter"  # beside the times in a tensor's name


@dataclass(frozen=True)
class Motion:
    """Inverted noise z_T [c, f, h, w] and what both models carry of a reference; of a batch, all with [b].

    `reference` are the settings and `pair` the name of the pair that it was made with, and serves. Outlines
    of the frames, uint8 [f, h, w], are there where settings ask for them.
    """

    z_T: Tensor
    student: Carried
    teacher: Carried
    reference: ReferenceSettings
    pair: str
    outlines: Tensor | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name: z_T, outlines, <role>/<time>/<tensor> and <role>/adapter/<tensor>."""
        found = {"z_T": self.z_T}
        if self.outlines is not None:
            found["outlines"] = self.outlines
        for role, carried in (("student", self.student), ("teacher", self.teacher)):
            for part, named in [*carried.targets.items(), (ADAPTER, carried.adapter)]:
                found |= {f"{role}/{part}/{name}": tensor for name, tensor in named.items()}
        return found

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], reference: ReferenceSettings, pair: str) -> Self:
        """Make a motion of named tensors, as `tensors` has them."""
        carried = {"student": Carried({}), "teacher": Carried({})}
        for whole, tensor in tensors.items():
            if whole not in ("z_T", "outlines"):
                role, part, name = whole.split("/", 2)
                its = carried[role]
                named = its.adapter if part == ADAPTER else its.targets.setdefault(float(part), {})
                named[name] = tensor
        lines = tensors.get("outlines")
        return cls(tensors["z_T"], carried["student"], carried["teacher"], reference, pair, lines)

    @classmethod
    def stack(cls, motions: Sequence["Motion"], device: str | torch.device) -> Self:
        """Batch motions, [b, ...] each, on a device; UserError where they are not all alike."""
        first, named = motions[0], [motion.tensors for motion in motions]
        for motion, tensors in zip(motions, named, strict=True):
            motion.refuse_other(first.pair, first.reference)
            if forms(tensors) != forms(named[0]):
                raise UserError(
                    "the motions of a batch have to hold tensors of the same names, types and shapes"
                )
        batch = {name: torch.stack([tensors[name].to(device) for tensors in named]) for name in named[0]}
        return cls.of(batch, first.reference, first.pair)

    def refuse_other(self, pair: str, reference: ReferenceSettings) -> None:
        """Raise UserError where this was made with another pair, or other settings of a reference."""
        mine = {"pair": self.pair} | self.reference.to_dict()
        changed = differences(mine, {"pair": pair} | reference.to_dict())
        if changed:
            raise UserError(
                f"the motion was made with other settings: {'; '.join(changed)}. Invert its clip again"
            )

    def save(self, path: str | Path, **facts: str) -> None:
        """Write a safetensors file, whole or not at all; its header has `facts` and a sha256 of all it holds.

        Raises UserError where there is no such folder, or it cannot be written.
        """
        write_tensors(path, {**facts, "pair": self.pair, "reference": self.reference.to_dict()}, self.tensors)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu", key: str | None = None) -> Self:
        """Read a file that `save` wrote, with `key` among its facts where one is given.

        Raises Damaged where it is not what was written, of an older version, or of another key.
        """
        try:
            header, tensors = read_tensors(path, "motion", key)
            reference, pair = ReferenceSettings(**header["reference"]), header["pair"]
        except Exception as problem:  # a damaged file fails in many ways, and all of them mean the same here
            raise Damaged(f'"{path}" is not a whole motion: {problem}; invert the clip again') from problem
        return cls.of({name: tensor.to(device) for name, tensor in tensors.items()}, reference, pair)


@torch.no_grad()
def invert(pair: ModelPair, frames: np.ndarray, config: EchoConfig, train: bool = True) -> Motion:
    """Distil the motion of a clip, uint8 [f, h, w, 3] at the pair's size and length (Sec. 4.1, App. B.2).

    Without `train` it serves those samples alone that carry nothing of what is trained on a reference.
    Raises BadSample where the clip is of another size, or its latents become not finite.
    """
    reference, schedule = config.reference, pair.schedule
    z0, null = pair.codec.encode(frames)[None], pair.encode_text([""])
    z_T = inverted(pair.teacher, schedule, z0, null, reference)
    if not bool(torch.isfinite(z_T).all()):
        raise BadSample("the reference could not be inverted: its latents became not finite")
    carried: dict[Role, Carried] = {}
    doing("targets")
    for role, denoiser in _networks(pair):
        carried[role] = strategy_of(denoiser, reference).prepare(denoiser, schedule, z0, null)
    if reference.trains and train:
        caption = pair.encode_text([reference.reference_prompt])
        for role, adapter in adapters(pair, z0, caption, reference).items():
            one = {name: tensor[0].contiguous() for name, tensor in adapter.items()}
            carried[role] = replace(carried[role], adapter=one)
    lines = torch.from_numpy(outlines(frames)).to(z_T.device) if reference.outlines else None
    return Motion(z_T[0], carried["student"], carried["teacher"], reference, pair.spec.name, lines)


def _networks(pair: ModelPair) -> tuple[tuple[Role, Denoiser], ...]:
    return (("student", pair.student), ("teacher", pair.teacher))


def adapters(
    pair: ModelPair, z0: Tensor, captions: Tensor, reference: ReferenceSettings
) -> dict[Role, Adapter]:
    """Train what the strategy trains on clips z0 [b, c, f, h, w] under their captions, or read a file of it.

    Returns tensors [b, ...] by the role of the network that was trained. Raises BadSample where training
    becomes not finite, UserError where a file does not fit.
    """
    if reference.motion_lora:
        with fetch(reference.motion_lora) as path:
            factors = lora.read_file(path, reference.motion_lora)
        found = lora.fitted(factors, pair.teacher, reference.motion_lora)
        return {
            "teacher": {name: tensor[None].expand(len(z0), *tensor.shape) for name, tensor in found.items()}
        }
    roles: tuple[Role, ...] = ("student", "teacher") if reference.trainer == "each" else (reference.trainer,)
    trained: dict[Role, Adapter] = {}
    for role in roles:
        network = pair.plain(role)
        recipe = strategy_of(network, reference).recipe
        if recipe is not None:
            trained[role] = recipe.train(network, pair.schedule, z0, captions, reference)
    return trained


def initial(motion: Motion, seeds: Sequence[int], config: EchoConfig) -> Tensor:
    """Make the latents that sampling begins with, [b, c, f, h, w], of a batch's inverted noise (App. B.2)."""
    fresh = batch_noise(seeds, "initial", 0, motion.z_T)
    if config.student.initial_noise == "low_frequencies":
        return dmt.initial(motion.z_T, fresh)
    return blend(motion.z_T, fresh, config.student.noise_blend * config.guidance.motion_strength)


def inverted(
    teacher: Denoiser, schedule: Schedule, z0: Tensor, null: Tensor, reference: ReferenceSettings
) -> Tensor:
    """Return z_T of clean latents [b, c, f, h, w]; zeros without inversion steps, as nothing begins there."""
    last = deque(inversion(teacher, schedule, z0, null, reference), maxlen=1)
    return last[0][1] if last else torch.zeros_like(z0)


@torch.no_grad()
def inversion(
    teacher: Denoiser, schedule: Schedule, z0: Tensor, null: Tensor, reference: ReferenceSettings
) -> Iterator[tuple[Level, Tensor]]:
    """Walk clean latents [b, c, f, h, w] up the teacher's own path (DDIM or Euler) under the empty prompt.

    The last one is z_T, at the schedule's top. Without inversion steps there is none.
    """
    z, at, steps = z0, schedule.at(0), reference.inversion_steps
    for t in counted("inversion", [*reversed(uniform(schedule)(steps))] if steps else []):
        to = schedule.at(t)
        where = to if reference.inversion_evaluate_at == "target" or at.sigma == 0 else at
        x0 = teacher.x0(z, where, null)
        if teacher.answer == "flow":  # its velocity is what is held over the step, not the noise
            eps = z + at.alpha * output_of("flow", x0, z, where)
        else:
            eps = eps_of(z, x0, where)
        z = climb(z, eps, at, to)
        at = to
        yield at, z
