"""Random weights that stand in for published ones: a dry run of everything but the picture."""

from math import prod

import torch
from torch import Tensor

from motionecho.models.weights.checkpoint import Shapes


def random_tensors(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    """Draw weights that keep a signal's size, none zero: scales about 1, the rest by their fan-in."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        drawn = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            tensors[name] = drawn.mul_(prod(shape[1:]) ** -0.5)
        else:
            tensors[name] = drawn.mul_(0.1).add_(1.0 if name.endswith("weight") else 0.0)
    return tensors
