"""Public checkpoints: read without executing them, and refused by tensor name where they do not fit."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from motionecho.errors import UserError, nearest

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
GROUPS = 32  # channels come in multiples of it, the groups of every normalisation
LISTED = 5  # tensors named in one message

State = Mapping[str, Tensor]


def read(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file or a torch pickle, mapped into memory rather than read where possible.

    Raises UserError where the file is neither, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise UserError(f"there are no weights at {path}") from None
    except Exception as problem:
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0][:200]
        raise UserError(f"{path} is no readable checkpoint of tensors alone ({reason})") from problem
    return dict(loaded.get("state_dict", loaded))


def component(state: State, prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it; a checkpoint that has none of them is taken to be bare."""
    found = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    return found or dict(state)


def require_match(expected: Mapping[str, torch.Size], found: State, what: str) -> None:
    """Raise UserError naming the missing, unexpected and wrongly shaped tensors of `found`, if any."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    unexpected[:LISTED] = [f"{name}{nearest(name, missing)}" for name in unexpected[:LISTED]]
    wrong = [
        f"{name} is {list(found[name].shape)}, not {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "wrongly shaped": wrong}
    if any(kinds.values()):
        problems = (f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names)
        raise UserError(f"the checkpoint does not fit {what}; tensors {'; '.join(problems)}")


def shape_of(state: State, name: str, what: str) -> torch.Size:
    """The shape of a tensor from which widths are inferred; raises UserError where it is missing."""
    if name not in state:
        raise UserError(f'the checkpoint is not of {what}: tensor "{name}" is missing')
    return state[name].shape


def length_of(state: State, name: str, what: str) -> int:
    """The length of a vector with one entry a channel; raises UserError where it is none."""
    shape = shape_of(state, name, what)
    if len(shape) != 1 or shape[0] % GROUPS:
        raise UserError(f'the checkpoint is not of {what}: tensor "{name}" is {list(shape)}, '
                        f"not a vector of a multiple of {GROUPS} channels")  # fmt: skip
    return shape[0]


def ratio_of(state: State, name: str, known: int, what: str) -> int:
    """The other side of a matrix of which one is known, transposed or not; raises UserError on another."""
    shape = shape_of(state, name, what)
    if shape.numel() == 0 or shape.numel() % known:
        raise UserError(f'the checkpoint is not of {what}: tensor "{name}" is {list(shape)}, '
                        f"which {known} does not divide")  # fmt: skip
    return shape.numel() // known


def _some(names: list[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
