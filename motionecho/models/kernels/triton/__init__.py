"""The functions of `plain` as fused Triton kernels, forward and gradient of the activations.

Activations are [n, r, c] to a kernel: c channels (contiguous) of r positions of n items. All is computed
in float32 and stored in the activations' type.
"""

from motionecho.models.kernels.triton.gelus import gelu, gelu_linear
from motionecho.models.kernels.triton.group_norms import group_norm
from motionecho.models.kernels.triton.in_frame import attend, attend_apart, attend_to
from motionecho.models.kernels.triton.layer_norms import layer_norm
from motionecho.models.kernels.triton.over_time import attend_over_time
from motionecho.models.kernels.triton.products import add_linear, add_norm, geglu
from motionecho.models.kernels.triton.rms_norms import rms_norm, rms_silu
from motionecho.models.kernels.triton.scaled_norms import add_gated, add_scaled_norm, scaled_norm
from motionecho.models.kernels.triton.sums import join, weave

__all__ = [
    "add_gated", "add_linear", "add_norm", "add_scaled_norm", "attend", "attend_apart", "attend_over_time",
    "attend_to", "geglu", "gelu", "gelu_linear", "group_norm", "join", "layer_norm", "rms_norm", "rms_silu",
    "scaled_norm", "weave",
]  # fmt: skip
