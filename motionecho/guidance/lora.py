"""Low-rank factors of linear layers: where they sit, how they begin, and users' own files of them."""

import re
from collections.abc import Callable, Mapping

from safetensors.torch import load_file
from torch import Tensor

from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser
from motionecho.errors import UserError
from motionecho.guidance.carrier import DOWN, UP, Adapter
from motionecho.noise import noise

QKV = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn2.to_q", "attn2.to_k", "attn2.to_v")
ATTENTION = (*QKV, "attn1.to_out.0", "attn2.to_out.0")
FORWARD = ("ff.net.0.proj", "ff.net.2")
OVER_TIME = {"qkv": QKV, "attention": ATTENTION, "all": (*ATTENTION, *FORWARD)}
# over text there are none: what is learnt is how the clip looks, not how it is called
IN_FRAMES = (*(name for name in ATTENTION if name.startswith("attn1")), *FORWARD)

# AnimateDiff-MotionDirector's names of a linear's factors, of ten a block
NAMED = re.compile(
    r"(?P<block>(?:down_blocks|up_blocks|mid_block)\..*?motion_modules\.\d+)\.temporal_transformer"
    r"\.(?P<path>transformer_blocks\.\d+)\.(?P<linear>.+)_lora\.(?P<part>up|down)(?:\.weight)?$"
)


def added(x: Tensor, linear: Callable[[Tensor], Tensor], up: Tensor, down: Tensor, scale: float) -> Tensor:
    """Apply a linear layer with its factors: linear(x) + scale up down x; up [out, r], down [r, in]."""
    return linear(x) + scale * (x @ down.mT.to(x) @ up.mT.to(x))


def factors_over_time(denoiser: Denoiser, z0: Tensor, reference: ReferenceSettings) -> Adapter:
    """Begin factors of the layers over time for every clip of z0 [b, ...]; together they add nothing yet."""
    return _begin(denoiser, "temporal", OVER_TIME[reference.lora_layers], len(z0), reference.lora_rank)


def factors_in_frames(denoiser: Denoiser, z0: Tensor, reference: ReferenceSettings) -> Adapter:
    """Begin factors of the layers within frames, text left out, for every clip of z0 [b, ...]."""
    return _begin(denoiser, "spatial", IN_FRAMES, len(z0), reference.lora_rank)


def _begin(denoiser: Denoiser, kind: str, linears: tuple[str, ...], batch: int, rank: int) -> Adapter:
    begun: Adapter = {}
    for transformer in denoiser.transformers[kind]:
        for linear in linears:
            layer = f"{transformer}.transformer_blocks.0.{linear}"
            out, width = denoiser.weight(layer).shape
            r = min(rank, out, width)
            down = noise(0, f"factors of {layer}", 0, (r, width)) / r
            begun[layer + UP] = down.new_zeros(batch, out, r)
            begun[layer + DOWN] = down.expand(batch, r, width).clone()
    return begun


def read(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Map the tensors of an AnimateDiff-MotionDirector file to (up, down) by UNetMotionModel's module.

    All ten pairs of a block: the commonest reader knows six. Raises UserError on a name of another kind, and
    on one factor without the other.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = NAMED.search(name)
        if match is None:
            raise UserError(
                f'"{name}" is no factor of an AnimateDiff-MotionDirector file over time, which are read here'
            )
        linear = match["linear"].replace("attention_blocks.0", "attn1").replace("attention_blocks.1", "attn2")
        linear = linear.replace(".processor.", ".")
        found.setdefault(f"{match['block']}.{match['path']}.{linear}", {})[match["part"]] = tensor
    if not found:
        raise UserError("the file has no factors at all")
    for layer, parts in found.items():
        if len(parts) != 2:
            raise UserError(f'the file has only the "{next(iter(parts))}" factor of {layer}: it is not whole')
    return {layer: (parts["up"], parts["down"]) for layer, parts in found.items()}


def fitted(factors: Mapping[str, tuple[Tensor, Tensor]], denoiser: Denoiser, place: str) -> Adapter:
    """Make an adapter of a file's factors; UserError where they are of another base, or shape."""
    adapter: Adapter = {}
    for layer, (up, down) in factors.items():
        try:
            out, width = denoiser.weight(layer).shape
        except UserError:
            raise UserError(f'motion_lora "{place}" is of another base: here is no layer {layer}') from None
        if (
            up.ndim != 2
            or down.ndim != 2
            or (up.shape[0], down.shape[1]) != (out, width)
            or (up.shape[1] != down.shape[0])
        ):
            raise UserError(
                f'motion_lora "{place}" is of another base: {layer} is [{out}, {width}] here, '
                f"its factors are {[*up.shape]} and {[*down.shape]}"
            )
        adapter |= {layer + UP: up.float(), layer + DOWN: down.float()}
    return adapter


def read_file(path: str, place: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Read a user's safetensors of AnimateDiff-MotionDirector, factors over time, as `read` names them.

    Raises UserError where it is another kind of file: MotionDirector's own lists have no names, so that
    nothing tells which base they are of.
    """
    try:
        tensors = load_file(path)
    except Exception as problem:
        raise UserError(
            f'motion_lora "{place}" is no safetensors file of AnimateDiff-MotionDirector ({problem}); a list '
            "without names, as MotionDirector itself writes, does not say which base it is of"
        ) from problem
    try:
        return read(tensors)
    except UserError as problem:
        raise UserError(f'motion_lora "{place}" cannot be used: {problem}') from problem
