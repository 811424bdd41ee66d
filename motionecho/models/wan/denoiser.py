"""diffusers' Wan transformer as a denoiser."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from motionecho.denoiser import Kind
from motionecho.models.blockwise import Blockwise, Places, State, side_by_side
from motionecho.models.kernels import plain
from motionecho.schedules import Answer, Level


@dataclass(frozen=True)
class Conditions:
    """What every block of a pass is given beside the tokens."""

    text: Tensor  # [b, tokens, c]
    time: Tensor  # [b, c], for the head
    modulation: Tensor  # [b, 6, c]
    rotation: tuple[Tensor, Tensor]  # cosines and sines, [1, n, 1, d] each


class WanDenoiser(Blockwise):
    """A flow-matching denoiser, whose layers are `blocks.K` and `blocks.K.attn1`."""

    answer: Answer = "flow"
    stem = "blocks"

    def enter(self, z: Tensor, at: Level, text: Tensor, places: Places) -> tuple[State, Conditions]:
        net, kind = self.network, self.network.patch_embedding.weight.dtype
        latents = z.to(kind)
        t = torch.as_tensor(at.t, dtype=torch.float32, device=z.device).expand(len(z))
        time, modulation, states, _ = net.condition_embedder(t, text.to(kind))
        its = Conditions(states, time, modulation.unflatten(1, (6, -1)), net.rope(latents))
        return (self._cut(latents),), its

    def _cut(self, latents: Tensor) -> Tensor:
        """Cut latents [b, c, f, h, w] into tokens."""
        tokens: Tensor = self.network.patch_embedding(latents)
        return tokens.flatten(2).transpose(1, 2).contiguous()

    def computed(self, block: Any, state: State, its: Conditions) -> State:
        return (block(*state, its.text, its.modulation, its.rotation),)

    def _modulated(self, norm: Any, tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Normalise tokens, and scale and shift them by [b, c] of the time."""
        return plain.scaled_norm(tokens, 1 + scale, shift, norm.eps)

    def attended(self, block: Any, state: State, its: Conditions) -> dict[Kind, Tensor]:
        shift, scale = (block.scale_shift_table + its.modulation.float())[:, :2].unbind(1)
        normed = self._modulated(block.norm1, state[0], scale, shift)
        attention = block.attn1
        queries, keys = (
            plain.rms_norm(project(normed).unflatten(-1, (attention.heads, -1)), norm, its.rotation)
            for project, norm in (
                (attention.to_q, attention.norm_q),
                (attention.to_k, attention.norm_k),
            )
        )
        return side_by_side(queries, keys)

    def leave(self, tokens: Tensor, its: Conditions, places: Places) -> Tensor:
        net = self.network
        shift, scale = (net.scale_shift_table + its.time[:, None]).unbind(1)
        out = net.proj_out(self._modulated(net.norm_out, tokens, scale, shift))
        patches = out.unflatten(-1, (*net.config.patch_size, -1)).unflatten(1, places)
        # [b, f', h', w', pf, ph, pw, c] to [b, c, f', pf, h', ph, w', pw]
        whole: Tensor = patches.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return whole

    def shrinks(self, layer: str) -> int:
        return int(self.network.config.patch_size[-1])
