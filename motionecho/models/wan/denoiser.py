"""diffusers' Wan transformer as a denoiser: block by block, so that a pass can be looked into and end early.

Tokens are [b, n, c], n = f' h' w' with w' fastest: latents in patches of 1 x 2 x 2.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from motionecho.denoiser import Eager, Kind, Noise, Probe, Tap, probing
from motionecho.models.kernels import plain
from motionecho.models.weights.checkpoint import layer_weight
from motionecho.schedules import Answer, Grid, Level, clean


@dataclass(frozen=True)
class Conditions:
    """What every block of a pass is given beside the tokens."""

    text: Tensor  # [b, tokens, c]
    time: Tensor  # [b, c], for the head
    modulation: Tensor  # [b, 6, c]
    rotation: tuple[Tensor, Tensor]  # cosines and sines, [1, n, 1, d] each


class WanDenoiser(Eager):
    """A flow-matching denoiser; `layers` are those that each strategy reads, `blocks.K` or `blocks.K.attn1`.

    A block shows its output as features, its attention the queries and keys. `using` is entered around every
    pass. With `checkpointing` a gradient keeps what lies between blocks, and computes the rest again.
    """

    passes = 1
    answer: Answer = "flow"
    attends_time = False

    def __init__(
        self,
        network: WanTransformer3DModel,
        grid: Grid,
        layers: Mapping[str, tuple[str, ...]],
        noise: Noise = "fresh",
        using: Callable[[], AbstractContextManager[Any]] = nullcontext,
        checkpointing: bool = False,
    ):
        self.network, self.grid, self.layers, self.noise = network, grid, layers, noise
        self.using, self.checkpointing = using, checkpointing
        blocks = [f"blocks.{k}" for k in range(len(network.blocks))]
        attentions = [f"{block}.attn1" for block in blocks]
        self._probeable: dict[Kind, list[str]] = {
            "features": blocks,
            "queries": attentions,
            "keys": attentions,
        }
        self._linear = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear)}

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        _, height, width = self.network.config.patch_size
        grid = (z.shape[2], z.shape[3] // height, z.shape[4] // width)
        with self.using(), probing(probe, self._probeable):
            tokens, conditions = self._enter(z, at, text)
            for k, block in enumerate(self.network.blocks):
                queries, keys = Tap(f"blocks.{k}.attn1", "queries"), Tap(f"blocks.{k}.attn1", "keys")
                if probe and (queries in probe.taps or keys in probe.taps):
                    shown = zip((queries, keys), self._attended(block, tokens, conditions), strict=True)
                    for tap, tensor in shown:
                        if tap in probe.taps:
                            probe.show(tap, _on_grid(tensor, grid))
                tokens = self._through(block, tokens, conditions)
                if probe and (output := Tap(f"blocks.{k}", "features")) in probe.taps:
                    probe.show(output, _on_grid(tokens, grid))
            return clean(self.answer, z, self._leave(tokens, conditions, grid).float(), at)

    def _enter(self, z: Tensor, at: Level, text: Tensor) -> tuple[Tensor, Conditions]:
        """Cut latents into tokens, and bring time and text to the network's width."""
        net, kind = self.network, self.network.patch_embedding.weight.dtype
        latents = z.to(kind)
        t = torch.as_tensor(at.t, dtype=torch.float32, device=z.device).expand(len(z))
        time, modulation, states, _ = net.condition_embedder(t, text.to(kind))
        its = Conditions(states, time, modulation.unflatten(1, (6, -1)), net.rope(latents))
        return self._cut(latents), its

    def _cut(self, latents: Tensor) -> Tensor:
        """Cut latents [b, c, f, h, w] into tokens."""
        tokens: Tensor = self.network.patch_embedding(latents)
        return tokens.flatten(2).transpose(1, 2).contiguous()

    def _through(self, block: nn.Module, tokens: Tensor, its: Conditions) -> Tensor:
        inputs = (block, tokens, its.text, its.modulation, its.rotation)
        if self.checkpointing and torch.is_grad_enabled() and tokens.requires_grad:
            # computed again when the pass is over, and what was entered around it left
            again: Tensor = checkpoint(
                self._computed, *inputs, use_reentrant=False, preserve_rng_state=False,
                context_fn=lambda: (nullcontext(), self.using()),
            )  # fmt: skip
            return again
        return self._computed(*inputs)

    def _computed(
        self, block: Any, tokens: Tensor, text: Tensor, modulation: Tensor, rotation: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Compute what a block makes of tokens [b, n, c]; see Conditions."""
        out: Tensor = block(tokens, text, modulation, rotation)
        return out

    def _modulated(self, norm: Any, tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Normalise tokens, and scale and shift them by [b, c] of the time."""
        return plain.scaled_norm(tokens, 1 + scale, shift, norm.eps)

    def _attended(self, block: Any, tokens: Tensor, its: Conditions) -> tuple[Tensor, Tensor]:
        """Compute queries and keys [b, n, c] of a block's attention over all tokens, as it does itself."""
        shift, scale = (block.scale_shift_table + its.modulation.float())[:, :2].unbind(1)
        normed = self._modulated(block.norm1, tokens, scale, shift)
        attention = block.attn1
        queries, keys = (
            plain.rms_norm(project(normed).unflatten(-1, (attention.heads, -1)), norm, its.rotation)
            for project, norm in (
                (attention.to_q, attention.norm_q),
                (attention.to_k, attention.norm_k),
            )
        )
        heads, width = queries.shape[-2:]
        return queries.flatten(2) / (heads * width**0.5), keys.flatten(2)

    def _leave(self, tokens: Tensor, its: Conditions, grid: tuple[int, int, int]) -> Tensor:
        """Turn tokens into the network's output [b, c, f, h, w]."""
        net = self.network
        shift, scale = (net.scale_shift_table + its.time[:, None]).unbind(1)
        out = net.proj_out(self._modulated(net.norm_out, tokens, scale, shift))
        patches = out.unflatten(-1, (*net.config.patch_size, -1)).unflatten(1, grid)
        # [b, f', h', w', pf, ph, pw, c] to [b, c, f', pf, h', ph, w', pw]
        whole: Tensor = patches.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return whole

    def shrinks(self, layer: str) -> int:
        return int(self.network.config.patch_size[-1])

    def weight(self, name: str) -> Tensor:
        return layer_weight(self._linear.get(name), name, self._linear)


def _on_grid(tokens: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Lay tokens [b, n, c] out as [b, f, c, h, w]."""
    return tokens.unflatten(1, grid).movedim(-1, 2)
