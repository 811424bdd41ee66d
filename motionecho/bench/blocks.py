"""Which block of a transformer knows where things are: its strongest attention between frames, against truth.

Rendered sprites whose place in every frame is known are looked at once per level. From the patch that holds
the sprite in frame i the strongest place in frame j should be where it is then. The best block changes with
the checkpoint, so this is asked of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from motionecho.denoiser import Denoiser, Tap, observe
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


def tracking(pair: ModelPair, role: Role, times: Sequence[float], clips: int) -> list[BlockError]:
    """Measure every block of a network at each of `times`, on so many rendered clips."""
    denoiser: Denoiser = getattr(pair, role)
    generator = torch.Generator().manual_seed(SEED)
    scenes = sample_scenes(clips, generator, motions=TRAVELLING_MOTIONS, looks="any")
    null, found = pair.encode_text([""]), []
    layers = [f"blocks.{k}.attn1" for k in range(len(denoiser.network.blocks))]  # type: ignore[arg-type]
    latents = [pair.codec.encode(clip) for clip in _clips(pair, scenes)]
    for t in times:
        at, errors = pair.schedule.at(t), dict[str, list[tuple[float, float]]]()
        for clip, z0 in enumerate(latents):
            z = renoise(z0[None], noise(0, "reference", round(t), z0.shape).to(z0)[None], at)
            for layer in layers:
                taps = (Tap(layer, "queries"), Tap(layer, "keys"))
                seen = observe(denoiser, z, at, null, taps).seen
                moved = strongest(seen[taps[0]], seen[taps[1]], 1.0)[0]  # [f, h*w, f, 2]
                where = _patches(scenes.screen()[clip], seen[taps[0]])
                errors.setdefault(layer, []).append(_error(moved, where, places(seen[taps[0]])))
        for layer, pairs in errors.items():
            ours, still = (sum(side) / len(side) for side in zip(*pairs, strict=True))
            found.append(BlockError(role, t, layer, ours, still))
    return found


def _clips(pair: ModelPair, scenes: Scenes) -> list[object]:
    """Render scenes at the pair's size and length, frames drawn at equal distances over the motion."""
    spec = pair.spec
    frames = render(scenes)  # [n, f, 3, h, w] in [-1, 1]
    pick = torch.linspace(0, frames.shape[1] - 1, spec.frames).round().long()
    sized = F.interpolate(frames[:, pick].flatten(0, 1), (spec.height, spec.width), mode="bilinear")
    return list(to_uint8(sized.unflatten(0, (len(frames), -1))))


def _patches(screen: Tensor, like: Tensor) -> Tensor:
    """Turn places on screen [f, 2] in [-1, 1] into patches (x, y) of the frames of `like` [b, f, c, h, w]."""
    pick = torch.linspace(0, len(screen) - 1, like.shape[1]).round().long()
    size = torch.tensor([like.shape[-1], like.shape[-2]])
    return ((screen[pick] + 1) / 2 * size - 0.5).to(like.device)


def _error(moved: Tensor, where: Tensor, grid: Tensor) -> tuple[float, float]:
    """Average over all couples of frames that see the sprite how far its patch is carried from where it is."""
    top = grid.amax(0)
    visible = ((where > -0.5) & (where < top + 0.5)).all(-1)
    at = where.round().clamp(min=torch.zeros_like(top), max=top)
    index = (at[:, 1] * (top[0] + 1) + at[:, 0]).long()
    carried = at[:, None] + moved[torch.arange(len(at), device=at.device), index].float()  # [f, f, 2]
    both = (visible[:, None] & visible).float() * (1 - torch.eye(len(at), device=at.device))
    ours, still = ((point - where).norm(dim=-1) * both for point in (carried, at[:, None].expand_as(carried)))
    count = both.sum().clamp_min(1)
    return (ours.sum() / count).item(), (still.sum() / count).item()
