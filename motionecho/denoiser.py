"""The one protocol behind which every denoiser stands, and the probe that guidance reads it with."""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from motionecho.schedules import NoiseSchedule, Solver

# Gradients are about 1e-6 at the maps of a full-size network, which float16 loses: they travel through the
# network times a power of two, which is exact, and so changes no bit in float32.
LIFT = 2.0**14


@dataclass
class Probe:
    """Asks one forward pass for the temporal attention probabilities of named layers.

    After the pass `maps[layer]` is float32 [b, h*w, heads, f, f], rows summing to one. Where gradients
    are on, the graph ends behind the last probed layer: nothing later can change the maps.
    """

    layers: tuple[str, ...]
    maps: dict[str, Tensor] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.maps) == len(self.layers)


class Backbone(Protocol):
    """A denoiser over video latents z [b, c, f, h, w] (float32) at an integer timestep t in [0, 999].

    A timestep may be a tensor on the device, without dimensions, so that passes are alike for all.

    `text` is whatever the pair's text encoder made, batch first: [b, tokens, width].
    """

    @property
    def unet(self) -> nn.Module:
        """The network itself, which whoever manages memory may move."""
        ...

    @property
    def schedule(self) -> NoiseSchedule: ...
    @property
    def solver(self) -> Solver: ...
    @property
    def layers(self) -> tuple[str, ...]: ...

    def denoise(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe | None = None) -> Tensor:
        """Predict the noise eps, float32, shaped as z; fill `probe` on the way."""
        ...

    def observe(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe) -> None:
        """Fill `probe` by a forward pass that ends right after the last probed layer."""
        ...


@dataclass(frozen=True)
class Prediction:
    """Predicted noise [b, c, f, h, w]; where asked for, motion loss [b] in LOSS_UNIT and its raw gradient.

    The loss is on the CPU, where it is decided upon.
    """

    eps: Tensor
    loss: Tensor | None = None
    gradient: Tensor | None = None
