"""CUDA graphs of a backbone's passes: recorded at first sight of a shape, then replayed without Python.

A pass of a video UNet is thousands of small kernels, which Python hands out slower than a fast GPU runs them.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from motionecho.backbones.device import repeatable
from motionecho.backbones.pair import ModelPair
from motionecho.backbones.protocol import Probe
from motionecho.backbones.wrapped import Wrapped
from motionecho.guidance.base import LIFT, LOSS_UNIT, MotionGuidance, Prediction, Target

WARM_UPS = 2  # libraries choose kernels and allocate workspaces, which a recording may not
Tensors = dict[str, Tensor]
T = TypeVar("T")


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
class Recorded(Wrapped):
    """A backbone on a GPU whose weights stay where they are.

    All recordings share one memory pool, for one is over before the next begins: what a pass needs is held
    once, however many shapes, steps and networks there are.
    """

    pool: Any
    recordings: dict[Hashable, Recording] = field(default_factory=dict)

    def denoise(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe | None = None) -> Tensor:
        if probe is not None or torch.is_grad_enabled():
            return self.backbone.denoise(z, t, text, probe)
        inputs = _inputs(z, t, text)
        key = _shapes(inputs)
        if key not in self.recordings:
            self.recordings[key] = self._record_plain(inputs)
        recording = self.recordings[key]
        recording.put(inputs)
        recording.graphs[0].replay()
        return recording.outputs[0].clone()

    def observe(self, z: Tensor, t: int | Tensor, text: Tensor, probe: Probe) -> None:
        self.backbone.observe(z, t, text, probe)

    def predict(
        self, z: Tensor, t: int, text: Tensor, guidance: MotionGuidance, target: Target,
        above: Tensor | float | None,
    ) -> Prediction:  # fmt: skip
        """As `guidance.base.predict`; the backward pass is a graph of its own, replayed where wanted."""
        inputs = _inputs(z, t, text) | target
        key = (guidance, _shapes(inputs))
        if key not in self.recordings:
            self.recordings[key] = self._record_guided(inputs, guidance, tuple(target))
        recording = self.recordings[key]
        forward, backward = recording.graphs
        recording.put(inputs)
        forward.replay()
        eps, energy, gradient = recording.outputs
        loss = energy * LOSS_UNIT
        if above is None or not bool((wanted := loss >= above).any()):
            return Prediction(eps.clone(), loss)
        recording.put({"weight": wanted * LIFT})
        backward.replay()
        return Prediction(eps.clone(), loss, gradient / LIFT)

    def _record_plain(self, inputs: Tensors) -> Recording:
        recording = Recording({name: tensor.clone() for name, tensor in inputs.items()})

        z, t, text = (recording.inputs[name] for name in ("z", "t", "text"))

        @torch.no_grad()
        def forward() -> Tensor:
            return self.backbone.denoise(z, t, text)

        _warm_up(forward)
        recording.outputs.append(self._record(recording, forward))
        return recording

    def _record_guided(
        self, inputs: Tensors, guidance: MotionGuidance, targets: tuple[str, ...]
    ) -> Recording:
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
            with repeatable():
                return torch.autograd.grad(energy, z, weight)[0]

        _warm_up(lambda: backward(forward()[1]))
        eps, energy = self._record(recording, forward)
        gradient = self._record(recording, lambda: backward(energy))
        recording.outputs += [eps, energy.detach(), gradient]
        return recording

    def _record(self, recording: Recording, function: Callable[[], T]) -> T:
        graph = torch.cuda.CUDAGraph()
        # other threads may use the GPU meanwhile
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            outcome = function()
        recording.graphs.append(graph)
        return outcome


def recorded(pair: ModelPair) -> ModelPair:
    """The same pair with its passes recorded, on a GPU; elsewhere the pair as it is."""
    if pair.device.type != "cuda":
        return pair
    pool = torch.cuda.graph_pool_handle()
    return replace(pair, student=Recorded(pair.student, pool), teacher=Recorded(pair.teacher, pool))


def _inputs(z: Tensor, t: int | Tensor, text: Tensor) -> Tensors:
    return {"z": z, "t": torch.as_tensor(t, device=z.device), "text": text}


def _shapes(inputs: Tensors) -> Hashable:
    return tuple((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items())


def _warm_up(function: Callable[[], object]) -> None:
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(aside)
