"""Offloading: networks wait in main memory and take turns on a card that holds one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from motionecho.denoiser import Probe
from motionecho.models.pair import ModelPair
from motionecho.models.speed.wrapped import Wrapped


@dataclass
class Berth:
    """Room for one network on the device. Who leaves copies nothing back: weights never change."""

    device: torch.device
    taken: nn.Module | None = None
    at_home: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def take(self, network: nn.Module) -> None:
        """Bring a network's tensors to the device, once those of the last one have left."""
        if network is self.taken:
            return
        for tensor, home in self.at_home:
            tensor.data = home
        self.at_home = [(tensor, tensor.data) for tensor in (*network.parameters(), *network.buffers())]
        for tensor, home in self.at_home:
            tensor.data = home.to(self.device, non_blocking=True)
        self.taken = network


@dataclass(frozen=True)
class Berthed(Wrapped):
    """A backbone that takes the berth whenever it is asked something."""

    berth: Berth

    def denoise(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe | None = None) -> Tensor:
        self.berth.take(self.unet)
        return self.backbone.denoise(z, t, text, probe)

    def observe(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe) -> None:
        self.berth.take(self.unet)
        self.backbone.observe(z, t, text, probe)


def one_at_a_time(pair: ModelPair, device: torch.device, text_tower: nn.Module) -> ModelPair:
    """The same pair, loaded on the CPU, whose networks take turns on the device."""
    berth, encode = Berth(device), pair.text

    def text(ids: Tensor) -> Tensor:
        berth.take(text_tower)
        return encode(ids)

    @contextmanager
    def using(network: nn.Module) -> Iterator[None]:
        berth.take(network)
        yield

    student, teacher = Berthed(pair.student, berth), Berthed(pair.teacher, berth)
    return replace(pair, student=student, teacher=teacher, text=text, device=device, using=using)
