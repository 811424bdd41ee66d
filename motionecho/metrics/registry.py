"""The metrics by name: all that gates, tables, sheets and commands know of them, and how they are loaded.

Importing this loads no metric. Those that cannot run here are named with their reason.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, TypeVar

from motionecho.errors import UserError, nearest
from motionecho.metrics.protocol import Embedder, Item, Metric, MetricUnavailable, Scores, clean
from motionecho.plugins import METRICS_GROUP, Registry

if TYPE_CHECKING:
    from motionecho.metrics.clip import ClipModel
    from motionecho.runs.schema import Column

T = TypeVar("T")
TRACKER = "MOTIONECHO_TRACKER"
CLIP = "CLIP: a checkpoint in MOTIONECHO_CLIP_WEIGHTS, or MOTIONECHO_ALLOW_DOWNLOAD=1"


class Shared:
    """The things that metrics of one load share: the device, and models that are worth loading once."""

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


@dataclass(frozen=True)
class MetricSpec:
    """The facts of a metric, known without loading it."""

    name: str
    make: str | Callable[[Shared], Metric]  # "module:Class", or a function where it needs a device or a model
    prefix: str = ""  # what its figures' names begin with, if not "<name>_"
    headlines: tuple[str, ...] = ()  # figures that speak for it, the first at a gate; else that of its name
    bookkeeping: tuple[str, ...] = ()  # figures, or what their names begin with, that only --json shows
    figures: tuple[Column, ...] = ()  # all of them, for tables; our own metrics' are declared there
    of_text: bool = False  # whether its first figure says how well a video shows its prompt
    usual: bool = False  # taken where neither a person nor the pair names metrics
    gpu: Callable[[], bool] = lambda: False  # whether its network is too large for a CPU
    summary: str = ""  # what it says of a video, in a line
    needs: str = "nothing"  # weights and packages that the user brings

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", self.prefix or f"{self.name}_")
        object.__setattr__(self, "headlines", self.headlines or (self.name,))

    def owns(self, figure: str) -> bool:
        """Tell whether a figure of that name, a number, is this metric's."""
        known = figure in self.headlines or figure.startswith(self.prefix)
        return known and not figure.endswith("_status")

    def load(self, shared: Shared) -> Metric:
        """Make the metric; MetricUnavailable or ImportError where it cannot run here."""
        try:
            its = pkgutil.resolve_name(self.make)() if isinstance(self.make, str) else self.make(shared)
        except (MetricUnavailable, ImportError):
            raise
        except Exception as problem:  # a package of others that is broken; ours are tested
            if not (giver := METRICS.giver(self.name)):
                raise
            said = f"{type(problem).__name__}: {problem}"
            raise MetricUnavailable(f"{giver} cannot make it: {said}") from problem
        return Guarded(its)


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


def _toy_text(shared: Shared) -> Metric:
    from motionecho.metrics.toy_text import ToyText

    return ToyText(shared.device)


def _inception(shared: Shared) -> Embedder:
    from motionecho.metrics.inception import Inception

    return Inception(shared.device)


def _clip(shared: Shared) -> Embedder:
    from motionecho.metrics.clip import ClipFrames

    return ClipFrames(shared.clip)


def _clip_is_large() -> bool:
    from motionecho.metrics.clip import ClipOptions

    clip = ClipOptions.from_environment()
    return clip.available and not clip.model.startswith("ViT-B")  # those take a CPU less than a second


def _tracker_is_a_network() -> bool:
    return os.environ.get(TRACKER) == "cotracker"


EMBEDDERS: dict[str, Callable[[Shared], Embedder]] = {"inception": _inception, "clip": _clip}
OWN: dict[str, MetricSpec] = {
    spec.name: spec
    for spec in (  # a run's settings name the usual ones in this order
        MetricSpec(
            "sanity", "motionecho.metrics.sanity:Sanity", headlines=("sanity_flicker",),
            bookkeeping=("sanity_",), usual=True,
            summary="is it black, flat, noise, still or flickering?",
        ),
        MetricSpec(
            "motion_fidelity", _motion_fidelity, prefix="mf_", headlines=("follows",),
            bookkeeping=("mf_tracks_", "mf_kept_", "mf_frames"), usual=True, gpu=_tracker_is_a_network,
            summary="does it move as its reference does?",
        ),
        MetricSpec(
            "text_alignment", _text_alignment, of_text=True, usual=True, gpu=_clip_is_large, needs=CLIP,
            summary="do its frames show what the prompt says?",
        ),
        MetricSpec(
            "temporal_consistency", _temporal_consistency, usual=True, gpu=_clip_is_large, needs=CLIP,
            summary="do its frames show the same thing throughout?",
        ),
        MetricSpec(
            "toy_text", _toy_text, of_text=True, prefix="toy_", headlines=("toy_text", "toy_consistency"),
            summary="do shape, colour and background of an embedded pair's video fit its prompt?",
        ),
    )
}  # fmt: skip


def _spec(point: EntryPoint) -> MetricSpec:
    spec = point.load()
    if not isinstance(spec, MetricSpec) or spec.name != point.name:
        raise TypeError(f"{point.value} is no MetricSpec of the name {point.name}")
    return spec


METRICS: Registry[MetricSpec] = Registry("metric", METRICS_GROUP, OWN, _spec)


def plugged_in() -> dict[str, str]:
    """Return the columns that tables have of metrics which others have added, with their kinds."""
    from motionecho.runs.schema import FIGURES, of_metric, prefixed

    own = [spec for spec in METRICS.values() if spec.name not in FIGURES]
    columns = prefixed(column for spec in own for column in of_metric(spec.name, spec.figures))
    return {column.name: "float64" if column.kind == "int64" else column.kind for column in columns}


def usual_metrics() -> tuple[str, ...]:
    """Name the metrics that are taken where nobody names any."""
    return tuple(spec.name for spec in METRICS.values() if spec.usual)


def headlines() -> list[str]:
    """Name the figures that speak for the metrics, in their order, except those that only --json shows."""
    return [name for s in METRICS.values() for name in s.headlines if not name.startswith(s.bookkeeping)]


def wants_gpu(names: Iterable[str]) -> bool:
    """Tell whether any of these, as the environment sets it up, runs a network too large for a CPU."""
    wanted = set(names)
    return any(spec.gpu() for spec in METRICS.values() if spec.name in wanted)


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
    return _load(wanted, {name: METRICS[name].load for name in wanted}, shared or Shared(device))


def load_embedders(names: Iterable[str], shared: Shared) -> tuple[list[Embedder], dict[str, str]]:
    """Return what set metrics compare (see `sets.SETS`), as `load_metrics` returns metrics."""
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
