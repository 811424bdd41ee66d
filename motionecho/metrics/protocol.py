"""The protocol of a metric: a named, versioned callable from one item to a flat row of figures.

Metrics run on what was made, one item at a time, and never fail a run: what cannot be said is None, with why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from motionecho.errors import BadSample, MotionEchoError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scores = dict[str, float | int | str | None]


class MetricUnavailable(MotionEchoError):
    """A metric that cannot run here (weights or a package are missing); its text is the reason to record."""


@dataclass(frozen=True, eq=False)
class Item:
    """A video to score; frames are uint8 RGB [f, h, w, 3]. Raises BadSample when they are not."""

    video: NDArray[np.uint8]
    reference: NDArray[np.uint8] | None
    prompt: str
    fps: float

    def __post_init__(self) -> None:
        for name, frames in (("video", self.video), ("reference", self.reference)):
            if frames is None and name == "reference":
                continue
            shape, dtype = (
                tuple(getattr(frames, "shape", ())),
                getattr(frames, "dtype", type(frames).__name__),
            )
            if len(shape) != 4 or shape[3] != 3 or 0 in shape or str(dtype) != "uint8":
                found = f"{dtype} {list(shape)}"
                raise BadSample(f"the {name} to score must be uint8 RGB frames [f, h, w, 3], not {found}")


class Metric(Protocol):
    """A metric. `version` names everything that changes its figures (code, tracker, model, weights).

    A call returns a flat row ready for JSON with `<name>_status`: "ok", or the reason why figures are None.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    def __call__(self, item: Item) -> Scores: ...


class Embedder(Protocol):
    """An embedding of frames, for metrics that compare sets of videos. `version` is as a metric's."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed frames uint8 RGB [f, h, w, 3] as [f, d] float32."""
        ...


def clean(name: str, scores: Mapping[str, Any]) -> Scores:
    """Return `scores` as plain Python values; NaN and infinities become None and set `<name>_status`."""
    status = f"{name}_status"
    row: Scores = {}
    lost = False
    for key, value in scores.items():
        plain = value.item() if hasattr(value, "item") else value  # numpy and torch scalars
        if isinstance(plain, float) and not math.isfinite(plain):
            plain, lost = None, True
        row[key] = plain
    if lost and row.get(status, "ok") == "ok":
        row[status] = "not_finite"
    row.setdefault(status, "ok")
    return row
