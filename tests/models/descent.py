"""The sign rule on any denoiser: a small guided step lowers the motion loss, and its opposite raises it."""

from torch import Tensor

from motionecho.denoiser import Ask, Denoiser, Energy, Target, observe
from motionecho.guidance.steering import Shift, Update, stack
from motionecho.schedules import Level, Schedule, eps_of, renoise


def target_of(denoiser: Denoiser, z: Tensor, at: Level, text: Tensor, energy: Energy) -> Target:
    """Return what is kept of one reference, z [1, c, f, h, w] as it is, as a batch of one."""
    return stack([energy.target(observe(denoiser, z, at, text, energy.taps))])


def loss_after(
    strength: float, denoiser: Denoiser, schedule: Schedule, z: Tensor, times: tuple[float, float],
    text: Tensor, energy: Energy, target: Target, update: Update,
) -> float:  # fmt: skip
    """The loss of the next latent after a guided step; a negative strength is the opposite of guidance."""
    at, to = map(schedule.at, times)
    steer, sign = Shift(update, "unit_rms"), -1 if strength < 0 else 1
    seen = steer(denoiser, z, at, text, energy, target, Ask(watch=True, strength=abs(strength)))
    x0, eps = seen.plain + sign * (seen.x0 - seen.plain), eps_of(z, seen.plain, at)
    onward = renoise(x0, eps + sign * (seen.noise() - eps), to)
    return denoiser.look(onward, to, text, energy, target, gradient=False).loss.item()


def raw_gradient(
    denoiser: Denoiser, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target
) -> Tensor:
    """The gradient of the loss as guidance takes it: lifted through the network, and back."""
    nudge = Shift("direction", "raw")(denoiser, z, at, text, energy, target, Ask(strength=1.0)).nudge
    assert nudge is not None
    return -nudge / at.sigma
