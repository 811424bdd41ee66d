"""CUDA graphs of a denoiser's passes: recorded at first sight of a shape, then replayed without Python.

A pass of a video UNet is thousands of small kernels, which Python hands out slower than a fast GPU runs them.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from motionecho.denoiser import CLEAN, Energy, Look, Probe, Target, clean_look
from motionecho.device import repeatable
from motionecho.models.codec import CausalCodec, FramewiseCodec
from motionecho.models.pair import ModelPair
from motionecho.models.speed.wrapped import Wrapped
from motionecho.schedules import Level

WARM_UPS = 2
Tensors = dict[str, Tensor]
T = TypeVar("T")


@dataclass(frozen=True)
class Workspace:
    """The memory that one pass after the other computes in, and the stream that it is handed out on.

    One is over before the next begins: what a pass needs is held once, however many shapes, steps and
    networks there are. A recording writes over all that was free when it was made, so nothing that is made
    in here may be kept.
    """

    pool: torch.cuda.MemPool = field(default_factory=lambda: torch.cuda.MemPool())
    stream: torch.cuda.Stream = field(default_factory=lambda: torch.cuda.Stream())

    @contextmanager
    def inside(self, network: nn.Module | None = None) -> Iterator[None]:
        """Compute in here, after what runs already and before what comes next."""
        outside = torch.cuda.current_stream()
        self.stream.wait_stream(outside)
        try:
            with torch.cuda.use_mem_pool(self.pool), torch.cuda.stream(self.stream):
                yield
        finally:  # a pass that a probe ends has begun, too
            outside.wait_stream(self.stream)

    def warm_up(self, function: Callable[[], object]) -> None:
        """Let libraries choose kernels and allocate workspaces, which a recording may not."""
        with self.inside():
            for _ in range(WARM_UPS):
                function()
        torch.cuda.empty_cache()  # gradients are made on threads of their own, outside of the pool

    def record(self, function: Callable[[], T]) -> tuple[torch.cuda.CUDAGraph, T]:
        """Record a graph of what the function does; return it and the tensors that replays fill."""
        graph, pool = torch.cuda.CUDAGraph(), cast(Any, self.pool.id)
        # other threads may use the GPU meanwhile
        with torch.cuda.graph(graph, pool, self.stream, capture_error_mode="thread_local"):
            outcome = function()
        return graph, outcome


@dataclass
class Recording:
    """The graphs that read `inputs` and write `outputs`, both at fixed places."""

    inputs: Tensors
    outputs: list[Tensor] = field(default_factory=list)
    graphs: list[torch.cuda.CUDAGraph] = field(default_factory=list)

    def put(self, values: Tensors) -> None:
        for name, tensor in values.items():
            self.inputs[name].detach().copy_(tensor)


@dataclass(frozen=True)
class Replayed:
    """A function of named tensors to one, without a gradient, on a GPU."""

    function: Callable[..., Tensor]
    workspace: Workspace
    recordings: dict[Hashable, Recording] = field(default_factory=dict)

    def __call__(self, **inputs: Tensor) -> Tensor:
        key = _shapes(inputs)
        if key not in self.recordings:
            self.recordings[key] = self._record(inputs)
        recording = self.recordings[key]
        recording.put(inputs)
        recording.graphs[0].replay()
        return recording.outputs[0].clone()

    @torch.no_grad()
    def _record(self, inputs: Tensors) -> Recording:
        recording = Recording({name: tensor.clone() for name, tensor in inputs.items()})
        self.workspace.warm_up(lambda: self.function(**recording.inputs))
        graph, output = self.workspace.record(lambda: self.function(**recording.inputs))
        recording.graphs.append(graph)
        recording.outputs.append(output)
        return recording


@dataclass(frozen=True)
class Recorded(Wrapped):
    """A denoiser on a GPU whose weights stay where they are."""

    workspace: Workspace
    watched: dict[Hashable, Recording] = field(default_factory=dict)

    @cached_property
    def plain(self) -> Replayed:
        return Replayed(lambda z, text, **at: self.denoiser.x0(z, Level(**at), text), self.workspace)

    def x0(self, z: Tensor, at: Level, text: Tensor, probe: Probe | None = None) -> Tensor:
        if torch.is_grad_enabled():
            return self.denoiser.x0(z, at, text, probe)
        if probe is None:
            return self.plain(**_inputs(z, at, text))
        try:
            with self.workspace.inside():
                x0 = self.denoiser.x0(z, at, text, probe)
            return x0.clone()  # out here, for a replay writes over what lies in there
        finally:
            probe.seen = {tap: shown.clone() for tap, shown in probe.seen.items()}

    def look(
        self, z: Tensor, at: Level, text: Tensor, energy: Energy, target: Target, gradient: bool = True
    ) -> Look:
        """Answer like `eager_look`; the backward pass is a graph of its own, replayed when called for."""
        if energy.taps == CLEAN:
            return clean_look(self, z, at, text, energy, target, gradient)
        inputs = _inputs(z, at, text) | target
        key = (energy, _shapes(inputs))
        if key not in self.watched:
            self.watched[key] = self._record(inputs, energy, tuple(target))
        recording = self.watched[key]
        forward, backward = recording.graphs
        recording.put(inputs)
        forward.replay()
        x0, loss, slope = recording.outputs

        def slope_at(weights: Tensor) -> Tensor:
            recording.put({"weight": weights})
            backward.replay()
            return slope.clone()

        return Look(x0.clone(), loss.clone(), slope_at)

    def _record(self, inputs: Tensors, energy: Energy, targets: tuple[str, ...]) -> Recording:
        recording = Recording({name: tensor.detach().clone() for name, tensor in inputs.items()})
        z, text, t, alpha, sigma = (recording.inputs[name] for name in ("z", "text", "t", "alpha", "sigma"))
        target = {name: recording.inputs[name] for name in targets}
        weight = recording.inputs["weight"] = torch.ones(len(z), device=z.device)
        z.requires_grad_()

        @torch.enable_grad()
        def forward() -> tuple[Tensor, Tensor]:
            probe = Probe(energy.taps)
            x0 = self.denoiser.x0(z, Level(t, alpha, sigma), text, probe).detach()
            return x0, energy.loss(probe, target)

        def backward(loss: Tensor) -> Tensor:
            return torch.autograd.grad(loss, z, weight)[0]

        with repeatable():
            self.workspace.warm_up(lambda: backward(forward()[1]))
            there, (x0, loss) = self.workspace.record(forward)
            back, slope = self.workspace.record(lambda: backward(loss))
        recording.graphs += [there, back]
        recording.outputs += [x0, loss.detach(), slope]
        return recording


def recorded(pair: ModelPair, codec: FramewiseCodec | CausalCodec) -> ModelPair:
    """Record the passes of a pair on a GPU; return a pair elsewhere as it is."""
    if pair.device.type != "cuda":
        return pair
    space = Workspace()
    replayed = Replayed(lambda ids: pair.text(ids), space)
    return replace(
        pair,
        student=Recorded(pair.student, space),
        teacher=Recorded(pair.teacher, space),
        codec=replace(codec, using=space.inside),
        text=pair.text if pair.remember else lambda ids: replayed(ids=ids),  # what is looked up is no pass
    )


def _inputs(z: Tensor, at: Level, text: Tensor) -> Tensors:
    # filled in on the device, for a copy from the host would wait for all that runs there
    moment = {name: torch.full((), float(value), device=z.device) for name, value in vars(at).items()}
    return {"z": z, "text": text} | moment


def _shapes(inputs: Tensors) -> Hashable:
    return tuple((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items())
