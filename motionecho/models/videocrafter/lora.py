"""T2V-Turbo (V1) is published as a LoRA: what it adds to VideoCrafter2, in factors, without names.

The file is a list [up, down, up, down, ...], one pair for every linear layer, 2D and 3D convolution of
the UNet, in the order in which the public code declares them (which `UNet` keeps; 1D convolutions have none).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

import torch
from torch import Tensor

from motionecho.models.videocrafter.loading import PREFIX, TURBO, empty_unet, load_unet
from motionecho.models.videocrafter.unet import UNetConfig
from motionecho.models.weights.checkpoint import Misfit, Mismatch, State, component, shapes

WHAT = "T2V-Turbo's LoRA"
RANK, SCALE_WIDTH = 64, 256
SCALE = TURBO[0]  # new in the student: the base is not published, and the public code draws it; ours is zero


def factor_shapes(config: UNetConfig, rank: int = RANK) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Map each weight to the shapes of up and down, in the file's order; no rank exceeds a width."""
    found = {}
    for name, shape in shapes(empty_unet(config).state_dict()).items():
        if not name.endswith("weight") or len(shape) not in (2, 4, 5):
            continue
        within, kernel = min(rank, shape[0], shape[1]), shape[2:]
        up = torch.Size([shape[0], within, *(1 for _ in kernel)])
        found[name] = up, torch.Size([within, shape[1], *kernel])
    return found


def merged(videocrafter2: State, factors: Sequence[Tensor], rank: int = RANK) -> dict[str, Tensor]:
    """Make the student's UNet: weight + up down for every factor; raises Misfit naming what does not fit."""
    base = component(videocrafter2, PREFIX)
    config = replace(load_unet(base).config, scale_width=SCALE_WIDTH)
    expected = factor_shapes(config, rank)
    wanted = [(f"{name}:{end}", shape) for name, ends in expected.items()
              for end, shape in zip(("up", "down"), ends, strict=True)]  # fmt: skip
    problems = _problems(wanted, factors)
    if problems:
        some = "; ".join(f"{p.tensor} {p.problem}" for p in problems[:5])
        raise Misfit(
            f"the file does not fit {WHAT}: {len(problems)} of {len(wanted)} factors, {some}", problems
        )

    state = dict(base) | {SCALE: torch.zeros(config.channels, SCALE_WIDTH)}
    for name, up, down in zip(expected, factors[::2], factors[1::2], strict=True):
        added = up.flatten(1).float() @ down.flatten(1).float()
        state[name] = (state[name].float() + added.view(state[name].shape)).to(state[name].dtype)
    return state


def _problems(wanted: list[tuple[str, torch.Size]], factors: Sequence[Tensor]) -> list[Mismatch]:
    problems: list[Mismatch] = []
    for k, (want, factor) in enumerate(zip_longest(wanted, factors)):
        if want is None:
            problems.append(Mismatch(f"factor {k}", "unexpected", None, list(factor.shape)))
        elif factor is None:
            problems.append(Mismatch(want[0], "missing", list(want[1])))
        elif factor.shape != want[1]:
            problems.append(Mismatch(want[0], "wrong shape", list(want[1]), list(factor.shape)))
    return problems
