"""The word on weights that are fetched: what, how large, from where, to where, and how far it is."""

import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import Callback

from motionecho.errors import UserError
from motionecho.runs.waits import doing, is_watched, said

if TYPE_CHECKING:
    from motionecho.models.weights.sources import WeightFile

KNOCK_S = 5.0  # for which the hub may be silent


class Arriving(Callback):
    """A word about the bytes of a file that arrives, to whoever watches."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.what = f"fetching {name}"

    def call(self, *_: Any, **__: Any) -> None:
        doing(self.what, self.value, self.size or 0, bytes=True)


def hub_bar(name: str) -> Any:
    """Return a bar for the hub's client that tells whoever watches; None, for its own, where nobody does."""
    if not is_watched():
        return None
    from tqdm import tqdm

    class Bar(tqdm):
        """The hub's count of bytes, which draws nothing itself."""

        def __init__(self, *args: Any, **more: Any) -> None:
            more.pop("name", None)
            super().__init__(*args, **more | {"file": io.StringIO(), "disable": False})
            self.update(0)

        def update(self, n: float | None = 1) -> bool | None:
            drawn = super().update(n)
            doing(f"fetching {name}", int(self.n), int(self.total or 0), bytes=True)
            return drawn

    return Bar


def announce(pair: str, absent: Mapping[str, "WeightFile"], gigabytes: float) -> None:
    """Say of files that will be fetched what, how large, from where, to where, and how to stop it.

    Raises UserError where the hub that has them cannot be reached.
    """
    on_hub = [f"{key} ({file.url})" for key, file in absent.items() if file.on_hub]
    if on_hub and (problem := unreachable_hub()):
        raise UserError(
            f"pair {pair}: not on this machine are {', '.join(on_hub)}, and the hub cannot be reached: "
            f"{problem}; fetch them where it can, or name a folder that has them with --weights"
        )
    said(f"fetching   {', '.join(absent)} of pair {pair}, {gigabytes:.1f} GB at most")
    for origin in dict.fromkeys(file.origin for file in absent.values()):
        said(f"from       {origin}")
    for folder in dict.fromkeys(file.kept_in for file in absent.values()):
        said(f"to         {folder} ({free(folder)} free)")
    said("stop       Ctrl-C; the same command again goes on where it was")


def unreachable_hub() -> str:
    """Return why Hugging Face's hub cannot be asked for files now, "" where it answers; takes seconds."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE forbids it"
    try:  # without the hub's own retries, which go on for minutes
        get_session().head(constants.ENDPOINT, timeout=KNOCK_S)
    except Exception as problem:  # of whichever HTTP library the hub's client uses
        return f"{constants.ENDPOINT} ({str(problem) or type(problem).__name__})"
    return ""


def free(folder: str) -> str:
    """Return the room that a disk has for a folder, which need not exist, in gigabytes."""
    there = next(each for each in (Path(folder), *Path(folder).parents) if each.exists())
    return f"{shutil.disk_usage(there).free / 1e9:.1f} GB"
