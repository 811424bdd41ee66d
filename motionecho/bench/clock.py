"""The time that something takes on a device, and how much of its memory."""

import statistics
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch

T = TypeVar("T")
WARM_UPS = 3


def median_ms(action: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Take the median milliseconds of an action by the device's own clock, after some that do not count."""
    for _ in range(WARM_UPS):
        action()
    return round(statistics.median(_once(action, device) for _ in range(repeats)), 3)


def timed(action: Callable[[], T], device: torch.device) -> tuple[float, float | None, T]:
    """Return an action's seconds, peak memory in GiB (None where torch does not count it) and result."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    result = action()
    if cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - began
    # reserved, since what a recorded pass needs is allocated once and then only held
    peak = torch.cuda.max_memory_reserved(device) / 2**30 if cuda else None
    return round(seconds, 4), None if peak is None else round(peak, 2), result


def _once(action: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        began = time.perf_counter()
        action()
        return 1e3 * (time.perf_counter() - began)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    action()
    end.record()
    torch.cuda.synchronize(device)
    elapsed: Any = begin.elapsed_time(end)
    return float(elapsed)
