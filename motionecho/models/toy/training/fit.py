"""Training of one network of the embedded pair: against a clock, on one or more GPUs, resumable."""

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

Net = TypeVar("Net", bound=nn.Module)
Network = Callable[..., Any]  # a module, or what torch.compile or data parallelism made of it


@dataclass
class Workplace:
    """The place where this process trains: device, rank, and the clock that all stages share."""

    out: Path
    device: torch.device
    rank: int
    world: int
    batch: int
    compile: bool
    deadline: float
    generator: torch.Generator

    def say(self, text: str) -> None:
        if self.rank == 0:
            print(text, flush=True)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def save(self, name: str, module: nn.Module) -> None:
        if self.rank == 0:
            tensors = {k: v.detach().half().contiguous().cpu() for k, v in module.state_dict().items()}
            save_file(tensors, self.out / f"{name}.safetensors")

    def load(self, name: str, module: Net, folder: Path | None = None) -> Net:
        tensors = load_file((folder or self.out) / f"{name}.safetensors")
        module.load_state_dict({k: v.float() for k, v in tensors.items()})
        return module.to(self.device).eval().requires_grad_(False)

    def card(self, **facts: float) -> None:
        """Add facts to config.json, the numbers beside the weights."""
        if self.rank == 0:
            path = self.out / "config.json"
            known = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps(known | {k: round(v, 5) for k, v in facts.items()}, indent=2) + "\n")


class OutOfTime(Exception):
    """The end of this process's wall time; its state is saved."""


def fit(
    place: Workplace,
    name: str,
    module: Net,
    loss_of: Callable[[Network], Tensor],
    seconds: float,
    optimizers: Sequence[torch.optim.Optimizer],
    decay: float = 0.999,
    after_step: Callable[[], None] | None = None,
) -> Net:
    """Train for `seconds` in all, over as many calls as it takes; return it with its weights' moving average.

    Rates rise over 200 steps to those of the optimizers and fall as a cosine to a hundredth of them. Raises
    OutOfTime, with the state saved, where the deadline comes first.
    """
    average = AveragedModel(module, multi_avg_fn=_warmed_up(decay), use_buffers=False)
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    state_path, spent, step = place.out / f"{name}.state.pt", 0.0, 0
    if state_path.exists():
        state = torch.load(state_path, map_location=place.device, weights_only=True)
        module.load_state_dict(state["module"])
        average.load_state_dict(state["average"])
        for optimizer, its in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(its)
        spent, step = state["spent"], state["step"]
    trained: Network = torch.compile(module) if place.compile else module
    if place.world > 1:
        trained = DistributedDataParallel(trained, device_ids=[place.device.index], broadcast_buffers=False)
    total, began, reported = torch.zeros((), device=place.device), time.time(), step
    while True:
        if step % 10 == 0 or place.device.type == "cpu":
            clock = [spent + time.time() - began, time.time() - place.deadline]
            now = torch.tensor(clock, device=place.device)
            if place.world > 1:
                dist.broadcast(now, 0)
            elapsed, overdue = now.tolist()
            if elapsed >= seconds or overdue > 0:
                break
        warm_up, share = min(1, (step + 1) / 200), min(1, elapsed / seconds)
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * warm_up * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        module.zero_grad(set_to_none=True)
        loss = loss_of(trained)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        average.update_parameters(module)
        if after_step:
            after_step()
        step, total = step + 1, total + loss.detach()
        if step % 200 == 0:
            place.say(f"{name}: step {step}, {elapsed:.0f} s, loss {total.item() / (step - reported):.4f}")
            total, reported = torch.zeros_like(total), step
    if elapsed < seconds:
        if place.rank == 0:
            state = {"module": module.state_dict(), "average": average.state_dict()}
            state |= {"optimizers": [optimizer.state_dict() for optimizer in optimizers]}
            state |= {"spent": elapsed, "step": step}
            torch.save(state, state_path)
        raise OutOfTime(f"{name} stopped after {elapsed:.0f} of {seconds:.0f} s, {step} steps")
    place.card(**{f"{name}_steps": step, f"{name}_seconds": elapsed})
    place.say(f"{name}: done, {step} steps in {elapsed:.0f} s")
    module.load_state_dict(average.module.state_dict())
    return module.eval().requires_grad_(False)


def adamw(place: Workplace, parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.AdamW:
    """Make the optimizer that all networks here share, but for the matrices of transformers."""
    trained = [p for p in parameters if p.requires_grad]
    return torch.optim.AdamW(
        trained, lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=place.device.type == "cuda"
    )


def _warmed_up(decay: float) -> Callable[..., None]:
    """Average with a memory that grows with the steps: a short stage must not average its own beginning."""

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], seen: Tensor | int) -> None:
        n = float(seen)
        torch._foreach_lerp_(averages, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update
