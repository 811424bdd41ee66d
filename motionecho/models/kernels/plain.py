"""The operations of the networks' layers beside matrix products, in plain torch.

A U-Net's videos x are [b, f, h, w, c], a transformer's tokens [b, n, c]. `triton` has the same functions as
fused kernels. Linear layers are called here as the modules that they are, so that what is trained beside them
takes part.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Linear = Any  # a linear layer, or the 1x1 convolution that some checkpoints have in its place


def group_norm(
    x: Tensor, norm: nn.GroupNorm, over_time: bool, silu: bool = False, shift: Tensor | None = None
) -> Tensor:
    """Normalise x + shift within groups of channels, per video (`over_time`) or per frame; SiLU after it.

    `shift` [1 or b, c] is what a layer before left to add: the bias of a convolution, an embedding.
    """
    if shift is not None:
        x = x + shift[:, None, None, None]
    lead = (0, 0) if over_time else (0, 1)
    flat = x.flatten(*lead).movedim(-1, 1)  # [b, c, f, h, w] or [b*f, c, h, w]
    y = F.group_norm(flat, norm.num_groups, norm.weight, norm.bias, norm.eps).movedim(1, -1)
    return (F.silu(y) if silu else y).reshape(x.shape)


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def add_linear(x: Tensor, y: Tensor, layer: Linear) -> Tensor:
    """Return x + layer(y)."""
    whole = isinstance(layer, nn.Linear)
    return x + (layer(y) if whole else F.linear(y, layer.weight.flatten(1), layer.bias))


def add_norm(x: Tensor, y: Tensor, layer: Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Return x + layer(y), and that normalised."""
    total = add_linear(x, y, layer)
    return total, layer_norm(total, norm)


def geglu(x: Tensor, layer: Linear) -> Tensor:
    """Project to [..., 2n], of which the first half is gated by the exact GELU of the second: [..., n]."""
    value, gate = layer(x).chunk(2, dim=-1)
    return value * F.gelu(gate)


def attend(qkv: Tensor) -> Tensor:
    """Let tokens attend to each other: queries, keys, values [n, p, 3, heads, d] to [n, p, heads, d]."""
    return attend_to(*qkv.unbind(2))


def attend_to(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Let tokens [n, p, heads, d] attend to others [n, t, heads, d], which need no gradient."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def attend_over_time(qkv: Tensor) -> Tensor:
    """Let pixels attend to themselves in all frames: queries, keys, values [b, f, p, 3, heads, d] to one."""
    query, key, value = qkv.permute(3, 0, 2, 4, 1, 5)  # [b, p, heads, f, d] each
    return F.scaled_dot_product_attention(query, key, value).permute(0, 3, 1, 2, 4)


def join(x: Tensor, y: Tensor, bias: Tensor | None) -> Tensor:
    """Return x + y + bias [c]."""
    return x + y if bias is None else x + (y + bias)


def weave(parts: Tensor, bias: Tensor) -> Tensor:
    """Put a picture of twice the size together from four, each a row and a column too large.

    [n, h + 1, w + 1, 2, 2, c], by row and column even or odd, and bias [c] to [n, 2 h, 2 w, c]: the odd one
    of two rows is in the next row of its part, as with columns.
    """
    n, h, w, c = len(parts), parts.shape[1] - 1, parts.shape[2] - 1, parts.shape[-1]
    even_odd = [[parts[:, a : h + a, b : w + b, a, b] for b in (0, 1)] for a in (0, 1)]
    rows = [torch.stack(pair, 3) for pair in even_odd]  # [n, h, w, 2, c] each
    return (torch.stack(rows, 2) + bias).reshape(n, 2 * h, 2 * w, c)


def scaled_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Normalise tokens in float32 and return scale * that + shift, each [c] or of each video, [b, c]."""
    normal = F.layer_norm(x.float(), x.shape[-1:], eps=eps)
    return (normal * _of_videos(scale) + _of_videos(shift)).type_as(x)


def add_scaled_norm(
    x: Tensor, y: Tensor, gate: Tensor | None, scale: Tensor, shift: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Return x + gate * y, gate [b, c], and that normalised and scaled."""
    total = x + y if gate is None else add_gated(x, y, gate)
    return total, scaled_norm(total, scale, shift, eps)


def add_gated(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """Return x + gate * y of tokens, gate [b, c]."""
    return (x.float() + _of_videos(gate) * y.float()).type_as(x)


def rms_norm(x: Tensor, norm: nn.RMSNorm, rotation: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Normalise x [b, n, heads, d] over all heads at once, and turn it by cosines and sines: `rotated`."""
    y = norm(x.flatten(2)).unflatten(-1, x.shape[-2:])
    return y if rotation is None else rotated(y, *rotation)


def rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn neighbouring pairs of x [b, n, heads, d] by the angles of their place; tables [1, n, 1, d]."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cosines[..., 0::2], sines[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).type_as(x)


def attend_apart(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Let tokens [b, n, heads, d] attend to others; all three may want a gradient."""
    return attend_to(query, key, value)


def gelu(x: Tensor) -> Tensor:
    """The GELU by its approximation with a tanh."""
    return F.gelu(x, approximate="tanh")


def gelu_linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """Return gelu(layer(x))."""
    return gelu(layer(x))


def rms_silu(x: Tensor, gamma: Tensor) -> Tensor:
    """Bring rows [..., c] to root mean square gamma [c], and return the SiLU of that; without a gradient."""
    normal = F.normalize(x.float(), dim=-1) * x.shape[-1] ** 0.5
    return F.silu(normal * gamma.float()).type_as(x)


def _of_videos(x: Tensor) -> Tensor:
    return x.float() if x.ndim == 1 else x.float()[:, None]
