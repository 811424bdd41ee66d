"""Turn the words of a setting into a torch device and dtype; make what a device computes repeatable."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motionecho.errors import UserError, nearest

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or torch will not promise equal sums
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """Find the device named, for "auto" the first GPU, if any; raises UserError on one that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        hint = nearest(name, ["cpu", "cuda", "auto"])
        raise UserError(f'unknown device "{name}"{hint}; use auto, cpu, cuda or cuda:N') from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f'device "{name}" was asked for, but torch finds no CUDA device; use "cpu" or "auto"')
    return device


def resolve_dtype(name: str, default: torch.dtype) -> torch.dtype:
    """Return the dtype named, for "auto" `default`; raises UserError on an unknown name."""
    if name == "auto":
        return default
    if name not in _DTYPES:
        raise UserError(f'unknown dtype "{name}"{nearest(name, _DTYPES)}; known: auto, {", ".join(_DTYPES)}')
    return _DTYPES[name]


def to_device_of(like: Tensor, tensor: Tensor) -> Tensor:
    """Put a small tensor on `like`'s device, without waiting for what that device computes."""
    return tensor.to(like.device, non_blocking=True)


def to_cpu_later(tensor: Tensor) -> Callable[[], Tensor]:
    """Start to copy a small tensor to the CPU; what is returned waits for it, and for nothing begun since."""
    copy = tensor.to("cpu", non_blocking=True)
    if not tensor.is_cuda:
        return lambda: copy
    arrived = torch.cuda.current_stream(tensor.device).record_event()

    def wait() -> Tensor:
        arrived.synchronize()
        return copy

    return wait


@cache
def has_tma(device: torch.device) -> bool:
    """Tell data centres' Hopper and Blackwell: tiles move by themselves (TMA), cuDNN's attention leads."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] in (9, 10)


@contextmanager
def repeatable() -> Iterator[None]:
    """Have a pass and its gradient sum in one order: equal inputs give equal bits on every GPU of a kind.

    Passes without a gradient do so anyway; of attention, the forward pass chooses how its backward pass
    sums. The flags are torch's own, of the whole process.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled, memory.fill_uninitialized_memory = memory.fill_uninitialized_memory, False  # helps nobody here
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
        memory.fill_uninitialized_memory = filled


def free_bytes(device: torch.device) -> float:
    """Return the memory that a device, or the CPU, has left; infinity where the system does not tell.

    What a container may use at most counts, less what its processes hold.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    told = [float("inf")]
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        told.append(1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with suppress(OSError, ValueError, KeyError):
        group = Path("/sys/fs/cgroup")
        held = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        told.append(float((group / "memory.max").read_text()) - float(held["anon"]))
    return min(told)
