"""A log of steps, closed one behind the device, so that it never waits for what is only written down."""

import time
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from motionecho.errors import BadSample
from motionecho.trace import StepTrace


class StepLog:
    """A check and clock of every step by the device's own time; it hands its lines to `on_step`, in order.

    On a GPU a step is settled once the next has been handed out, on a CPU at once.
    """

    def __init__(self, device: torch.device, on_step: Callable[[list[StepTrace]], None]):
        self.device, self.on_step = device, on_step
        self.behind: deque[tuple[list[StepTrace], Tensor, Mark]] = deque()
        self.last = Mark(device)

    def close(self, lines: list[StepTrace], z: Tensor) -> None:
        """End a step that left latents z [b, c, f, h, w]; raises BadSample as `settle` does."""
        finite = torch.isfinite(z).flatten(1).all(1).to("cpu", non_blocking=True)
        self.behind.append((lines, finite, Mark(self.device)))
        self.settle(keep=int(self.device.type == "cuda"))

    def settle(self, keep: int = 0) -> None:
        """Wait for all steps but the last `keep`; raises BadSample where latents became not finite."""
        while len(self.behind) > keep:
            lines, finite, ended = self.behind.popleft()
            seconds, self.last = ended.since(self.last), ended
            if not bool(finite.all()):
                raise BadSample(
                    f"latents became not finite at student step {lines[0].step} (t={lines[0].t:g}), "
                    f"sample {finite.tolist().index(False)} of the batch; lower the guidance strength"
                )
            for line in lines:
                line.seconds = seconds / len(lines)
            self.on_step(lines)


class Mark:
    """A point in the device's own time."""

    def __init__(self, device: torch.device):
        self.event = torch.cuda.Event(enable_timing=True) if device.type == "cuda" else None
        if self.event is None:
            self.seconds = time.perf_counter()
        else:
            self.event.record(torch.cuda.current_stream(device))

    def since(self, before: "Mark") -> float:
        """Return seconds from an earlier mark to this one, waiting until the device has passed it."""
        if self.event is None or before.event is None:
            return self.seconds - before.seconds
        self.event.synchronize()
        return float(before.event.elapsed_time(self.event)) / 1000
