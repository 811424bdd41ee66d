"""The steering of a sample: one watched prediction, and the shift of it that lowers the motion loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from motionecho.config import GuidanceSettings
from motionecho.denoiser import CLEAN, Ask, Denoiser, Energy, Noise, Target
from motionecho.device import to_cpu_later, to_device_of
from motionecho.schedules import Level, eps_of

# Gradients are about 1e-6 at the maps of a full-size network, which float16 loses: they travel through the
# network times a power of two, which is exact, and so changes no bit in float32.
LIFT = 2.0**14
# The shift of a clean prediction grows with sigma / alpha, without end towards pure noise; public schedules
# begin at 26 or less, so this cap acts on none of them but those that begin at pure noise itself.
STEEPEST = 100.0
MIXTURE = 0.9  # share of the amplitude that mixed noise has of the predicted (TDM)
Update = Literal["x0", "direction", "velocity"]


@dataclass(frozen=True)
class Prediction:
    """One prediction of a batch of b samples, guided where it was asked for."""

    x0: Tensor  # [b, c, f, h, w], guided (Eq. 3)
    plain: Tensor  # the same unguided: where the teacher starts
    eps: Tensor  # the noise it predicts, unguided, of the latent that it looked at in the end
    nudge: Tensor | None  # added to whatever noise the next latent gets
    turn: Tensor | None  # added to the noise it predicts alone
    loss: Tensor | None  # [b] on the CPU, in the energy's unit
    forwards: Tensor  # [b] passes that were spent, whole numbers on the CPU
    backwards: Tensor

    def noise(self, kind: Noise = "predicted", fresh: Tensor | None = None) -> Tensor:
        """Return the noise of the next latent, bent by guidance; `fresh` is needed but for the predicted."""
        eps = self.eps if self.turn is None else self.eps + self.turn
        if fresh is not None and kind != "predicted":
            eps = fresh if kind == "fresh" else MIXTURE * eps + (1 - MIXTURE**2) ** 0.5 * fresh
        return eps if self.nudge is None else eps + self.nudge


@dataclass(frozen=True)
class Shift:
    """MotionClone's steering: one gradient g of the loss shifts the prediction. All forms descend.

    "x0" moves the clean prediction by -strength sigma^2 / alpha g, as recomputing it from eps + sigma g does
    (Eq. 3); "direction" leaves it and adds -strength sigma g to the next latent's noise. Mixing up the signs
    of the two ascends. "velocity" adds strength g to v: the clean prediction moves by -strength sigma g and
    the predicted noise by strength alpha g, which is finite at pure noise.
    """

    update: Update
    gradient: Literal["raw", "unit_rms"]

    def __call__(
        self, denoiser: Denoiser, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, ask: Ask
    ) -> Prediction:
        forwards = torch.full((len(z),), denoiser.passes)
        if not ask.watch and ask.strength == 0:
            x0 = denoiser.x0(z, at, text)
            none = torch.zeros_like(forwards)
            return Prediction(x0, x0, eps_of(z, x0, at), None, None, None, forwards, none)
        look = denoiser.look(z, at, text, energy, target, gradient=ask.strength > 0)
        loss = to_cpu_later(look.loss)
        gradient, wanted = None, torch.zeros(len(z), dtype=torch.bool)
        if ask.strength > 0:
            everyone = ask.above is None or bool((ask.above <= 0).all())
            if everyone:  # then the loss is read while the backward pass runs
                gradient, wanted = look.gradient(torch.full_like(look.loss, LIFT)), ~wanted
            elif ask.above is not None and bool((wanted := loss() * energy.unit >= ask.above).any()):
                gradient = look.gradient(to_device_of(z, wanted * LIFT))
        x0, nudge, turn = look.x0, None, None
        if gradient is not None:
            shift = scaled(gradient / LIFT, ask.strength, self.gradient)
            if self.update == "x0":
                x0 = look.x0 - at.sigma * steepness(at) * shift
            elif self.update == "velocity":
                x0, turn = look.x0 - at.sigma * shift, at.alpha * shift
            else:
                nudge = -at.sigma * shift
        eps = eps_of(z, look.x0, at)
        backwards = wanted * look.passes
        return Prediction(x0, look.x0, eps, nudge, turn, loss() * energy.unit, forwards, backwards)


@dataclass(frozen=True)
class Descend:
    """DMT's steering: `steps` of Adam on the latent at the rate of the strength, then a new prediction.

    Each step is along the gradient of one look: of the conditional branch alone, or, where clean videos are
    compared, of the one that is sampled. A sample that is not guided stays where it is, to the bit.
    """

    steps: int

    def __call__(
        self, denoiser: Denoiser, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, ask: Ask
    ) -> Prediction:
        first = Shift("x0", "raw")(
            denoiser, z, at, text, energy, target, Ask(ask.watch or ask.strength > 0, above=ask.above)
        )
        if ask.strength == 0 or first.loss is None:
            return first
        wanted = torch.ones(len(z), dtype=torch.bool) if ask.above is None else first.loss >= ask.above
        if not bool(wanted.any()):
            return first
        weights = to_device_of(z, wanted * LIFT)
        branch, own = (denoiser, text) if energy.taps == CLEAN else denoiser.conditional(text)
        moved = z.detach().clone()
        adam = torch.optim.Adam([moved], lr=ask.strength)
        passes = 0
        for _ in range(self.steps):
            look = branch.look(moved, at, own, energy, target)
            moved.grad, passes = look.gradient(weights) / LIFT, passes + look.passes
            adam.step()
        x0 = denoiser.x0(moved.detach(), at, text)
        forwards = first.forwards + wanted * (self.steps * branch.passes + denoiser.passes)
        eps = eps_of(moved, x0, at)
        return Prediction(x0, first.plain, eps, None, None, first.loss, forwards, wanted * passes)


def steer_of(guidance: GuidanceSettings, update: Update) -> Shift | Descend:
    """Return the steering that settings ask for, in the form `update` where it is a shift."""
    if guidance.steer == "descent":
        return Descend(guidance.descent_steps)
    return Shift(update, guidance.gradient)


def steepness(at: Level) -> float:
    """Tell how much of a change of the noise reaches the clean prediction: sigma / alpha, up to STEEPEST."""
    alpha, sigma = float(at.alpha), float(at.sigma)
    return min(sigma / alpha, STEEPEST) if alpha > 0 else STEEPEST


def scaled(gradient: Tensor, strength: float, mode: Literal["raw", "unit_rms"]) -> Tensor:
    """eta times the gradient, as it is or brought to unit root mean square within each sample."""
    if mode == "raw":
        return strength * gradient
    rms = gradient.square().mean(dim=tuple(range(1, gradient.ndim)), keepdim=True).sqrt()
    return strength * gradient / rms.clamp_min(1e-12)


def rows(target: Target, index: Tensor) -> Target:
    """The samples `index` of a batched target."""
    return {name: tensor[to_device_of(tensor, index)] for name, tensor in target.items()}


def stack(targets: Sequence[Target]) -> Target:
    """Batch targets of single references."""
    return {name: torch.stack([target[name] for target in targets]) for name in targets[0]}
