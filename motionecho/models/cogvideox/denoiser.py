"""diffusers' CogVideoX as a denoiser: tokens of text go along beside those of video in every block."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor

from motionecho.denoiser import Kind
from motionecho.models.blockwise import Blockwise, Places, State, side_by_side
from motionecho.models.kernels.plain import rotated
from motionecho.schedules import Answer, Level


@dataclass(frozen=True)
class Joined:
    """What every block of a pass is given beside the tokens."""

    time: Tensor  # [b, c]
    rotation: tuple[Tensor, Tensor]  # cosines and sines, [n, d] each


class CogVideoXDenoiser(Blockwise):
    """A denoiser that answers v, whose layers are `transformer_blocks.K` and `transformer_blocks.K.attn1`."""

    answer: Answer = "v"
    stem = "transformer_blocks"

    def enter(self, z: Tensor, at: Level, text: Tensor, places: Places) -> tuple[State, Joined]:
        net, kind = self.network, self.network.patch_embed.proj.weight.dtype
        joined = net.patch_embed(text.to(kind), z.transpose(1, 2).to(kind))
        words, tokens = joined.split([text.shape[1], joined.shape[1] - text.shape[1]], dim=1)
        t = torch.as_tensor(at.t, dtype=torch.float32, device=z.device).expand(len(z))
        time = net.time_embedding(net.time_proj(t).to(kind))
        config = net.config
        trained = (config.sample_height // config.patch_size, config.sample_width // config.patch_size)
        rotation = _rotation(config.attention_head_dim, places, trained, z.device)
        return (tokens, words), Joined(time, rotation)

    def computed(self, block: Any, state: State, its: Joined) -> State:
        out: State = block(*state, its.time, its.rotation)
        return out

    def attended(self, block: Any, state: State, its: Joined) -> dict[Kind, Tensor]:
        attention = block.attn1
        normed = block.norm1(*state, its.time)[0]
        cosines, sines = (table[None, :, None] for table in its.rotation)
        queries, keys = (
            rotated(norm(project(normed).unflatten(-1, (attention.heads, -1))), cosines, sines)
            for project, norm in (
                (attention.to_q, attention.norm_q),
                (attention.to_k, attention.norm_k),
            )
        )
        return side_by_side(queries, keys)

    def leave(self, tokens: Tensor, its: Joined, places: Places) -> Tensor:
        net, patch = self.network, self.network.config.patch_size
        out = net.proj_out(net.norm_out(net.norm_final(tokens), temb=its.time))
        patches = out.unflatten(-1, (-1, patch, patch)).unflatten(1, places)
        # [b, f, h', w', c, ph, pw] to [b, c, f, h', ph, w', pw]
        whole: Tensor = patches.permute(0, 4, 1, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)
        return whole

    def shrinks(self, layer: str) -> int:
        return int(self.network.config.patch_size)


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
