"""Content keys: what decides a result decides its name, so equal work is done once and never mixed up.

Two levels: a motion depends on the reference's bytes and on how it is inverted; a sample depends on its
motion, its prompt, its seed and the settings. Positions, basenames and prompts never become names.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CODE_EPOCH = 5  # raised by hand when a change of code changes latents: every older key is then history
KEY_LENGTH = 32  # 128 bits in hex: short enough to read, beyond any chance of collision

# Settings that are newer than the epoch, by their defaults.
LATER: dict[str, Any] = {
    "background": "black", "method": "motionecho", "initial_noise": "blend", "motion_strength": 1.0,
    "steer": "shift", "descent_steps": 5, "adapter_scale": 1.0, "adapter_on": "both",
    "embedding_mode": "difference",
    "restart": False, "channel_share": 0.04, "reference_prompt": "", "trainer": "teacher", "train_steps": 150,
    "train_rate": 5e-4, "spatial_rate": 5e-4, "spatial_path": "frame", "lora_rank": 32, "lora_layers": "all",
    "lora_dropout": 0.1, "motion_lora": "", "outlines": False, "control_scale": 1.0, "control_on": "teacher",
    "temperature": 2.0, "appearance_weight": 20.0,
}  # fmt: skip


def keyed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out settings that keys were made without once, where they change nothing: keys stay the same."""
    return {name: value for name, value in settings.items() if name not in LATER or value != LATER[name]}


def digest(value: Any) -> str:
    """Return the sha256 of `value` as canonical JSON (sorted keys, no blanks; NaN is a ValueError)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()  # a path may be any bytes


def file_digest(path: str) -> str:
    """Return the sha256 of a local file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def motion_key(
    reference_sha256: str,
    *,
    window: Mapping[str, Any],
    frames: int,
    height: int,
    width: int,
    fit: str,
    inversion: Mapping[str, Any],
    pair: str,
    weights: Mapping[str, str],
) -> str:
    """Name the inverted reference; everything that can change one bit of it takes part."""
    parts = {
        "epoch": CODE_EPOCH,
        "reference": reference_sha256,
        "window": dict(window),
        "size": [frames, height, width, fit],
        "inversion": dict(inversion),
        "pair": pair,
        "weights": dict(weights),
    }
    return digest(parts)[:KEY_LENGTH]


def text_key(text: str, *, pair: str, weights: Mapping[str, str]) -> str:
    """Name an encoded text; `weights` are those of the encoder alone."""
    parts = {"epoch": CODE_EPOCH, "text": text, "pair": pair, "weights": dict(weights)}
    return digest(parts)[:KEY_LENGTH]


def sample_key(
    motion: str, *, prompt: str, negative_prompt: str | None, seed: int, settings_digest: str, dtype: str
) -> str:
    """Name one sample: its motion (which names the weights), texts, seed and every setting.

    `settings_digest` is `digest(keyed(config.to_dict()))`; callers with many rows compute it once a
    configuration.
    """
    parts = {
        "epoch": CODE_EPOCH,
        "motion": motion,
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "seed": seed,
        "settings": settings_digest,
        "dtype": dtype,
    }
    return digest(parts)[:KEY_LENGTH]


def score_key(sample: str, metric: str, version: str) -> str:
    """Name one metric's outcome on one sample: a new metric or version touches nothing else."""
    return digest({"sample": sample, "metric": metric, "version": version})[:KEY_LENGTH]


def differences(there: Any, now: Any, name: str = "") -> list[str]:
    """Name every leaf that differs between two nested settings."""
    if isinstance(there, dict) and isinstance(now, dict):
        names = list(dict.fromkeys([*there, *now]))
        return [d for n in names for d in differences(there.get(n), now.get(n), f"{name}.{n}".lstrip("."))]
    return [] if there == now else [f"{name} is {json.dumps(there)} there and {json.dumps(now)} now"]
