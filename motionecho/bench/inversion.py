"""How faithful inversion is: inverted noise walked down again by the same teacher, beside the reference."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from motionecho.bench.blocks import rendered
from motionecho.config import ReferenceSettings
from motionecho.inversion import inversion
from motionecho.models.pair import ModelPair
from motionecho.schedules import eps_of, renoise


@torch.no_grad()
def round_trip(pair: ModelPair, reference: ReferenceSettings, clips: int) -> list[dict[str, Any]]:
    """Invert rendered clips and come back in the same steps, under the empty prompt without guidance.

    A row a clip: PSNR in dB of the frames that come back against those of the clip's own latents, and the
    deviation of the inverted noise, which is 1 where it is noise.
    """
    null, rows = pair.encode_text([""]), []
    for k, clip in enumerate(rendered(pair, clips)[0]):
        z0 = pair.codec.encode(clip)[None]
        path = [(pair.schedule.at(0), z0)]
        path += inversion(pair.teacher, pair.schedule, z0, null, reference)
        z = z_T = path[-1][1]
        levels = [at for at, _ in reversed(path)]
        for at, to in pairwise(levels):
            x0 = pair.teacher.x0(z, at, null)
            z = renoise(x0, eps_of(z, x0, at), to)
        there, back = (pair.codec.decode(latents)[0] for latents in (z0, z))
        error = (torch.from_numpy(there).double() - torch.from_numpy(back).double()).square().mean()
        rows.append({"clip": k, "psnr": round(_decibels(error), 2), "deviation": round(z_T.std().item(), 3)})
    return rows


def _decibels(error: Tensor) -> float:
    return float(10 * torch.log10(255**2 / error.clamp_min(1e-12)))
