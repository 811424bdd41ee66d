"""What makes networks faster on a GPU: the fused kernels, where they run, and the layout they want."""

import importlib.util
from types import ModuleType

import torch
from torch import nn


def kernels(device: torch.device, eager: bool) -> ModuleType | None:
    """Return `triton_ops`, or None where plain torch has to do or was asked for."""
    if eager or device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return None
    from motionecho.backbones import triton_ops

    return triton_ops


def channels_last(network: nn.Module) -> None:
    """Lay the weights of convolutions out as their inputs are."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
        if isinstance(layer, nn.Conv3d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last_3d)
