"""The pairs by name: short declarative specs. Importing this loads no model and no torch."""

import hashlib
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motionecho.atomic import replacing
from motionecho.backbones.toy.settings import DEFAULTS as TOY_DEFAULTS
from motionecho.backbones.toy.settings import PRESETS as TOY_PRESETS
from motionecho.backbones.videocrafter.settings import DEFAULTS as VIDEOCRAFTER_DEFAULTS
from motionecho.backbones.videocrafter.settings import PRESETS as VIDEOCRAFTER_PRESETS
from motionecho.config import EchoConfig
from motionecho.errors import UserError, nearest

if TYPE_CHECKING:
    from motionecho.backbones.pair import ModelPair

HERE = Path(__file__).parent
WEIGHTS_VARIABLE = "MOTIONECHO_WEIGHTS"
RANDOM, CACHE = "random", "~/.cache/motionecho/weights"
LARGE = 1 << 28  # bytes above which a file's sha256 is noted


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
    files: Mapping[str, Path]  # relative ones lie under `weights_at`
    defaults: EchoConfig
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)  # fsspec URLs that the files are published at
    prompt_check: str | None = None  # "module:function", raises BadSample; its module imports no torch

    @property
    def weights_at(self) -> str:
        """Where weights lie that do not ship: a folder, an fsspec URL, or "random" for a dry run."""
        return os.environ.get(WEIGHTS_VARIABLE, CACHE)

    @property
    def home(self) -> Path:
        """The local folder of those weights; a URL has its own, which `pull` fills."""
        remote = "://" in self.weights_at
        named = f"{CACHE}/{hashlib.sha256(self.weights_at.encode()).hexdigest()[:12]}"
        return Path(named if remote else self.weights_at).expanduser()

    def pull(self) -> dict[str, Path]:
        """Copy what is missing from the URL of `weights_at`, else from `sources`; once a node.

        Raises UserError where a file is not there or not readable, Transient where a store keeps failing.
        """
        from motionecho.backbones.sources import fetch_once

        base = f"{self.weights_at.rstrip('/')}/" if "://" in self.weights_at else None
        for component, source in self.sources.items():
            fetch_once(
                f"{base}{self.files[component]}" if base else source, self.home / self.files[component]
            )
        return self.paths()

    def paths(self) -> dict[str, Path]:
        """Where every component's file lies; raises UserError where one is missing. Reads none."""
        located = {component: self.home / path for component, path in self.files.items()}
        for component, path in located.items():
            if not path.is_file():
                raise UserError(f"pair {self.name}: the weights of its {component} are missing at {path}"
                                + self._way_out(component))  # fmt: skip
        return located

    def weights(self) -> dict[str, str]:
        """sha256 of every component's file, or "random"; raises UserError where one is missing."""
        if self.sources and self.weights_at == RANDOM:
            return dict.fromkeys(self.files, RANDOM)
        return {component: _digest(path) for component, path in self.paths().items()}

    def check_prompt(self, prompt: str) -> None:
        """Raise BadSample where the pair is known to be unable to read the prompt; loads no model."""
        if self.prompt_check:
            module, function = self.prompt_check.split(":")
            getattr(importlib.import_module(module), function)(prompt)

    def _way_out(self, component: str) -> str:
        if component not in self.sources:
            return ""
        return (f"; copy {self.sources[component]} there, or set {WEIGHTS_VARIABLE} to the folder "
                f"that holds {self.files[component]}")  # fmt: skip

    def config(self, preset: str | None = None, changes: Mapping[str, Any] | None = None) -> EchoConfig:
        """The pair's defaults, then a preset, then single changes; raises UserError on unknown names."""
        if preset is not None and preset not in self.presets:
            raise UserError(f'pair {self.name} has no preset "{preset}"{nearest(preset, self.presets)}; '
                            f"it has {', '.join(self.presets)}")  # fmt: skip
        config = self.defaults.updated(dict(self.presets[preset]) if preset else {})
        return config.updated(dict(changes or {}))


def _digest(path: Path) -> str:
    """sha256 of a file; that of a large one is noted beside it, and holds while size and time do."""
    stat = path.stat()
    if stat.st_size < LARGE:
        return _sha256(path, stat.st_mtime_ns, stat.st_size)
    note, stamp = path.with_name(f"{path.name}.sha256"), f"{stat.st_size} {stat.st_mtime_ns}"
    if note.is_file():
        digest, _, noted = note.read_text().strip().partition(" ")
        if noted == stamp:
            return digest
    digest = _sha256(path, stat.st_mtime_ns, stat.st_size)
    if os.access(path.parent, os.W_OK):
        with replacing(note) as temporary:
            Path(temporary).write_text(f"{digest} {stamp}\n")
    return digest


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
        prompt_check="motionecho.backbones.toy.words:check_prompt",
    ),
    "turbo-v2": PairSpec(
        name="turbo-v2",
        summary="VideoCrafter2 teaching its distilled T2V-Turbo-V2, the paper's first pair",
        licence="see the model cards",
        frames=16, height=320, width=512, fps=8,
        loader="motionecho.backbones.videocrafter.pair:load",
        files={"videocrafter2": Path("turbo-v2/model.ckpt"), "turbo": Path("turbo-v2/unet_mg.pt")},
        sources={
            "videocrafter2": "hf://VideoCrafter/VideoCrafter2/model.ckpt",
            "turbo": "hf://jiachenli-ucsb/T2V-Turbo-v2/unet_mg.pt",
        },
        defaults=VIDEOCRAFTER_DEFAULTS,
        presets=VIDEOCRAFTER_PRESETS,
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
