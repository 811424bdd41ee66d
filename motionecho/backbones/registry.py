"""The pairs by name: short declarative specs. Importing this loads no model and no torch."""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionecho.backbones.toy.settings import DEFAULTS as TOY_DEFAULTS
from motionecho.backbones.toy.settings import PRESETS as TOY_PRESETS
from motionecho.config import EchoConfig
from motionecho.errors import UserError, nearest

if TYPE_CHECKING:
    from motionecho.backbones.pair import ModelPair

HERE = Path(__file__).parent


@dataclass(frozen=True)
class PairSpec:
    """What is known of a pair without loading it; sizes in pixels, fps in frames per second."""

    name: str
    summary: str
    licence: str
    frames: int
    height: int
    width: int
    fps: int
    loader: str  # "module:function", called with (spec, device, dtype)
    files: Mapping[str, Path]
    defaults: EchoConfig
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def weights(self) -> dict[str, str]:
        """sha256 of every component's file; raises UserError where one is missing."""
        digests = {}
        for component, path in self.files.items():
            if not path.is_file():
                raise UserError(f"pair {self.name}: the weights of its {component} are missing at {path}")
            stat = path.stat()
            digests[component] = _sha256(path, stat.st_mtime_ns, stat.st_size)
        return digests

    def config(self, preset: str | None = None, changes: Mapping[str, Any] | None = None) -> EchoConfig:
        """The pair's defaults, then a preset, then single changes; raises UserError on unknown names."""
        if preset is not None and preset not in self.presets:
            raise UserError(f'pair {self.name} has no preset "{preset}"{nearest(preset, self.presets)}; '
                            f"it has {', '.join(self.presets)}")  # fmt: skip
        config = self.defaults.updated(dict(self.presets[preset]) if preset else {})
        return config.updated(dict(changes or {}))


@lru_cache(maxsize=64)
def _sha256(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_TOY = HERE / "toy" / "weights"
PAIRS: dict[str, PairSpec] = {
    "toy": PairSpec(
        name="toy",
        summary="embedded tiny pair: coloured shapes over textured backgrounds, trained on procedural video",
        licence="Apache-2.0",
        frames=16, height=64, width=64, fps=8,
        loader="motionecho.backbones.toy.pair:load",
        files={name: _TOY / f"{name}.safetensors" for name in ("vae", "text", "teacher", "student")},
        defaults=TOY_DEFAULTS,
        presets=TOY_PRESETS,
    ),
}  # fmt: skip


def pair_spec(name: str) -> PairSpec:
    """The spec of a pair; raises UserError naming the nearest where there is none."""
    if name not in PAIRS:
        raise UserError(f'unknown pair "{name}"{nearest(name, PAIRS)}; known: {", ".join(PAIRS)}')
    return PAIRS[name]


def load_pair(name: str, device: str = "auto", dtype: str = "auto") -> "ModelPair":
    """Load a pair's weights onto a device; dtype "auto" is the pair's own choice for that device."""
    spec = pair_spec(name)
    module, function = spec.loader.split(":")
    return getattr(importlib.import_module(module), function)(spec, device, dtype)
