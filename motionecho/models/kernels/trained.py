"""The operations of `plain` where something trains beside the layers: fused where none of it takes part.

Linear layers are called as the modules that they are, and keys of a text get the gradient that factors of
their projections want.
"""

from torch import Tensor, nn

from motionecho.models.kernels.plain import Linear, add_linear, attend_to, geglu
from motionecho.models.kernels.triton import attend, attend_over_time, group_norm, join, layer_norm, weave


def add_norm(x: Tensor, y: Tensor, layer: Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Project, add and normalise as `plain.add_norm` does."""
    total = add_linear(x, y, layer)
    return total, layer_norm(total, norm)


__all__ = [
    "add_linear", "add_norm", "attend", "attend_over_time", "attend_to", "geglu", "group_norm", "join",
    "layer_norm", "weave",
]  # fmt: skip
