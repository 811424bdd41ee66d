"""Motion fidelity against procedural clips, whose motion is known: same motion in other looks, or another."""

import dataclasses
from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
import pytest
import torch
from drawn import camera, square
from numpy.typing import NDArray
from PIL import Image

from motionecho.metrics.motion_field import agreement
from motionecho.metrics.trackers import DisTracker
from motionecho.metrics.tracklets import Tracks, fidelity
from motionecho.sprites.motions import TRAVELLING_MOTIONS
from motionecho.sprites.render import render, to_uint8
from motionecho.sprites.scenes import sample_scenes

Video = NDArray[np.uint8]
Harm = Callable[[Video], Video]


def noisy(video: Video) -> Video:
    noise = np.random.default_rng(0).normal(0, 8, video.shape)
    return np.clip(video + noise, 0, 255).astype(np.uint8)


def squeezed(video: Video) -> Video:
    """JPEG of quality 30, frame by frame."""

    def through(frame: Video) -> Video:
        stream = BytesIO()
        Image.fromarray(frame).save(stream, "JPEG", quality=30)
        return np.asarray(Image.open(stream))

    return np.stack([through(frame) for frame in video])


def with_dropped_frames(video: Video) -> Video:
    """Every fifth frame is the one before it."""
    return video[[index - (index % 5 == 4) for index in range(len(video))]]


HARMS: dict[str, Harm] = {"none": lambda v: v, "noise": noisy, "jpeg": squeezed, "drops": with_dropped_frames}


@dataclasses.dataclass
class Known:
    """References, videos with the same motions but other looks, and what moves how: truth [n, d]."""

    references: list[Video]
    videos: list[Video]
    truth: NDArray[np.float64]

    def others(self, index: int) -> list[int]:
        """Up to three clips that truly move otherwise: the cosine of their motion is below one half."""
        length = np.linalg.norm(self.truth, axis=1)
        cosine = self.truth @ self.truth[index] / (length * length[index])
        after = [(index + step) % len(cosine) for step in range(1, len(cosine))]
        return [k for k in after if cosine[k] < 0.5][:3]


def sprites(count: int) -> Known:
    """Sprite clips of the embedded pair: other shapes, colours and backgrounds."""
    motion = sample_scenes(count, torch.Generator().manual_seed(1), motions=TRAVELLING_MOTIONS)
    looks = sample_scenes(count, torch.Generator().manual_seed(2), motions=TRAVELLING_MOTIONS)
    other = dataclasses.replace(looks, path=motion.path, motion=motion.motion)
    truth = motion.screen().diff(dim=1).flatten(1).double().numpy()
    return Known(list(to_uint8(render(motion))), list(to_uint8(render(other))), truth)


def textured(count: int) -> Known:
    """Squares and cameras that move every way: other textures."""
    references, videos, truth = [], [], []
    for index in range(count):
        rng = np.random.default_rng(index)
        angle, speed, kind = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 2.0), rng.integers(3)
        x, y = speed * np.cos(angle), speed * np.sin(angle)
        draw = [
            lambda seed, x=x, y=y: square(x, y, seed=seed),
            lambda seed, x=x: camera(x, seed=seed),
            lambda seed, x=x: camera(zoom=1 + 0.02 * x, seed=seed),
        ][kind]
        references.append(draw(500 + index))
        videos.append(draw(900 + index))
        truth.append(np.eye(4)[0] * x + np.eye(4)[1] * y if kind == 0 else np.eye(4)[kind + 1] * x)
    return Known(references, videos, np.array(truth))


def auc(own: list[float], others: list[float]) -> float:
    """Chance that an own reference scores above another one; half of the ties."""
    gaps = np.array(own)[:, None] - np.array(others)[None]
    return float((gaps > 0).mean() + (gaps == 0).mean() / 2)


def aucs(known: Known, harm: Harm) -> dict[str, float]:
    cv2.setNumThreads(1)
    tracker = DisTracker()
    theirs = [tracker.track(video) for video in known.references]
    ours = [tracker.track(harm(video)) for video in known.videos]

    def scores(pairs: list[tuple[Tracks, Tracks]], figure: str) -> list[float]:
        found = [getattr(fidelity(one, two), figure) for one, two in pairs]
        return [value for value in found if value is not None]

    own = list(zip(ours, theirs, strict=True))
    others = [(one, theirs[k]) for index, one in enumerate(ours) for k in known.others(index)]

    def following(pairs: list[tuple[Tracks, Tracks]]) -> list[float]:
        found = [agreement(one.field, two.field, 16)[0] for one, two in pairs]
        return [value for value in found if value is not None]

    found = {figure: auc(scores(own, figure), scores(others, figure)) for figure in ("dmt", "traj", "near")}
    return found | {"follows": auc(following(own), following(others))}


def test_a_few_pairs_are_told_apart() -> None:
    found = aucs(textured(8), HARMS["none"])
    assert found["traj"] > 0.95
    assert found["follows"] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("clips", [sprites, textured])
@pytest.mark.parametrize("harm", HARMS)
def test_a_hundred_pairs(clips: Callable[[int], Known], harm: str) -> None:
    found = aucs(clips(100), HARMS[harm])
    print(clips.__name__, harm, {name: round(value, 3) for name, value in found.items()})
    assert min(found["near"], found["follows"]) >= (0.97 if harm == "none" else 0.9)
