"""A ControlNet beside the motion UNet: outlines of every frame act on its skips, as in diffusers' pipeline.

It is the baseline that copies structure, named as what it is: neither ControlVideo nor Control-A-Video, which
have networks of their own. ControlNets of other conditions (soft edges, depth) fit, but see outlines only.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel
from torch import Tensor, nn

from motionecho.denoiser import Energy, Look, Probe, Target, eager_look
from motionecho.models.animatediff.loading import HEADS, TEXT_WIDTH, WIDTHS, widths_of
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.speed.wrapped import Wrapped
from motionecho.models.weights.checkpoint import State, filled, require_match, shapes
from motionecho.schedules import Level

CONTROL = "a ControlNet of Stable Diffusion 1.5"
Using = Callable[[nn.Module], AbstractContextManager[object]]


@dataclass(frozen=True)
class Controlled(Wrapped):
    """A motion UNet that sees outlines uint8 [b, f, h, w] of its samples, 255 where a line is.

    A batch may hold the samples several times over, as under classifier-free guidance. Both branches see the
    outlines. Passes counted are those of the UNet; one of the ControlNet costs about half as much.
    """

    denoiser: MotionUNet
    control: ControlNetModel
    outlines: Tensor
    scale: float
    using: Using = nullcontext  # around every pass of a network

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        with self.using(self.control):
            added = self.residuals(z, at, text)
        with self.using(self.network):
            return self.denoiser.x0(z, at, text, probe, added)

    def residuals(self, z: Tensor, at: Level, text: Tensor) -> dict[str, Any]:
        """Return what the ControlNet adds to the UNet's skips and middle, as the UNet's arguments."""
        kind, frames = self.control.dtype, z.shape[2]
        noisy = z.transpose(1, 2).flatten(0, 1).to(kind)
        lines = self.outlines.to(z.device).repeat(len(z) // len(self.outlines), 1, 1, 1).flatten(0, 1)
        timestep = torch.as_tensor(at.t, device=z.device).expand(len(noisy))
        context = text.to(kind).repeat_interleave(frames, 0)
        images = (lines / 255).to(kind)[:, None].expand(-1, 3, -1, -1)
        skips, middle = self.control(
            noisy, timestep, context, images, conditioning_scale=self.scale, return_dict=False
        )
        return {"down_block_additional_residuals": tuple(skips), "mid_block_additional_residual": middle}

    def look(
        self, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, gradient: bool = True
    ) -> Look:
        return eager_look(self, z, at, text, energy, target, gradient)


def load_control(base: State, state: State) -> ControlNetModel:
    """Build the ControlNet of a base; raises Misfit naming tensors of either that do not fit."""
    net = empty_control(*widths_of(base))
    require_match(shapes(net.state_dict()), state, CONTROL)
    return filled(net, state)


def empty_control(widths: tuple[int, ...] = WIDTHS, text_width: int = TEXT_WIDTH) -> ControlNetModel:
    """Build the network without memory: names and shapes alone."""
    with torch.device("meta"):
        return ControlNetModel(
            block_out_channels=widths, cross_attention_dim=text_width, attention_head_dim=HEADS
        )
