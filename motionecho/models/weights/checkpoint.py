"""Public checkpoints: read without executing them, and refused by tensor name where they do not fit."""

import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from motionecho.errors import UserError, nearest
from motionecho.models.weights.sources import INDEX

GROUPS = 32  # channels come in multiples of it, the groups of every normalisation
LISTED = 5  # tensors named in one message

State = Mapping[str, Tensor]
Shapes = Mapping[str, torch.Size]
C = TypeVar("C")


@dataclass(frozen=True)
class Mismatch:
    """A tensor that is not as the network needs it; shapes are lists, None where there is no tensor."""

    tensor: str
    problem: Literal["missing", "unexpected", "wrong shape"]
    expected: list[int] | None = None
    found: list[int] | None = None


class Misfit(UserError):
    """A checkpoint that does not fit its network; `mismatches` names every tensor, the message a few."""

    def __init__(self, message: str, mismatches: Sequence[Mismatch]):
        super().__init__(message)
        self.mismatches = tuple(mismatches)


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file or a torch pickle, mapped into memory where possible.

    Raises UserError where the file is neither, or holds more than tensors.
    """
    loaded = unpickled(path)
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path} is no checkpoint of named tensors, but a {type(loaded).__name__}")
    return dict(loaded.get("state_dict", loaded))


def read_part(files: Mapping[str, Path], key: str) -> dict[str, Tensor]:
    """Read the tensors of one of a pair's files, or of all those that an index in its place names."""
    if not files[key].name.endswith(INDEX):
        return read(files[key])
    shards = (path for name, path in files.items() if name.startswith(f"{key}/"))
    return {name: tensor for path in shards for name, tensor in read(path).items()}


def unpickled(path: Path) -> Any:
    """Read what a checkpoint file holds: named tensors, or, in old adapters, a list of them."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise UserError(f"there are no weights at {path}") from None
    except Exception as problem:
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0][:200]
        raise UserError(f"{path} is no readable checkpoint of tensors alone ({reason})") from problem


def component(state: State, prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, without it; a checkpoint with none of them is taken to be bare."""
    found = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    return found or dict(state)


def shapes(state: State) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def require_match(expected: Shapes, found: State, what: str) -> None:
    """Raise Misfit naming the missing, unexpected and wrongly shaped tensors of `found`, if any."""
    problems = mismatches(expected, found)
    if not problems:
        return
    missing = [p.tensor for p in problems if p.problem == "missing"]
    unexpected = [p.tensor for p in problems if p.problem == "unexpected"]
    unexpected[:LISTED] = [f"{name}{nearest(name, missing)}" for name in unexpected[:LISTED]]
    wrong = [f"{p.tensor} is {p.found}, not {p.expected}" for p in problems if p.problem == "wrong shape"]
    kinds = {"missing": missing, "unexpected": unexpected, "wrongly shaped": wrong}
    told = (f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names)
    raise Misfit(f"the checkpoint does not fit {what}; tensors {'; '.join(told)}", problems)


def mismatches(expected: Shapes, found: State) -> list[Mismatch]:
    """List every tensor of `found` that is not as `expected`."""
    missing = [Mismatch(n, "missing", list(shape)) for n, shape in expected.items() if n not in found]
    unexpected = [
        Mismatch(n, "unexpected", None, list(t.shape)) for n, t in found.items() if n not in expected
    ]
    wrong = [
        Mismatch(name, "wrong shape", list(shape), list(found[name].shape))
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    return [*missing, *unexpected, *wrong]


def inferred(infer: Callable[[], C], published: Callable[[], Shapes], found: State) -> C:
    """Read widths off the tensors; where they cannot be, the Misfit lists all against the published ones."""
    try:
        return infer()
    except Misfit as problem:
        raise Misfit(str(problem), mismatches(published(), found) or problem.mismatches) from None


def filled(net: C, tensors: State) -> C:
    """Put these tensors in place of the network's own, sharing their memory, for evaluation."""
    assert isinstance(net, nn.Module)
    net.load_state_dict(tensors, assign=True)
    return net.eval().requires_grad_(False)


def layer_weight(layer: nn.Module | None, name: str, known: Collection[str]) -> Tensor:
    """The weight of a linear layer, or of the 1x1 convolution that stands for one, as a view [out, in]."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        raise UserError(f'"{name}" is no linear layer of this model{nearest(name, known)}')
    return weight.detach().flatten(1)


def length_of(state: State, name: str, what: str) -> int:
    """Return the length of a vector with one entry a channel; raises Misfit where it is none."""
    shape = _shape_of(state, name, what)
    if len(shape) != 1 or shape[0] % GROUPS:
        raise Misfit(f'the checkpoint is not of {what}: tensor "{name}" is {list(shape)}, '
                     f"not a vector of a multiple of {GROUPS} channels",
                     [Mismatch(name, "wrong shape", None, list(shape))])  # fmt: skip
    return shape[0]


def ratio_of(state: State, name: str, known: int, what: str) -> int:
    """Return the other side of a matrix of which one is known, transposed or not, else raise Misfit."""
    shape = _shape_of(state, name, what)
    if shape.numel() == 0 or shape.numel() % known:
        raise Misfit(f'the checkpoint is not of {what}: tensor "{name}" is {list(shape)}, '
                     f"which {known} does not divide",
                     [Mismatch(name, "wrong shape", None, list(shape))])  # fmt: skip
    return shape.numel() // known


def _shape_of(state: State, name: str, what: str) -> torch.Size:
    if name not in state:
        raise Misfit(f'the checkpoint is not of {what}: tensor "{name}" is missing',
                     [Mismatch(name, "missing")])  # fmt: skip
    return state[name].shape


def _some(names: list[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
