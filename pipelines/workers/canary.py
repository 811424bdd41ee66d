"""A worker proves itself before it makes videos: a fixed tiny task, compared with the run's first worker's.

Wrong weights, another dtype or a bad device show here in a second or two instead of in 500 videos. The task
is made of the pair alone: a drawn clip through autoencoder and text encoder, one step of student and teacher
each, one frame decoded. It does not compute gradients, and cannot tell faults that come and go.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motionecho.errors import CanaryMismatch
from motionecho.models.pair import ModelPair
from motionecho.models.registry import PairSpec
from motionecho.noise import noise
from motionecho.runs.store import RunStore
from motionecho.schedules import renoise

VALUES = 64  # kept of each part's tensor, evenly spaced
STUDENT_T, TEACHER_T = 799, 399
# Largest relative difference of a part, as a norm. The embedded pair on a CPU: 2e-6 between 1 and 2 threads,
# 1e-2 between float32 and bfloat16, 5e-2 with 1 % of noise on the weights. Half precision rounds by device.
TOLERANCE = {"torch.float32": 1e-2}
TOLERANCE_HALF = 5e-2

Trace = Mapping[str, Any]


@torch.no_grad()
def canary(pair: ModelPair) -> dict[str, Any]:
    """Trace what the pair makes of the fixed task: its dtype, and some values of each part's output."""
    latents = pair.codec.encode(drawn_clip(pair.spec))[None]
    parts = {"autoencoder": latents}
    if pair.spec.text_stage:  # the encoder is not here: a text of pads alone stands in
        text = pair.text(torch.zeros_like(pair.tokens([""])).to(pair.device))
    else:
        text = parts["text encoder"] = pair.encode_text([""])
    for role, denoiser, t in (("student", pair.student, STUDENT_T), ("teacher", pair.teacher, TEACHER_T)):
        fresh, at = noise(0, "canary", t, latents.shape[1:]).to(latents)[None], pair.schedule.at(t)
        parts[role] = denoiser.x0(renoise(latents, fresh, at), at, text)
    frame = torch.from_numpy(pair.codec.decode(latents[:, :, :1])).float()
    parts["decoder"] = frame - frame.mean()
    return {"dtype": str(pair.codec.dtype), "parts": {name: _some(part) for name, part in parts.items()}}


def check(store: RunStore, pair: ModelPair, device: str) -> None:
    """Compare with the run's first trace, or leave it; raises CanaryMismatch where they disagree."""
    mine = canary(pair) | {"device": device}
    first = store.first_canary(mine)
    try:
        reason = disagreement(first, mine)
    except (LookupError, TypeError, ValueError, AttributeError):  # a damaged file
        reason = "what it left cannot be read"
    if reason:
        raise CanaryMismatch(
            f"this worker ({device}) does not compute what the run's first did ({first.get('device')}): "
            f"{reason}; "
            "look for other weights, another dtype or a bad device. If the first one was wrong, delete "
            f"{store.absolute(store.canary_uri)}; --no-canary lets all work"
        )


def disagreement(first: Trace, mine: Trace) -> str | None:
    """Say where two traces differ by more than the tolerance, or None."""
    if first["dtype"] != mine["dtype"]:
        return f"dtype {mine['dtype'].removeprefix('torch.')} and not {first['dtype'].removeprefix('torch.')}"
    limit = TOLERANCE.get(mine["dtype"], TOLERANCE_HALF)
    for name, values in first["parts"].items():
        there, here = np.array(values, float), np.array(mine["parts"].get(name, []), float)
        if there.shape != here.shape:
            return f"the {name} gives another shape"
        far = float(np.linalg.norm(here - there) / (np.linalg.norm(there) + 1e-12))
        if not far <= limit:  # NaN too
            return f"the {name} is {far:.1%} off, more than {limit:.1%}"
    return None


def drawn_clip(spec: PairSpec) -> np.ndarray:
    """Draw a moving pattern, uint8 [f, h, w, 3], by integer arithmetic alone: the same everywhere."""
    f, y, x, c = np.ogrid[: spec.frames, : spec.height, : spec.width, :3]
    return ((x * (3 + c) + y * 2 + f * 9 + (x * y // 16) * c) % 256).astype(np.uint8)


def _some(part: Tensor) -> list[float]:
    flat = part.float().flatten().cpu()
    index = torch.linspace(0, len(flat) - 1, min(VALUES, len(flat))).long()
    return [round(value, 5) for value in flat[index].tolist()]
