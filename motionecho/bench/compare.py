"""Ours beside the public T2V-Turbo code, on the same random weights in one process: time and agreement.

The public code is a checkout that the user names. Of VideoCrafter2 are compared: one pass of the UNet, one
guided pass (noise and gradient of the motion loss, layers 3 to 5 of the decoder) and decoding a clip.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from motionecho.bench.clock import median_ms
from motionecho.config import ReferenceSettings
from motionecho.denoiser import Denoiser, Energy, Probe, Tap, Target, observe
from motionecho.errors import UserError
from motionecho.guidance.motionclone import strategy
from motionecho.guidance.steering import LIFT
from motionecho.models.speed import vae as fast_vae
from motionecho.models.speed.graphs import Recorded, Workspace
from motionecho.models.speed.layout import kernels
from motionecho.models.videocrafter import vae as autoencoder
from motionecho.models.videocrafter.denoiser import SCHEDULE, VideoCrafter
from motionecho.models.videocrafter.loading import empty_unet, load_unet
from motionecho.models.videocrafter.unet import UNetConfig, fused
from motionecho.models.weights.checkpoint import Shapes, State, shapes
from motionecho.models.weights.random_weights import random_tensors
from motionecho.schedules import eps_of

UNET_FILE = "lvdm/modules/networks/openaimodel3d.py"
TIMESTEP = 600
WATCHED = ("to_q", "to_k")


@dataclass(frozen=True)
class Size:
    """The sizes compared; the defaults are the published ones, 16 frames of 320x512 in latents."""

    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: tuple[int, ...] = (128, 256, 512, 512)
    frames: int = 16
    height: int = 40
    width: int = 64


SMALL = Size(UNetConfig(channels=32, head_width=16, text_width=128), (32, 64, 64, 64), 4, 8, 8)


def compare(
    folder: str, device: torch.device, dtype: torch.dtype, repeats: int = 10, size: Size = Size()
) -> Iterator[dict[str, Any]]:
    """Yield a row for each of forward, guided and decode: milliseconds of both, how many times faster, and
    how far apart their results are, as a norm relative to the public code's.

    Raises UserError where `folder` is no checkout that can be imported.
    """
    draw = torch.Generator().manual_seed(1)
    shape = (1, 4, size.frames, size.height, size.width)
    z, other = (torch.randn(shape, generator=draw).to(device) for _ in range(2))
    text = torch.randn(1, 77, size.unet.text_width, generator=draw).to(device)
    with _importable(folder), _whole_float32():
        yield from _passes(size.unet, z, other, text, dtype, repeats)
        yield _decoding(size.vae, z[0].transpose(0, 1).to(dtype), repeats)


def _passes(
    config: UNetConfig, z: Tensor, other: Tensor, text: Tensor, dtype: torch.dtype, repeats: int
) -> Iterator[dict[str, Any]]:
    device = z.device
    weights = _drawn(shapes(empty_unet(config).state_dict()), device, dtype)
    public = _public_unet(config, device, dtype)
    public.load_state_dict(weights)
    net, ops = load_unet(weights), kernels(device, eager=False)
    denoiser: Denoiser = VideoCrafter(fused(net, ops) if ops else net)
    energy, at = strategy(denoiser, ReferenceSettings()).energy, SCHEDULE.at(TIMESTEP)
    seen = observe(denoiser, other, SCHEDULE.at(energy.times[0]), text, energy.taps)
    target = {name: tensor[None] for name, tensor in energy.target(seen).items()}
    if device.type == "cuda" and dtype != torch.float32:  # where agreement counts, and memory is short
        denoiser = Recorded(denoiser, Workspace())

    @torch.no_grad()
    def theirs() -> Tensor:
        eps: Tensor = public(z.to(dtype), _moment(device), context=text.to(dtype), fps=8)
        return eps.float()

    @torch.no_grad()
    def ours() -> Tensor:
        return eps_of(z, denoiser.x0(z, at, text), at)

    def guided() -> tuple[Tensor, Tensor]:
        look = denoiser.look(z, at, text, energy, target)
        gradient = look.gradient(torch.full_like(look.loss, LIFT)) / LIFT
        return eps_of(z, look.x0, at), gradient

    yield _row("forward", theirs, ours, device, repeats)
    yield _row(
        "guided", lambda: _public_guided(public, z, text, energy, target, dtype), guided, device, repeats
    )


def _decoding(widths: tuple[int, ...], frames: Tensor, repeats: int) -> dict[str, Any]:
    device = frames.device
    weights = _drawn(autoencoder.public_shapes(autoencoder.empty_vae(widths)), device, frames.dtype)
    decoder, vae = _public_decoder(widths, weights), autoencoder.load_vae(weights)
    ops = kernels(device, eager=False)
    vae = fast_vae.fused(vae, ops) if ops else vae

    @torch.no_grad()
    def theirs() -> Tensor:  # frame by frame, as published
        parts: Any = decoder
        return torch.cat([parts["decoder"](parts["post_quant_conv"](frame[None])) for frame in frames])

    @torch.no_grad()
    def ours() -> Tensor:
        decoded: Tensor = vae.decode(frames).sample
        return decoded

    return _row("decode", theirs, ours, device, repeats)


def _row(part: str, theirs: Any, ours: Any, device: torch.device, repeats: int) -> dict[str, Any]:
    """Time one after the other, for in float32 a card may not hold what both need."""
    before, public_ms = theirs(), median_ms(theirs, device, repeats)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    after, ours_ms = ours(), median_ms(ours, device, repeats)
    apart = [_apart(a, b) for a, b in zip(_each(after), _each(before), strict=True)]
    return {
        "part": part,
        "public_ms": public_ms,
        "ours_ms": ours_ms,
        "times_faster": round(public_ms / ours_ms, 2),
        "apart": round(apart[0], 6),
        "gradient_apart": round(apart[1], 6) if len(apart) > 1 else None,
    }


def _each(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).norm() / b.float().norm())


def _drawn(wanted: Shapes, device: torch.device, dtype: torch.dtype) -> State:
    return {name: tensor.to(device, dtype) for name, tensor in random_tensors(wanted, 0).items()}


def _moment(device: torch.device) -> Tensor:
    return torch.tensor([TIMESTEP], device=device)


# --- the public code


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Have convolutions read whole float32, not rounded to 10 bits, which would hide what is apart."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def _importable(folder: str) -> Iterator[None]:
    """Find the checkout's modules first, for the time of a block."""
    root = Path(folder).expanduser()
    if not (root / UNET_FILE).is_file():
        raise UserError(f'--reference "{folder}" has no {UNET_FILE}: name a checkout of Ji4chenLi/t2v-turbo')
    sys.path.insert(0, str(root.resolve()))
    try:
        with redirect_stdout(sys.stderr):  # it prints as it builds
            yield
    finally:
        sys.path.remove(str(root.resolve()))


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise UserError(f"the public code wants a package that is not installed: {problem}") from problem


def _public_unet(config: UNetConfig, device: torch.device, dtype: torch.dtype) -> nn.Module:
    with torch.device("meta"):
        net: nn.Module = _imported("lvdm.modules.networks.openaimodel3d").UNetModel(
            in_channels=4, out_channels=4, model_channels=config.channels, attention_resolutions=[4, 2, 1],
            num_res_blocks=config.blocks, channel_mult=list(config.multipliers),
            num_head_channels=config.head_width, transformer_depth=1, context_dim=config.text_width,
            use_linear=True, use_checkpoint=False, temporal_conv=True, temporal_attention=True,
            temporal_selfatt_only=True, use_relative_position=False, use_causal_attention=False,
            temporal_length=16, addition_attention=True, fps_cond=True,
        )  # fmt: skip
    net.dtype = dtype  # type: ignore[assignment]
    return net.to(dtype).to_empty(device=device).eval().requires_grad_(False)


def _public_guided(
    net: nn.Module, z: Tensor, text: Tensor, energy: Energy, target: Target, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Compute noise and gradient as the public code does: maps of hooked layers, the whole graph kept."""
    seen, maps, hooks = dict[Tap, dict[str, Tensor]](), dict[Tap, Tensor](), []
    for tap in energy.taps:
        attention: Any = net.get_submodule(tap.layer)
        kept = seen[tap] = {}
        for name in WATCHED:
            keep = lambda _m, _i, out, kept=kept, name=name: kept.__setitem__(name, out)  # noqa: E731
            hooks.append(getattr(attention, name).register_forward_hook(keep))
    leaf = z.detach().to(dtype).requires_grad_()
    eps = net(leaf, _moment(z.device), context=text.to(dtype), fps=8)
    for hook in hooks:
        hook.remove()
    for tap, kept in seen.items():
        heads = net.get_submodule(tap.layer).heads
        query, key = (
            kept[name].unflatten(-1, (heads, -1)).transpose(1, 2).float() for name in ("to_q", "to_k")
        )
        weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)  # [pixels, heads, f, f]
        maps[tap] = weights.unflatten(0, (len(z), -1))
    loss = energy.loss(Probe(energy.taps, seen=maps), target)
    (gradient,) = torch.autograd.grad(loss.sum() * LIFT, leaf)
    return eps.detach().float(), gradient.float() / LIFT


def _public_decoder(widths: tuple[int, ...], weights: State) -> nn.Module:
    first = widths[0]
    decoder: nn.Module = _imported("lvdm.modules.networks.ae_modules").Decoder(
        ch=first, out_ch=3, ch_mult=[width // first for width in widths], num_res_blocks=2,
        attn_resolutions=[], dropout=0.0, in_channels=3, resolution=256, z_channels=4, double_z=True,
    )  # fmt: skip
    both = nn.ModuleDict({"decoder": decoder, "post_quant_conv": nn.Conv2d(4, 4, 1)})
    own = {name: tensor for name, tensor in weights.items() if name.split(".")[0] in both}
    both.load_state_dict(own, assign=True)
    return both.eval().requires_grad_(False)
