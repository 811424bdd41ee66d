"""Which block of a transformer knows where things are: its strongest attention between frames, against truth.

Rendered sprites whose place in every frame is known are looked at once per level. From the patch that holds
the sprite in frame i the strongest place in frame j should be where it is then. The best block changes with
the checkpoint, so this is asked of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from motionecho.denoiser import Denoiser, Tap, observe
from motionecho.errors import UserError
from motionecho.guidance.ditflow import places, strongest
from motionecho.models.pair import ModelPair, Role
from motionecho.noise import noise
from motionecho.schedules import renoise
from motionecho.sprites.motions import TRAVELLING_MOTIONS
from motionecho.sprites.render import render, to_uint8
from motionecho.sprites.scenes import Scenes, sample_scenes

SEED = 30_000  # no table draws its scenes by it


@dataclass(frozen=True)
class BlockError:
    """How far a block's strongest attention lands from where the sprite is, in patches, averaged."""

    role: Role
    t: float
    layer: str
    error: float
    still: float  # the same if it stayed where the sprite is in the first of the two frames


def attentions_of(denoiser: Denoiser) -> list[str]:
    """Name the attention of every block, in order."""
    names = [name for name, _ in denoiser.network.named_modules()]
    return [name for name in names if name.endswith(".attn1")]


def rendered(pair: ModelPair, clips: int) -> tuple[list[NDArray[np.uint8]], Scenes]:
    """Render clips at the pair's size and length, frames spread evenly over a motion, and their scenes."""
    generator, spec = torch.Generator().manual_seed(SEED), pair.spec
    scenes = sample_scenes(clips, generator, motions=TRAVELLING_MOTIONS, looks="any")
    frames = render(scenes)  # [n, f, 3, h, w] in [-1, 1]
    pick = torch.linspace(0, frames.shape[1] - 1, spec.frames).round().long()
    sized = F.interpolate(frames[:, pick].flatten(0, 1), (spec.height, spec.width), mode="bilinear")
    return list(to_uint8(sized.unflatten(0, (clips, -1)))), scenes


def tracking(pair: ModelPair, role: Role, times: Sequence[float], clips: int) -> list[BlockError]:
    """Measure every block of a network at each of `times`, on so many rendered clips.

    Raises UserError for a pair whose networks attend over time alone.
    """
    denoiser: Denoiser = getattr(pair, role)
    if denoiser.attends_time:
        raise UserError(f"pair {pair.spec.name} attends over time alone, so its blocks match no places")
    null, found, (frames, scenes) = pair.encode_text([""]), [], rendered(pair, clips)
    latents = [pair.codec.encode(clip) for clip in frames]
    for t in times:
        at, errors = pair.schedule.at(t), dict[str, list[tuple[float, float]]]()
        for clip, z0 in enumerate(latents):
            z = renoise(z0[None], noise(0, "reference", round(t), z0.shape).to(z0)[None], at)
            for layer in attentions_of(denoiser):
                taps = (Tap(layer, "queries"), Tap(layer, "keys"))
                seen = observe(denoiser, z, at, null, taps).seen
                moved = strongest(seen[taps[0]], seen[taps[1]], 1.0)[0]  # [f, h*w, f, 2]
                where = _patches(scenes.screen()[clip], seen[taps[0]])
                errors.setdefault(layer, []).append(_error(moved, where, places(seen[taps[0]])))
        for layer, couples in errors.items():
            ours, still = (sum(side) / len(side) for side in zip(*couples, strict=True))
            found.append(BlockError(role, t, layer, round(ours, 3), round(still, 3)))
    return found


def _patches(screen: Tensor, like: Tensor) -> Tensor:
    """Turn places on screen [f, 2] in [-1, 1] into patches (x, y) of the frames of `like` [b, f, c, h, w]."""
    pick = torch.linspace(0, len(screen) - 1, like.shape[1]).round().long()
    size = torch.tensor([like.shape[-1], like.shape[-2]])
    return ((screen[pick] + 1) / 2 * size - 0.5).to(like.device)


def _error(moved: Tensor, where: Tensor, grid: Tensor) -> tuple[float, float]:
    """Average, over couples of frames that see the sprite, how far its patch is carried from where it is."""
    top = grid.amax(0)
    visible = ((where > -0.5) & (where < top + 0.5)).all(-1)
    at = where.round().clamp(min=torch.zeros_like(top), max=top)
    index = (at[:, 1] * (top[0] + 1) + at[:, 0]).long()
    carried = at[:, None] + moved[torch.arange(len(at), device=at.device), index].float()  # [f, f, 2]
    both = (visible[:, None] & visible).float() * (1 - torch.eye(len(at), device=at.device))
    stayed = at[:, None].expand_as(carried)
    ours, still = ((point - where).norm(dim=-1) * both for point in (carried, stayed))
    count = both.sum().clamp_min(1)
    return (ours.sum() / count).item(), (still.sum() / count).item()
