"""A wrapper around a denoiser that answers as it does, all but for what it changes."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from motionecho.denoiser import Denoiser, Energy, Look, Noise, Probe, Target
from motionecho.schedules import Answer, Grid, Level


@dataclass(frozen=True)
class Wrapped:
    denoiser: Denoiser

    @property
    def network(self) -> nn.Module:
        return self.denoiser.network

    @property
    def grid(self) -> Grid:
        return self.denoiser.grid

    @property
    def noise(self) -> Noise:
        return self.denoiser.noise

    @property
    def answer(self) -> Answer:
        return self.denoiser.answer

    @property
    def layers(self) -> Mapping[str, tuple[str, ...]]:
        return self.denoiser.layers

    @property
    def attends_time(self) -> bool:
        return self.denoiser.attends_time

    @property
    def transformers(self) -> Mapping[str, tuple[str, ...]]:
        return self.denoiser.transformers

    @property
    def over_time(self) -> tuple[str, ...]:
        return self.denoiser.over_time

    def shrinks(self, layer: str) -> int:
        return self.denoiser.shrinks(layer)

    @property
    def passes(self) -> int:
        return self.denoiser.passes

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        return self.denoiser.x0(z, at, text, probe)

    def look(
        self, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, gradient: bool = True
    ) -> Look:
        return self.denoiser.look(z, at, text, energy, target, gradient)

    def conditional(self, text: Tensor) -> tuple[Denoiser, Tensor]:
        return self, text

    def weight(self, name: str) -> Tensor:
        return self.denoiser.weight(name)
