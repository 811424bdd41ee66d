"""Wraps diffusers' UNetMotionModel (AnimateDiff's architecture) as a backbone that can be probed."""

from typing import Literal

import torch
import torch.nn.functional as F
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from motionecho.denoiser import Probe
from motionecho.errors import UserError, nearest
from motionecho.schedules import NoiseSchedule, Solver


class _Seen(Exception):
    """All probed layers have run: a signal, not an error."""


class _TemporalAttention:
    """Attention processor: fused as usual, the explicit map where the running probe names this layer."""

    def __init__(self, name: str, owner: "MotionUNet"):
        self.name, self.owner = name, owner

    @property
    def shows(self) -> bool:
        """Whether the running probe asks for this layer's map."""
        return self.owner.probe is not None and self.name in self.owner.probe.layers

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
                 attention_mask: Tensor | None = None, **_: object) -> Tensor:  # fmt: skip
        mixed = self.mixed(attn, hidden_states, encoder_hidden_states, attention_mask)
        return attn.to_out[1](attn.to_out[0](mixed))

    def mixed(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
              attention_mask: Tensor | None = None) -> Tensor:  # fmt: skip
        """All but the last projection, of tokens [b*h*w, f, c]."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            project(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project, x in ((attn.to_q, hidden_states), (attn.to_k, source), (attn.to_v, source))
        )
        probe = self.owner.probe
        if probe is None or not self.shows:
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=attention_mask, scale=attn.scale
            )
        else:
            weights = (query.float() @ key.float().mT * attn.scale).softmax(-1)  # [b*h*w, heads, f, f]
            probe.maps[self.name] = weights.unflatten(0, (self.owner.batch, -1))
            mixed = weights.to(value.dtype) @ value
            if probe.complete:
                self.owner.finish_probe()
        return mixed.transpose(1, 2).flatten(2)


class MotionUNet:
    """A backbone; `layers` are the layers guided by default, named as modules of the UNet."""

    def __init__(
        self,
        unet: UNetMotionModel,
        schedule: NoiseSchedule,
        solver: Solver,
        layers: tuple[str, ...],
        prediction: Literal["eps", "v"] = "eps",
    ):
        self.unet, self.schedule, self.solver = unet, schedule, solver
        self.layers, self.prediction = layers, prediction
        self.probe: Probe | None = None
        self.batch = 0
        self._stop_when_seen = False
        self._probeable = [
            n for n, m in unet.named_modules() if "motion_modules" in n and isinstance(m, Attention)
        ]
        # made with the network, and moved with it: what a pass makes lives no longer than the pass
        unet.register_buffer("rates", schedule.rates().to(unet.device), persistent=False)
        for name in self._probeable:
            unet.get_submodule(name).set_processor(_TemporalAttention(name, self))

    def denoise(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe | None = None) -> Tensor:
        self._begin(z, probe)
        grad_mode = torch.is_grad_enabled()
        try:
            timestep = torch.as_tensor(t, device=z.device).expand(len(z))
            context = text.to(self.unet.dtype).repeat_interleave(z.shape[2], 0)
            out = self.unet(z.to(self.unet.dtype), timestep, context).sample.float()
        finally:
            torch.set_grad_enabled(grad_mode)
            self.probe = None
        if self.prediction == "eps":
            return out
        alpha, sigma = self.unet.rates[:, timestep].view(2, -1, 1, 1, 1, 1)
        return alpha * out + sigma * z.detach()

    def observe(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe) -> None:
        self._stop_when_seen = True
        try:
            self.denoise(z, t, text, probe)
        except _Seen:
            return
        finally:
            self._stop_when_seen = False

    def finish_probe(self) -> None:
        """Called by the last probed layer: end the pass, or at least its autograd graph."""
        if self._stop_when_seen:
            raise _Seen
        torch.set_grad_enabled(False)

    def _begin(self, z: Tensor, probe: Probe | None) -> None:
        for layer in probe.layers if probe else ():
            if layer not in self._probeable:
                raise UserError(
                    f'"{layer}" is no temporal attention layer of this model{nearest(layer, self._probeable)}'
                )
        self.probe, self.batch = probe, len(z)
