"""The embedded transformer pair, loaded from the weights that ship with the package."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from motionecho.config import Placement
from motionecho.denoiser import Denoiser
from motionecho.models.pair import ModelPair
from motionecho.models.spec import PairSpec
from motionecho.models.toy.pair import Placed, assembled, networks_of
from motionecho.models.toy_dit.nets import SCHEDULE, STUDENT, build_transformer
from motionecho.models.wan.denoiser import WanDenoiser
from motionecho.schedules import uniform


def load(spec: PairSpec, placement: Placement, dtype: str) -> ModelPair:
    """Build the pair; float32 unless asked otherwise, since it is small enough everywhere."""

    def transformers(placed: Placed) -> tuple[Denoiser, Denoiser]:
        student, teacher = (placed(role, build_transformer()) for role in ("student", "teacher"))
        return (
            WanDenoiser(student, uniform(STUDENT), spec.layers),
            WanDenoiser(teacher, uniform(SCHEDULE), spec.layers),
        )

    return assembled(spec, placement, dtype, SCHEDULE, transformers)


def networks(files: Mapping[str, Path]) -> dict[str, Callable[[], nn.Module]]:
    """Map each network to what loads it from its file, or raises Misfit where tensors do not fit."""
    return networks_of(files, build_transformer)
