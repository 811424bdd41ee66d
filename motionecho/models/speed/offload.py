"""Offloading: networks wait in main memory and take turns on a card that holds one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from motionecho.denoiser import Energy, Look, Probe, Target
from motionecho.models.codec import CausalCodec, FramewiseCodec
from motionecho.models.pair import ModelPair
from motionecho.models.speed.wrapped import Wrapped
from motionecho.schedules import Level


@dataclass
class Berth:
    """A room for one network on the device. Who leaves copies nothing back: its weights are those at home."""

    device: torch.device
    taken: nn.Module | None = None
    at_home: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def take(self, network: nn.Module) -> None:
        """Bring a network's tensors to the device, once those of the last one have left."""
        if network is self.taken:
            return
        self.leave()
        self.at_home = [(tensor, tensor.data) for tensor in (*network.parameters(), *network.buffers())]
        for tensor, home in self.at_home:
            tensor.data = home.to(self.device, non_blocking=True)
        self.taken = network

    def leave(self) -> None:
        """Send home whoever is here; nobody is should the device be full."""
        self.taken = None
        for tensor, home in self.at_home:
            tensor.data = home
        self.at_home = []


@dataclass(frozen=True)
class Berthed(Wrapped):
    """A denoiser that takes the berth whenever it is asked something."""

    berth: Berth

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        self.berth.take(self.network)
        return self.denoiser.x0(z, at, text, probe)

    def look(
        self, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, gradient: bool = True
    ) -> Look:
        self.berth.take(self.network)
        return self.denoiser.look(z, at, text, energy, target, gradient)

    def weight(self, name: str) -> Tensor:
        if self.berth.taken is self.network:
            self.berth.leave()
        return self.denoiser.weight(name)


def one_at_a_time(
    pair: ModelPair,
    codec: FramewiseCodec | CausalCodec,
    device: torch.device,
    text_tower: nn.Module | None = None,
) -> ModelPair:
    """Have the networks of a pair, loaded on the CPU, take turns on the device.

    Without a tower, the text encoder finds its own way there, and room.
    """
    berth, encode = Berth(device), pair.text

    def text(ids: Tensor) -> Tensor:
        berth.leave() if text_tower is None else berth.take(text_tower)
        return encode(ids)

    @contextmanager
    def using(network: nn.Module) -> Iterator[None]:
        berth.take(network)
        yield

    return replace(
        pair,
        student=Berthed(pair.student, berth),
        teacher=Berthed(pair.teacher, berth),
        codec=replace(codec, device=device, using=using),
        text=text,
        device=device,
        plain=lambda role: Berthed(pair.plain(role), berth),
        controlled=partial(pair.controlled, using=using) if pair.controlled else None,
    )
