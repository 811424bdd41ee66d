"""CUDA graphs of a backbone's passes: recorded at first sight of a shape, then replayed without Python.

A pass of a video UNet is thousands of small kernels, which Python hands out slower than a fast GPU runs them.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from motionecho.denoiser import LIFT, Prediction, Probe
from motionecho.device import beside, repeatable
from motionecho.guidance.steering import LOSS_UNIT, MotionGuidance, Target
from motionecho.models.pair import ModelPair
from motionecho.models.speed.wrapped import Wrapped

WARM_UPS = 2
Tensors = dict[str, Tensor]
T = TypeVar("T")


@dataclass(frozen=True)
class Workspace:
    """Memory that one pass after the other computes in, and the stream that it is handed out on.

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
        with torch.cuda.use_mem_pool(self.pool), torch.cuda.stream(self.stream):
            yield
        outside.wait_stream(self.stream)

    def warm_up(self, function: Callable[[], object]) -> None:
        """Libraries choose kernels and allocate workspaces, which a recording may not."""
        with self.inside():
            for _ in range(WARM_UPS):
                function()

    def record(self, function: Callable[[], T]) -> tuple[torch.cuda.CUDAGraph, T]:
        """A graph of what the function does, and the tensors that it returns, which replays fill."""
        graph, pool = torch.cuda.CUDAGraph(), cast(Any, self.pool.id)
        # other threads may use the GPU meanwhile
        with torch.cuda.graph(graph, pool, self.stream, capture_error_mode="thread_local"):
            outcome = function()
        return graph, outcome


@dataclass
class Recording:
    """Graphs that read `inputs` and write `outputs`, both at fixed places."""

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
    """A backbone on a GPU whose weights stay where they are."""

    workspace: Workspace
    guided: dict[Hashable, Recording] = field(default_factory=dict)

    @cached_property
    def plain(self) -> Replayed:
        return Replayed(self.backbone.denoise, self.workspace)

    def denoise(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe | None = None) -> Tensor:
        if probe is not None or torch.is_grad_enabled():
            return self.backbone.denoise(z, t, text, probe)
        return self.plain(**_inputs(z, t, text))

    def observe(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe) -> None:
        with self.workspace.inside():
            self.backbone.observe(z, t, text, probe)
        for layer, weights in probe.maps.items():
            probe.maps[layer] = weights.clone()

    def predict(
        self, z: Tensor, t: int, text: Tensor, guidance: MotionGuidance, target: Target,
        above: Tensor | float | None,
    ) -> Prediction:  # fmt: skip
        """As `guidance.base.predict`; the backward pass is a graph of its own, replayed where wanted."""
        inputs = _inputs(z, t, text) | target
        key = (guidance, _shapes(inputs))
        if key not in self.guided:
            self.guided[key] = self._record(inputs, guidance, tuple(target))
        recording = self.guided[key]
        forward, backward = recording.graphs
        recording.put(inputs)
        forward.replay()
        eps, energy, gradient = recording.outputs
        loss = energy.to("cpu", non_blocking=True)
        known = torch.cuda.current_stream().record_event()
        everyone = above is not None and bool((torch.as_tensor(above) <= 0).all())
        if everyone:  # then the loss is read while the backward pass runs
            recording.inputs["weight"].fill_(LIFT)
            backward.replay()
        known.synchronize()
        loss *= LOSS_UNIT
        if not everyone:
            if above is None or not bool((wanted := loss >= above).any()):
                return Prediction(eps.clone(), loss)
            recording.put({"weight": beside(wanted * LIFT, z)})
            backward.replay()
        return Prediction(eps.clone(), loss, gradient / LIFT)

    def _record(self, inputs: Tensors, guidance: MotionGuidance, targets: tuple[str, ...]) -> Recording:
        recording = Recording({name: tensor.detach().clone() for name, tensor in inputs.items()})
        z, t, text = (recording.inputs[name] for name in ("z", "t", "text"))
        target = {name: recording.inputs[name] for name in targets}
        weight = recording.inputs["weight"] = torch.full((len(z),), LIFT, device=z.device)
        z.requires_grad_()

        @torch.enable_grad()
        def forward() -> tuple[Tensor, Tensor]:
            probe = Probe(guidance.layers)
            eps = self.backbone.denoise(z, t, text, probe).detach()
            return eps, guidance.loss(probe, target)

        def backward(energy: Tensor) -> Tensor:
            return torch.autograd.grad(energy, z, weight)[0]

        with repeatable():
            self.workspace.warm_up(lambda: backward(forward()[1]))
            there, (eps, energy) = self.workspace.record(forward)
            back, gradient = self.workspace.record(lambda: backward(energy))
        recording.graphs += [there, back]
        recording.outputs += [eps, energy.detach(), gradient]
        return recording


def recorded(pair: ModelPair) -> ModelPair:
    """The same pair with its passes recorded, on a GPU; elsewhere the pair as it is."""
    if pair.device.type != "cuda":
        return pair
    space = Workspace()
    student, teacher = Recorded(pair.student, space), Recorded(pair.teacher, space)
    text = Replayed(lambda ids: pair.text(ids), space)
    return replace(pair, student=student, teacher=teacher, text=lambda ids: text(ids=ids), using=space.inside)


def _inputs(z: Tensor, t: int | Tensor, text: Tensor) -> Tensors:
    # filled in on the device, for a copy from the host would wait for all that runs there
    t = t if isinstance(t, Tensor) else torch.full((), t, device=z.device)
    return {"z": z, "t": t, "text": text}


def _shapes(inputs: Tensors) -> Hashable:
    return tuple((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items())
