"""Files of tensors that tell whether they are whole: safetensors whose header has a sha256 of all."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save_file
from torch import Tensor

from motionecho.runs.local import replacing

HEADER = "motionecho"  # one entry of a file's metadata: several come in any order


def write_tensors(path: str | Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a file, whole or not at all; its header gets a sha256 beside what it says.

    Raises UserError where there is no such folder, or it cannot be written.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    says = {**header, "sha256": _digest(header, whole)}
    with replacing(path) as temporary:
        save_file(whole, temporary, {HEADER: json.dumps(says, sort_keys=True)})


def read_tensors(
    path: str | Path, what: str, key: str | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what a file's header says, and its tensors; with `key` in the header where one is given.

    `what` names the kind of file. Raises all kinds of exceptions where it is not what was written, or of
    another key.
    """
    data = Path(path).read_bytes()  # not mapped: a file cut short while it is in use ends the process
    header, tensors = _header(data, what), load(data)
    if header.pop("sha256") != _digest(header, tensors):
        raise ValueError("its contents are not those that were written")
    if key not in (None, header.get("key")):
        raise ValueError(f"it is of the {what} {header.get('key')}, not of {key}")
    return header, tensors


def forms(tensors: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    """Return the type and shape of tensors, by name."""
    return {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors.items()}


def _digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of a header and of tensors on the CPU: their names, types, shapes and bytes."""
    found = hashlib.sha256(json.dumps([header, forms(tensors)], sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _header(data: bytes, what: str) -> dict[str, Any]:
    """Read what a file's writer said: 8 bytes of length, then JSON."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    words = header.get("__metadata__", {}).get(HEADER)
    found = json.loads(words) if words else {}
    if "sha256" not in found:
        raise ValueError(f"it does not say what it holds, so it is no {what} or one of an older version")
    return dict(found)
