"""What a reference clip is boiled down to: its inverted noise, and motion targets of student and teacher."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from motionecho.config import EchoConfig
from motionecho.denoiser import Backbone, Probe
from motionecho.errors import BadSample
from motionecho.guidance.motionclone import MotionClone
from motionecho.guidance.steering import Target, stack
from motionecho.models.pair import ModelPair
from motionecho.noise import noise
from motionecho.schedules import uniform_grid


@dataclass(frozen=True)
class Motion:
    """Inverted noise z_T [c, f, h, w] and both models' targets of a reference; stacked, all lead with [b]."""

    z_T: Tensor
    student: Target
    teacher: Target

    def save(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write a safetensors file; `metadata` goes into its header."""
        tensors = {"z_T": self.z_T}
        tensors |= {f"student/{name}": tensor for name, tensor in self.student.items()}
        tensors |= {f"teacher/{name}": tensor for name, tensor in self.teacher.items()}
        save_file(
            {name: t.detach().cpu().contiguous() for name, t in tensors.items()},
            path,
            metadata=metadata or {},
        )

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> "Motion":
        """Read a file that `save` wrote."""
        with safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        parts = {role: {n.removeprefix(f"{role}/"): t for n, t in tensors.items() if n.startswith(f"{role}/")}
                 for role in ("student", "teacher")}  # fmt: skip
        return cls(tensors["z_T"], parts["student"], parts["teacher"])

    @classmethod
    def stack(cls, motions: Sequence["Motion"], device: str | torch.device) -> "Motion":
        """Batch motions of one pair, [b, ...] each."""
        batch = cls(
            torch.stack([m.z_T for m in motions]),
            stack([m.student for m in motions]),
            stack([m.teacher for m in motions]),
        )
        move = lambda target: {name: tensor.to(device) for name, tensor in target.items()}  # noqa: E731
        return cls(batch.z_T.to(device), move(batch.student), move(batch.teacher))


def guidance_of(backbone: Backbone, config: EchoConfig) -> MotionClone:
    """The motion guidance of one model: its own layers unless the config names others."""
    return MotionClone(config.reference.layers or backbone.layers)


@torch.no_grad()
def invert(pair: ModelPair, frames: np.ndarray, config: EchoConfig) -> Motion:
    """Distil the motion of a clip, uint8 [f, h, w, 3] at the pair's size and length (Sec. 4.1, App. B.2)."""
    z0 = pair.encode_video(frames)[None]
    null = pair.encode_text([""])
    z_T = ddim_invert(pair.teacher, z0, null, config)
    if not bool(torch.isfinite(z_T).all()):
        raise BadSample("the reference could not be inverted: its latents became not finite")
    return Motion(
        z_T[0],
        reference_target(pair.student, z0, null, config),
        reference_target(pair.teacher, z0, null, config),
    )


@torch.no_grad()
def ddim_invert(teacher: Backbone, z0: Tensor, null: Tensor, config: EchoConfig) -> Tensor:
    """Walk clean latents [b, c, f, h, w] up to t = 999 along the teacher's DDIM path with an empty prompt."""
    schedule, z, t = teacher.schedule, z0, 0
    for t_up in reversed(uniform_grid(config.reference.inversion_steps)):
        eps = teacher.denoise(z, t_up if config.reference.inversion_evaluate_at == "target" else t, null)
        z = schedule.add_noise(schedule.x0(z, eps, t), eps, t_up)
        t = t_up
    return z


@torch.no_grad()
def reference_target(backbone: Backbone, z0: Tensor, null: Tensor, config: EchoConfig) -> Target:
    """One noised pass at t_alpha, ended after the last probed layer, reduced to the guidance's target.

    The noise is the same for every reference, so that the target depends on the clip alone.
    """
    guidance, t = guidance_of(backbone, config), config.reference.reference_timestep
    probe = Probe(guidance.layers)
    eps = noise(0, "reference", t, z0.shape[1:]).to(z0)[None]
    backbone.observe(backbone.schedule.add_noise(z0, eps, t), t, null, probe)
    return guidance.target(probe)


def motion_metadata(config: EchoConfig, **facts: str) -> dict[str, str]:
    """Header of a motion file: how it was made."""
    return {"inversion": json.dumps(config.reference.to_dict(), sort_keys=True)} | facts
