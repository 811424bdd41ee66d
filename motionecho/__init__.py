"""MotionEcho: training-free motion customization for distilled text-to-video models.

    import motionecho as me

    pair = me.load_pair("toy")
    motion = me.invert(pair, "bounce.mp4")
    video = me.generate(pair, motion, "a red star on a blue background", seed=42)
    me.score(video, "bounce.mp4", video.prompt)

In a notebook a video shows itself. Names are resolved on first use, so importing this is instant. To read the
method, start with `motionecho/echo.py`, which lies beside the paper's Algorithm 1.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motionecho.config import EchoConfig, Placement
    from motionecho.errors import BadSample, MotionEchoError, PoisonedDevice, Transient, UserError
    from motionecho.face import generate, invert, score
    from motionecho.inversion import Motion
    from motionecho.make import Made, Maker
    from motionecho.manifest import Sample
    from motionecho.models.registry import load_pair
    from motionecho.runs.store import RunStore
    from motionecho.video import Clip, Window, read_clip, write_video

__version__ = "0.1.0"
__all__ = [
    "BadSample", "Clip", "EchoConfig", "Made", "Maker", "Motion", "MotionEchoError", "Placement",
    "PoisonedDevice", "RunStore", "Sample", "Transient", "UserError", "Window", "generate", "invert",
    "load_pair", "read_clip", "score", "write_video",
]  # fmt: skip

_HOMES = {
    "config": ("EchoConfig", "Placement"),
    "errors": ("BadSample", "MotionEchoError", "PoisonedDevice", "Transient", "UserError"),
    "face": ("generate", "invert", "score"),
    "inversion": ("Motion",),
    "make": ("Made", "Maker"),
    "manifest": ("Sample",),
    "models.registry": ("load_pair",),
    "runs.store": ("RunStore",),
    "video": ("Clip", "Window", "read_clip", "write_video"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
