"""The metrics by name, and how they are loaded: those that cannot run here are named with their reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from motionecho.errors import UserError, nearest
from motionecho.metrics.protocol import Embedder, Item, Metric, MetricUnavailable, Scores, clean

if TYPE_CHECKING:
    from motionecho.metrics.clip import ClipModel

T = TypeVar("T")
TRACKER = "MOTIONECHO_TRACKER"


class Shared:
    """What the metrics of one load have in common: the device, and models that are worth loading once."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device

    @cached_property
    def clip(self) -> ClipModel:
        """The CLIP model chosen by the environment. Raises MetricUnavailable without its weights."""
        from motionecho.metrics.clip import ClipOptions, load_clip

        return load_clip(ClipOptions.from_environment(), self.device)


@dataclass(frozen=True)
class Guarded:
    """A metric whose row went through `clean`: no metric, present or future, can let a NaN out."""

    metric: Metric

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def version(self) -> str:
        return self.metric.version

    def __call__(self, item: Item) -> Scores:
        return clean(self.name, self.metric(item))


def _motion_fidelity(shared: Shared) -> Metric:
    from motionecho.metrics.motion_fidelity import MotionFidelity
    from motionecho.metrics.trackers import load_tracker

    return MotionFidelity(load_tracker(os.environ.get(TRACKER, "dis"), shared.device))


def _text_alignment(shared: Shared) -> Metric:
    from motionecho.metrics.clip import TextAlignment

    return TextAlignment(shared.clip)


def _temporal_consistency(shared: Shared) -> Metric:
    from motionecho.metrics.clip import TemporalConsistency

    return TemporalConsistency(shared.clip)


def _sanity(shared: Shared) -> Metric:
    from motionecho.metrics.sanity import Sanity

    return Sanity()


def _toy_text(shared: Shared) -> Metric:
    from motionecho.metrics.toy_text import ToyText

    return ToyText(shared.device)


def _inception(shared: Shared) -> Embedder:
    from motionecho.metrics.inception import Inception

    return Inception(shared.device)


def _clip(shared: Shared) -> Embedder:
    from motionecho.metrics.clip import ClipFrames

    return ClipFrames(shared.clip)


EMBEDDERS: dict[str, Callable[[Shared], Embedder]] = {"inception": _inception, "clip": _clip}
METRICS: dict[str, Callable[[Shared], Metric]] = {
    "motion_fidelity": _motion_fidelity,
    "text_alignment": _text_alignment,
    "temporal_consistency": _temporal_consistency,
    "sanity": _sanity,
    "toy_text": _toy_text,
}


def wants_gpu(names: Iterable[str]) -> bool:
    """True where one of these metrics, as the environment sets it up, runs a network too large for a CPU."""
    from motionecho.metrics.clip import ClipOptions

    clip = ClipOptions.from_environment()
    heavy = clip.available and not clip.model.startswith("ViT-B")  # those take a CPU less than a second
    large = {"text_alignment", "temporal_consistency"} if heavy else set()
    if os.environ.get(TRACKER) == "cotracker":
        large.add("motion_fidelity")
    return bool(large & set(names))


def load_metrics(
    names: Iterable[str], device: str = "auto", shared: Shared | None = None
) -> tuple[list[Metric], dict[str, str]]:
    """Return the metrics that can run here and, for the others, {name: reason}.

    `device` is "auto", "cpu", "cuda" or "cuda:n". Raises UserError for a name that does not exist.
    """
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in METRICS:
            choices = ", ".join(METRICS)
            raise UserError(f'unknown metric "{name}"{nearest(name, METRICS)}; the metrics are {choices}')
    metrics, skipped = _load(wanted, METRICS, shared or Shared(device))
    return [Guarded(metric) for metric in metrics], skipped


def load_embedders(names: Iterable[str], shared: Shared) -> tuple[list[Embedder], dict[str, str]]:
    """The same for what set metrics compare; see `sets.SETS`."""
    return _load(names, EMBEDDERS, shared)


def _load(
    names: Iterable[str], makers: dict[str, Callable[[Shared], T]], shared: Shared
) -> tuple[list[T], dict[str, str]]:
    usable: list[T] = []
    skipped: dict[str, str] = {}
    for name in names:
        try:
            usable.append(makers[name](shared))
        except MetricUnavailable as unavailable:
            skipped[name] = str(unavailable)
        except ImportError as missing:
            skipped[name] = f"the Python package {missing.name or missing} is not installed"
    return usable, skipped
