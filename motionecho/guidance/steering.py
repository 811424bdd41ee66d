"""The two verbs of motion guidance, and the guided prediction that sampler and teacher share."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from motionecho.denoiser import LIFT, Backbone, Prediction, Probe
from motionecho.device import beside, repeatable

Target = dict[str, Tensor]  # named tensors; batched ones lead with [b]
LOSS_UNIT = 2000.0  # of reported losses and thresholds, whatever the strength (MotionClone's weight)


class MotionGuidance(Protocol):
    """A strategy: what to keep of the reference's probe, and how far a generated probe is from it."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers to probe."""
        ...

    def target(self, probe: Probe) -> Target:
        """Reduce the reference's probe (b = 1) to the tensors worth keeping, without batch dimension."""
        ...

    def loss(self, probe: Probe, target: Target) -> Tensor:
        """Motion loss of each sample, [b], differentiable in the probe."""
        ...


@runtime_checkable
class Predicts(Protocol):
    """A backbone with a faster `predict` of its own."""

    def predict(self, z: Tensor, t: int, text: Tensor, guidance: MotionGuidance, target: Target,
                above: Tensor | float | None) -> Prediction: ...  # fmt: skip


def predict(backbone: Backbone, z: Tensor, t: int, text: Tensor, guidance: MotionGuidance | None = None,
            target: Target | None = None, above: Tensor | float | None = None) -> Prediction:  # fmt: skip
    """Predict the noise and, with guidance, the motion loss G(z_t) of the conditional branch.

    The gradient of the loss with respect to z is taken for samples whose loss is at least `above`, [b] on
    the CPU or one for all (None: no gradient at all); where no sample is, the backward pass is saved.
    """
    if guidance is None or target is None:
        return Prediction(backbone.denoise(z, t, text))
    if isinstance(backbone, Predicts):
        return backbone.predict(z, t, text, guidance, target, above)
    probe = Probe(guidance.layers)
    with torch.set_grad_enabled(above is not None), repeatable():
        z = z.detach().requires_grad_(above is not None)
        eps = backbone.denoise(z, t, text, probe).detach()
        energy = guidance.loss(probe, target)
        loss = energy.detach().cpu() * LOSS_UNIT
        if above is None or not bool((wanted := loss >= above).any()):
            return Prediction(eps, loss)
        (gradient,) = torch.autograd.grad(energy, z, beside(wanted * LIFT, z))
    return Prediction(eps, loss, gradient / LIFT)


def scaled(gradient: Tensor, strength: float, mode: Literal["raw", "unit_rms"]) -> Tensor:
    """eta times the gradient, as it is or brought to unit root mean square within each sample."""
    if mode == "raw":
        return strength * gradient
    rms = gradient.square().mean(dim=tuple(range(1, gradient.ndim)), keepdim=True).sqrt()
    return strength * gradient / rms.clamp_min(1e-12)


def steer(
    eps: Tensor, shift: Tensor | None, sigma: float, update: Literal["x0", "direction"]
) -> tuple[Tensor, Tensor]:
    """Apply the guidance shift g to predicted noise: returns (eps that predicts x0, eps of the next step).

    Both forms descend the motion loss. "x0" recomputes the clean prediction from eps + sigma_t g (Eq. 3);
    "direction" leaves it alone and steps along eps - sigma_t g (MotionClone). Mixing them up ascends.
    """
    if shift is None:
        return eps, eps
    return (eps + sigma * shift, eps) if update == "x0" else (eps, eps - sigma * shift)


def rows(target: Target, index: Tensor) -> Target:
    """The samples `index` of a batched target."""
    return {name: tensor[beside(index, tensor)] for name, tensor in target.items()}


def stack(targets: Sequence[Target]) -> Target:
    """Batch targets of single references."""
    return {name: torch.stack([target[name] for target in targets]) for name in targets[0]}
