"""diffusers' CogVideoX as a denoiser: block by block, so that a pass can be looked into and end early.

Tokens of video are [b, n, c], n = f h' w' with w' fastest: latents in patches of 1 x 2 x 2. Those of text go
along beside them, and blocks attend to both at once.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from motionecho.denoiser import Eager, Kind, Noise, Probe, Tap, probing
from motionecho.models.kernels.plain import rotated
from motionecho.models.weights.checkpoint import layer_weight
from motionecho.schedules import Answer, Grid, Level, clean

Places = tuple[int, int, int]  # frames, height and width in patches


@dataclass(frozen=True)
class Joined:
    """What every block of a pass is given beside the tokens."""

    time: Tensor  # [b, c]
    rotation: tuple[Tensor, Tensor]  # cosines and sines, [n, d] each


class CogVideoXDenoiser(Eager):
    """A denoiser that answers v; `layers` are those that each strategy reads.

    A block, `transformer_blocks.K`, shows its output as features, and its attention,
    `transformer_blocks.K.attn1`, the queries and keys; of video alone. `using` is entered around every pass.
    With `checkpointing` a gradient keeps what lies between blocks, and computes the rest again.
    """

    passes = 1
    answer: Answer = "v"
    attends_time = False

    def __init__(
        self,
        network: CogVideoXTransformer3DModel,
        grid: Grid,
        layers: Mapping[str, tuple[str, ...]],
        noise: Noise = "fresh",
        using: Callable[[], AbstractContextManager[Any]] = nullcontext,
        checkpointing: bool = False,
    ):
        self.network, self.grid, self.layers, self.noise = network, grid, layers, noise
        self.using, self.checkpointing = using, checkpointing
        blocks = [f"transformer_blocks.{k}" for k in range(len(network.transformer_blocks))]
        attentions = [f"{block}.attn1" for block in blocks]
        self._probeable: dict[Kind, list[str]] = {
            "features": blocks,
            "queries": attentions,
            "keys": attentions,
        }
        self._linear = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear)}

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        patch = self.network.config.patch_size
        places = (z.shape[2], z.shape[3] // patch, z.shape[4] // patch)
        with self.using(), probing(probe, self._probeable):
            tokens, words, its = self._enter(z, at, text, places)
            for k, block in enumerate(self.network.transformer_blocks):
                name = f"transformer_blocks.{k}"
                asked = [tap for tap in probe.taps if tap.layer == f"{name}.attn1"] if probe else []
                if probe and asked:
                    seen = self._attended(block, tokens, words, its)
                    for tap in asked:
                        probe.show(tap, _on_grid(seen[tap.kind], places))
                tokens, words = self._through(block, tokens, words, its)
                if probe and (output := Tap(name, "features")) in probe.taps:
                    probe.show(output, _on_grid(tokens, places))
            return clean(self.answer, z, self._leave(tokens, its, places).float(), at)

    def _enter(self, z: Tensor, at: Level, text: Tensor, places: Places) -> tuple[Tensor, Tensor, Joined]:
        """Cut latents into tokens, and bring text and time to the network's width."""
        net, kind = self.network, self.network.patch_embed.proj.weight.dtype
        joined = net.patch_embed(text.to(kind), z.transpose(1, 2).to(kind))
        words, tokens = joined.split([text.shape[1], joined.shape[1] - text.shape[1]], dim=1)
        t = torch.as_tensor(at.t, dtype=torch.float32, device=z.device).expand(len(z))
        time = net.time_embedding(net.time_proj(t).to(kind))
        config = net.config
        trained = (config.sample_height // config.patch_size, config.sample_width // config.patch_size)
        return tokens, words, Joined(time, _rotation(config.attention_head_dim, places, trained, z.device))

    def _through(self, block: nn.Module, tokens: Tensor, words: Tensor, its: Joined) -> tuple[Tensor, Tensor]:
        inputs = (tokens, words, its.time, its.rotation)
        if self.checkpointing and torch.is_grad_enabled() and tokens.requires_grad:
            # computed again when the pass is over, and what was entered around it left
            again: tuple[Tensor, Tensor] = checkpoint(
                block, *inputs, use_reentrant=False, preserve_rng_state=False,
                context_fn=lambda: (nullcontext(), self.using()),
            )  # fmt: skip
            return again
        out: tuple[Tensor, Tensor] = block(*inputs)
        return out

    def _attended(self, block: Any, tokens: Tensor, words: Tensor, its: Joined) -> dict[Kind, Tensor]:
        """Compute queries and keys [b, n, c] of video in a block's attention, as it does itself."""
        attention = block.attn1
        normed = block.norm1(tokens, words, its.time)[0]
        cosines, sines = (table[None, :, None] for table in its.rotation)
        queries, keys = (
            rotated(norm(project(normed).unflatten(-1, (attention.heads, -1))), cosines, sines)
            for project, norm in (
                (attention.to_q, attention.norm_q),
                (attention.to_k, attention.norm_k),
            )
        )
        heads, width = queries.shape[-2:]
        return {"queries": queries.flatten(2) / (heads * width**0.5), "keys": keys.flatten(2)}

    def _leave(self, tokens: Tensor, its: Joined, places: Places) -> Tensor:
        """Turn tokens into the network's output [b, c, f, h, w]."""
        net, patch = self.network, self.network.config.patch_size
        out = net.proj_out(net.norm_out(net.norm_final(tokens), temb=its.time))
        patches = out.unflatten(-1, (-1, patch, patch)).unflatten(1, places)
        # [b, f, h', w', c, ph, pw] to [b, c, f, h', ph, w', pw]
        whole: Tensor = patches.permute(0, 4, 1, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)
        return whole

    def shrinks(self, layer: str) -> int:
        return int(self.network.config.patch_size)

    def weight(self, name: str) -> Tensor:
        return layer_weight(self._linear.get(name), name, self._linear)


@lru_cache(maxsize=4)
def _rotation(
    head: int, places: Places, trained: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Make the cosines and sines [n, head] of all places.

    A picture of another size than the one `trained` at is spread over that one, as far as it fits, in its
    middle.
    """
    frames, *size = places
    most = min(whole / part for whole, part in zip(trained, size, strict=True))
    sides = [round(most * part) for part in size]
    begins = [round((whole - side) / 2) for whole, side in zip(trained, sides, strict=True)]
    ends = [begin + side for begin, side in zip(begins, sides, strict=True)]
    cosines, sines = get_3d_rotary_pos_embed(
        head, (tuple(begins), tuple(ends)), tuple(size), frames, device=device
    )
    return cosines, sines


def _on_grid(tokens: Tensor, places: Places) -> Tensor:
    """Lay tokens [b, n, c] out as [b, f, c, h, w]."""
    return tokens.unflatten(1, places).movedim(-1, 2)
