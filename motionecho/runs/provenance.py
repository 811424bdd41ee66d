"""The origin of a video: a small JSON that travels inside the file, and the versions that made it."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from motionecho import __version__
from motionecho.plugins import distributions

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "open_clip_torch", "numpy", "pillow", "av",
            "decord", "opencv-python-headless", "pyarrow", "fsspec", "ray")  # fmt: skip


def provenance(
    *,
    sample_id: str,
    key: str,
    pair: str,
    prompt: str,
    seed: int,
    settings: str,
    random_weights: bool = False,
) -> dict[str, Any]:
    """Note what leads from a file to its record; `settings` is the digest of the resolved settings.

    The same sample gives the same dict on every machine, so equal frames make equal files.
    """
    return {
        "motionecho": __version__,
        "sample": sample_id,
        "key": key,
        "pair": pair,
        "prompt": prompt,
        "seed": seed,
        "settings": settings,
    } | ({"weights": "random"} if random_weights else {})


def versions() -> dict[str, str]:
    """List versions of Python, motionecho and packages that decide results; absent ones are left out.

    So are those of packages that add strategies or metrics. Read from the installed metadata: nothing is
    imported.
    """
    found = {"python": platform.python_version(), "motionecho": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | distributions()
