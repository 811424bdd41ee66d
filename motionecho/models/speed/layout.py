"""The means that make networks faster on a GPU: fused kernels and their places, layout, less arithmetic."""

import importlib.util
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Which of three taps fall on the same pixel of a picture that was doubled: [even or odd, of two, of three].
MEETING = (((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)), ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


def kernels(device: torch.device, eager: bool, train: bool = False) -> ModuleType | None:
    """Return `triton`, `trained` to train beside layers, or None where plain torch does or was asked for."""
    if eager or device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return None
    from motionecho.models.kernels import trained, triton

    return trained if train else triton


def channels_last(network: nn.Module) -> None:
    """Lay the weights of convolutions out as their inputs are."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
        if isinstance(layer, nn.Conv3d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last_3d)


class Doubled(nn.Module):
    """A nearest neighbour to twice the size, then a 3x3 convolution: as four of 2x2 before doubling.

    On a doubled picture some of nine taps always meet on a pixel, so that their weights add up: 4/9 of the
    arithmetic, and the doubled picture is never written. Frames are [n, c, h, w]; there is no gradient.
    """

    weight: Tensor

    def __init__(self, conv: Any, ops: ModuleType):
        super().__init__()
        meeting = torch.tensor(MEETING, device=conv.weight.device)
        weight = torch.einsum("apk,bql,oikl->aboipq", meeting, meeting, conv.weight.detach().float())
        weight = weight.flatten(0, 2).to(conv.weight.dtype).contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight, persistent=False)
        self.bias, self.ops = conv.bias, ops

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        parts = F.conv2d(x, self.weight, padding=1).permute(0, 2, 3, 1).unflatten(-1, (2, 2, -1))
        out: Tensor = self.ops.weave(parts, self.bias)
        return out.permute(0, 3, 1, 2)
