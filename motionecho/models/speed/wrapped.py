"""What stands around a backbone and answers as it does, all but for the passes."""

from dataclasses import dataclass

from torch import nn

from motionecho.denoiser import Backbone
from motionecho.schedules import NoiseSchedule, Solver


@dataclass(frozen=True)
class Wrapped:
    backbone: Backbone

    @property
    def unet(self) -> nn.Module:
        return self.backbone.unet

    @property
    def schedule(self) -> NoiseSchedule:
        return self.backbone.schedule

    @property
    def solver(self) -> Solver:
        return self.backbone.solver

    @property
    def layers(self) -> tuple[str, ...]:
        return self.backbone.layers
