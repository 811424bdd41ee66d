"""Training on one reference: what is trained, by which loss, and the loop that does it (MotionDirector's).

A step draws a time, noise, a frame and an anchor as functions of its number alone, so that training that was
cut short begins again to the same bits, and several references train beside each other as each would alone.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser
from motionecho.errors import BadSample
from motionecho.guidance import lora
from motionecho.guidance.carrier import Adapter, SidePath, without_time
from motionecho.noise import noise
from motionecho.runs.waits import counted
from motionecho.schedules import Level, Schedule, output_of, renoise

SKIPPED = 0.2  # share of steps without the spatial path
WEIGHT_DECAY = 1e-2
LARGE = 100_000_000  # weights
Loss = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Recipe:
    """The way a strategy trains: how its adapter begins, the loss by which it learns, and the spatial path's.

    Losses compare what a network predicts with what it should have, [b, c, f, h, w], by an anchor frame; [b].
    """

    begin: Callable[[Denoiser, Tensor, ReferenceSettings], Adapter]
    loss: Loss
    spatial_loss: Callable[[Tensor, Tensor], Tensor] | None = None

    def train(
        self, denoiser: Denoiser, schedule: Schedule, z0: Tensor, text: Tensor, reference: ReferenceSettings
    ) -> Adapter:
        """Train on clean latents z0 [b, c, f, h, w] under their captions' states; return float16 [b, ...].

        The denoiser has to be plain. Raises BadSample where training becomes not finite.
        """
        adapter = _trainable(self.begin(denoiser, z0, reference), z0)
        aside = Adapter()
        if self.spatial_loss is not None and reference.spatial_path != "none":
            aside = _trainable(lora.factors_in_frames(denoiser, z0, reference), z0)
        over_time, in_frames = (
            torch.optim.AdamW([*part.values()] or [z0.new_zeros(1)], lr=rate, weight_decay=WEIGHT_DECAY)
            for part, rate in ((adapter, reference.train_rate), (aside, reference.spatial_rate))
        )
        half = next(denoiser.network.parameters()).dtype == torch.float16
        scaler = torch.amp.GradScaler(z0.device.type, init_scale=2.0**14, enabled=half)
        with torch.enable_grad(), torch.random.fork_rng(), _economical(denoiser.network):
            for step in counted("training", range(reference.train_steps)):
                draw = Draw.of(step, schedule, z0)
                torch.manual_seed(step)  # of the dropout
                looks = bool(aside) and draw.looks
                if looks:
                    self._appearance(denoiser, z0, text, draw, aside, reference, scaler)
                fixed = {name: tensor.detach() for name, tensor in aside.items()} if looks else {}
                beside = (SidePath(part, dropout=reference.lora_dropout) for part in (adapter, fixed))
                with ExitStack() as stack:
                    for each in beside:
                        stack.enter_context(each.on(denoiser.network))
                    seen, want = draw.predicted(denoiser, z0, text)
                    scaler.scale(self.loss(seen, want, draw.anchor).sum()).backward()
                for optimizer in (over_time, in_frames) if looks else (over_time,):
                    scaler.step(optimizer)
                    optimizer.zero_grad()
                scaler.update()
        trained = {name: tensor.detach().half() for name, tensor in adapter.items()}
        if not all(bool(torch.isfinite(tensor).all()) for tensor in trained.values()):
            raise BadSample("training on the reference became not finite: lower train_rate")
        return trained

    def _appearance(
        self,
        denoiser: Denoiser,
        z0: Tensor,
        text: Tensor,
        draw: "Draw",
        aside: Adapter,
        reference: ReferenceSettings,
        scaler: torch.amp.GradScaler,
    ) -> None:
        """Run the spatial path and its backward pass: one frame as a picture, or as a still video.

        Layers over time are bypassed until that is done, for it may compute activations a second time.
        """
        assert self.spatial_loss is not None
        only = slice(draw.frame, draw.frame + 1)
        still = z0[:, :, only]
        with ExitStack() as stack:
            stack.enter_context(SidePath(aside, dropout=reference.lora_dropout).on(denoiser.network))
            if reference.spatial_path == "frame":
                stack.enter_context(without_time(denoiser))
                draw = replace(draw, eps=draw.eps[:, :, only])
            else:
                still = still.expand_as(z0)
            seen, want = draw.predicted(denoiser, still, text)
            scaler.scale(self.spatial_loss(seen, want).sum()).backward()


@dataclass(frozen=True)
class Draw:
    """What chance decides of one step: the level, the noise [b, c, f, h, w], two frames, whether it looks."""

    at: Level
    eps: Tensor
    frame: int
    anchor: int
    looks: bool

    @classmethod
    def of(cls, step: int, schedule: Schedule, z0: Tensor) -> "Draw":
        drawn = np.random.default_rng(step)
        at = schedule.at(float(drawn.integers(1, round(schedule.top) + 1)))
        frame, anchor = (int(k) for k in drawn.integers(0, z0.shape[2], 2))
        eps = noise(0, "training", step, z0.shape[1:]).to(z0).expand_as(z0)
        return cls(at, eps, frame, anchor, bool(drawn.random() >= SKIPPED))

    def predicted(self, denoiser: Denoiser, z0: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network predicts of the noised latents, in its own terms, and what it should."""
        z, answer = renoise(z0, self.eps, self.at), denoiser.answer
        x0 = denoiser.x0(z, self.at, text)
        return output_of(answer, x0, z, self.at), output_of(answer, z0, z, self.at)


def _trainable(adapter: Adapter, like: Tensor) -> Adapter:
    return {name: tensor.to(like.device).requires_grad_() for name, tensor in adapter.items()}


@contextmanager
def _economical(network: Any) -> Iterator[None]:
    """Have a large network compute activations a second time, rather than keep them."""
    large = sum(weight.numel() for weight in network.parameters()) > LARGE
    if large:
        network.enable_gradient_checkpointing()
    try:
        yield
    finally:
        if large:
            network.disable_gradient_checkpointing()
