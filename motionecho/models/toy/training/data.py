"""The data that the embedded pair is trained on: endless fresh clips, and a cache of latents and captions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from motionecho.models.toy.nets import build_vae
from motionecho.models.toy.training.fit import Workplace
from motionecho.sprites.motions import FRAMES
from motionecho.sprites.render import render
from motionecho.sprites.scenes import Scenes, captions, sample_scenes
from motionecho.sprites.words import tokenize

# how often a caption is empty, names the motion, names the texture
EMPTY_SHARE, MOTION_SHARE, TEXTURE_SHARE = 0.12, 0.3, 0.75


def clips(place: Workplace, n: int, looks: str = "training") -> Iterator[tuple[Tensor, Scenes]]:
    """Yield endless batches of fresh scenes and their frames [n, f, 3, h, w]."""
    while True:
        scenes = sample_scenes(n, place.generator, place.device, looks=looks)
        yield render(scenes), scenes


@dataclass
class Latents:
    """A cache of encoded training videos [n, 4, f, 16, 16] and four captions of each [n, 4, 16]."""

    z: Tensor
    ids: Tensor

    @classmethod
    def build(cls, place: Workplace, n: int, folder: Path | None = None) -> "Latents":
        """Draw and encode n videos with the autoencoder in `folder`, else in the place's own."""
        vae = place.load("vae", build_vae(), folder)
        facts = json.loads(((folder or place.out) / "config.json").read_text())
        z, ids, chunk = [], [], min(128, n)
        for _ in range(n // chunk):
            scenes = sample_scenes(chunk, place.generator, place.device)
            with torch.no_grad(), place.autocast():
                mean = vae.encode(render(scenes).flatten(0, 1)).latent_dist.mean
            mean = (mean.float() - facts["latent_shift"]) * facts["latent_scale"]
            z.append(mean.unflatten(0, (-1, FRAMES)).transpose(1, 2).bfloat16())
            variants = [captions(scenes, motion, look) for motion in (False, True) for look in (False, True)]
            lines = zip(*variants, strict=True)
            ids.append(torch.tensor([[tokenize(line) for line in of_scene] for of_scene in lines]))
        place.say(f"cached {n} videos")
        return cls(torch.cat(z), torch.cat(ids).to(place.device))

    def draw(self, place: Workplace) -> tuple[Tensor, Tensor]:
        """Draw a batch of latents [b, 4, f, h, w] and caption ids [b, 16], some of them empty."""
        rows, chance = torch.rand(2, place.batch, 3, device=place.device, generator=place.generator)
        pick = (rows[:, 0] * len(self.z)).long()
        variant = 2 * (chance[:, 0] < MOTION_SHARE).long() + (chance[:, 1] < TEXTURE_SHARE).long()
        empty = torch.tensor(tokenize(""), device=place.device)
        ids = torch.where((chance[:, 2] < EMPTY_SHARE)[:, None], empty, self.ids[pick, variant])
        return self.z[pick].float(), ids
