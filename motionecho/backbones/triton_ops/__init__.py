"""The functions of `plain_ops` as fused Triton kernels, forward and gradient of the activations.

Activations are [n, r, c] to a kernel: c channels (contiguous) of r positions of n items. All is computed
in float32 and stored in the activations' type.
"""

from motionecho.backbones.triton_ops.group_norms import group_norm
from motionecho.backbones.triton_ops.in_frame import attend, attend_to
from motionecho.backbones.triton_ops.layer_norms import layer_norm
from motionecho.backbones.triton_ops.over_time import attend_over_time
from motionecho.backbones.triton_ops.products import add_linear, add_norm, geglu
from motionecho.backbones.triton_ops.sums import join, weave

__all__ = [
    "add_linear", "add_norm", "attend", "attend_over_time", "attend_to", "geglu", "group_norm", "join",
    "layer_norm", "weave",
]  # fmt: skip
