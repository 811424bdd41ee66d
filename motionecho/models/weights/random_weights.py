"""Random weights that stand in for published ones: a dry run of everything but the picture."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from motionecho.models.weights.checkpoint import Shapes

RANK = 64


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


def random_files(
    wanted: dict[str, Shapes], dtype_of: Callable[[str], torch.dtype], only: tuple[str, ...] = ()
) -> dict[str, dict[str, Tensor]]:
    """Make what a pair's files hold, or some of them; no tensor is float32 for longer than it is drawn."""
    return {
        key: {
            name: random_tensors({name: shape}, 1000 * k + n)[name].to(dtype_of(name))
            for n, (name, shape) in enumerate(its.items())
        }
        for k, (key, its) in enumerate(wanted.items())
        if not only or key in only
    }


def lora_shapes(network: nn.Module, rank: int = RANK) -> Shapes:
    """Return the shapes of a LoRA on all attention layers, named as diffusers saves them."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and ".attn" in name:
            found[f"transformer.{name}.lora_A.weight"] = torch.Size([rank, module.in_features])
            found[f"transformer.{name}.lora_B.weight"] = torch.Size([module.out_features, rank])
    return found
