"""CLIP scores: does the video show what the prompt says, and do its frames resemble each other?

One open_clip model serves both metrics. Without real weights there is no score: random ones are refused,
and nothing is downloaded unless MOTIONECHO_ALLOW_DOWNLOAD=1. CLIP's own preprocessing crops the centre
square, so the sides of a wide video are not seen. Scores of different models are not comparable: the model
that made a figure, with the digest of its weights, stands beside it.
"""

import os
import zipfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from motionecho.device import resolve_device
from motionecho.errors import nearest
from motionecho.metrics.protocol import Item, MetricUnavailable, Scores
from motionecho.runs.keys import file_digest
from motionecho.runs.waits import said

BATCH = 64  # frames in one forward pass
CHECKPOINTS = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")
ALLOW = "MOTIONECHO_ALLOW_DOWNLOAD"
WEIGHTS = "MOTIONECHO_CLIP_WEIGHTS"
MODEL = "MOTIONECHO_CLIP_MODEL"


@dataclass(frozen=True)
class ClipOptions:
    """The choice of CLIP: an open_clip model name, and a pretrained tag or the path of a local checkpoint."""

    model: str = "ViT-B-32-quickgelu"
    pretrained: str = "openai"
    allow_download: bool = False

    @property
    def available(self) -> bool:
        """The prospect of any weights: a checkpoint is named, or a download allowed."""
        return self.pretrained != type(self).pretrained or self.allow_download

    @classmethod
    def from_environment(cls) -> "ClipOptions":
        """Read MOTIONECHO_CLIP_MODEL, MOTIONECHO_CLIP_WEIGHTS and MOTIONECHO_ALLOW_DOWNLOAD."""
        return cls(
            os.environ.get(MODEL, cls.model),
            os.environ.get(WEIGHTS, cls.pretrained),
            os.environ.get(ALLOW) == "1",
        )


class ClipModel:
    """A loaded CLIP. `label` is model/weights@digest; embeddings are unit vectors, float32 on the CPU."""

    def __init__(self, model: Any, preprocess: Any, tokenizer: Any, device: torch.device, label: str) -> None:
        self.model, self.preprocess, self.tokenizer = model.eval(), preprocess, tokenizer
        self.device, self.label = device, label
        self._latest: tuple[bytes, Tensor] | None = None

    @torch.inference_mode()
    def frames(self, video: NDArray[np.uint8]) -> Tensor:
        """Embed uint8 RGB [f, h, w, 3] as [f, d]. The latest is kept, by content: two metrics ask for it."""
        key = blake2b(np.ascontiguousarray(video).tobytes(), key=str(video.shape).encode()).digest()
        if self._latest is None or self._latest[0] != key:
            parts = []
            for start in range(0, len(video), BATCH):
                images = [self.preprocess(Image.fromarray(frame)) for frame in video[start : start + BATCH]]
                batch = torch.stack(images).to(self.device)
                parts.append(self.model.encode_image(batch, normalize=True).float().cpu())
            self._latest = key, torch.cat(parts)
        return self._latest[1]

    @torch.inference_mode()
    def text(self, prompt: str) -> tuple[Tensor, bool]:
        """Embed a prompt as [d]; tell whether it fills the context, so that its end may be lost."""
        tokens = self.tokenizer([prompt])
        embedding = self.model.encode_text(tokens.to(self.device), normalize=True)[0].float().cpu()
        return embedding, bool(tokens[0, -1] != 0)


@dataclass(frozen=True, eq=False)
class TextAlignment:
    """The mean over frames of cos(frame, prompt). Status "prompt_long": scored, its end perhaps unseen."""

    clip: ClipModel
    name: str = "text_alignment"

    @property
    def version(self) -> str:
        return f"1 {self.clip.label}"

    def __call__(self, item: Item) -> Scores:
        row: Scores = {self.name: None, f"{self.name}_model": self.clip.label}
        if not item.prompt.strip():
            return row | {f"{self.name}_status": "no_prompt"}
        text, full = self.clip.text(item.prompt)
        score = float((self.clip.frames(item.video) @ text).mean())
        return row | {self.name: score, f"{self.name}_status": "prompt_long" if full else "ok"}


@dataclass(frozen=True, eq=False)
class TemporalConsistency:
    """The mean cos of consecutive frames, and of all pairs. A frozen video scores 1: see mf_speed_video."""

    clip: ClipModel
    name: str = "temporal_consistency"

    @property
    def version(self) -> str:
        return f"1 {self.clip.label}"

    def __call__(self, item: Item) -> Scores:
        row: Scores = {self.name: None, f"{self.name}_all_pairs": None, f"{self.name}_model": self.clip.label}
        count = len(item.video)
        if count < 2:
            return row | {f"{self.name}_status": "too_few_frames"}
        cosine = (embedding := self.clip.frames(item.video)) @ embedding.T
        pairs = torch.triu_indices(count, count, 1)
        row[self.name] = float(cosine.diagonal(1).mean())
        row[f"{self.name}_all_pairs"] = float(cosine[pairs[0], pairs[1]].mean())
        return row | {f"{self.name}_status": "ok"}


@dataclass(frozen=True, eq=False)
class ClipFrames:
    """The unit CLIP embeddings of frames, for CMMD."""

    clip: ClipModel
    name: str = "clip"

    @property
    def version(self) -> str:
        return f"1 {self.clip.label}"

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self.clip.frames(frames).numpy(), np.float32)


def load_clip(options: ClipOptions, device: str = "auto") -> ClipModel:
    """Load real weights into the chosen model, or raise MetricUnavailable with the reason and the way out."""
    config = open_clip.get_model_config(options.model)
    if config is None:
        close = nearest(options.model, open_clip.list_models())
        raise MetricUnavailable(
            f'open_clip has no model "{options.model}"{close}; set {MODEL} to one it lists'
        )
    text = config.get("text_cfg", {})
    if not options.allow_download and (text.get("hf_tokenizer_name") or text.get("hf_model_name")):
        raise MetricUnavailable(
            f"the tokenizer of {options.model} has to be downloaded: set {ALLOW}=1 to allow it"
        )
    tag: dict[str, Any] = open_clip.get_pretrained_cfg(options.model, options.pretrained)
    quick = bool(config.get("quick_gelu", False))
    if tag:
        _check_activation(options, quick, trained_quick=bool(tag.get("quick_gelu", False)))
    path = _weights(options, tag)
    scripted = _is_torchscript(path)
    if not tag and (scripted or any(hint in path.name.lower() for hint in ("openai", "quickgelu"))):
        _check_activation(options, quick, trained_quick=True)
    target = resolve_device(device)
    # the tag's file is passed by path, for a tag alone would make open_clip ask the network first
    normal = {
        f"image_{key}": tag[key] for key in ("mean", "std", "interpolation", "resize_mode") if tag.get(key)
    }
    try:
        model, preprocess = open_clip.create_model_from_pretrained(
            options.model, pretrained=str(path), device=target, weights_only=not scripted, **normal
        )
        tokenizer = open_clip.get_tokenizer(options.model)
    except Exception as problem:  # a foreign file fails in many ways, and all of them mean the same here
        detail = (str(problem).strip().splitlines() or [""])[0][:160]
        raise MetricUnavailable(
            f"{path} cannot be loaded as {options.model} ({type(problem).__name__}: {detail})"
        ) from problem
    label = f"{options.model}/{options.pretrained if tag else path.name}@{file_digest(str(path))[:12]}"
    return ClipModel(model, preprocess, tokenizer, target, label)


def _weights(options: ClipOptions, tag: dict[str, Any]) -> Path:
    """Find the weights on this machine; download a tag's only when that was allowed."""
    name = options.pretrained
    if not name:
        raise MetricUnavailable(
            f"no CLIP weights are named and random ones are refused: set {WEIGHTS} to a file"
        )
    if not tag:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        if path.suffix in CHECKPOINTS or len(path.parts) > 1:
            raise MetricUnavailable(
                f"the CLIP checkpoint {path} does not exist: set {WEIGHTS} to one that does"
            )
        close = nearest(name, open_clip.list_pretrained_tags_by_model(options.model))
        raise MetricUnavailable(
            f'"{name}" is neither a file nor pretrained weights of {options.model}{close}'
        )
    if (cached := _cached(tag)) is not None:
        return cached
    if not options.allow_download:
        raise MetricUnavailable(
            f"the weights {options.model}/{name} are not on this machine and downloads are off: "
            f"set {ALLOW}=1, or {WEIGHTS} to a local checkpoint"
        )
    said(
        f"fetching   CLIP's weights {options.model}/{name} from {tag.get('hf_hub') or tag.get('url')} to the "
        f"cache; Ctrl-C stops it, and a file in {WEIGHTS} makes it needless"
    )
    try:
        return Path(open_clip.download_pretrained(tag))
    except Exception as problem:  # network, disk, hub: the reason differs, the consequence does not
        raise MetricUnavailable(
            f"the weights {options.model}/{name} could not be downloaded ({problem})"
        ) from problem


def _cached(tag: dict[str, Any]) -> Path | None:
    """Find a tag's file in the hub's cache or in open_clip's own, without touching the network."""
    from huggingface_hub import try_to_load_from_cache

    if hub := tag.get("hf_hub"):
        repository, file = os.path.split(hub)
        names = [f"{os.path.splitext(file)[0]}.safetensors", file] if file else []
        for name in names or ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]:
            found = try_to_load_from_cache(repository, name)
            if isinstance(found, str):
                return Path(found)
    if url := tag.get("url"):
        path = Path("~/.cache/clip").expanduser() / os.path.basename(url)
        return path if path.is_file() else None
    return None


def _check_activation(options: ClipOptions, model_quick: bool, trained_quick: bool) -> None:
    """Refuse weights trained with QuickGELU in a model without it, and the reverse: silently wrong scores."""
    if trained_quick == model_quick:
        return
    other = f"{options.model}-quickgelu" if trained_quick else options.model.removesuffix("-quickgelu")
    words = ("with", "without") if trained_quick else ("without", "with")
    raise MetricUnavailable(
        f"the weights {options.pretrained} were trained {words[0]} QuickGELU but {options.model} computes "
        f"{words[1]} it: set {MODEL}={other}"
    )


def _is_torchscript(path: Path) -> bool:
    """Tell the archive format OpenAI published its weights in (which weights_only cannot read)."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
