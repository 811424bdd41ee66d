"""A Wan pair's passes beside diffusers' own of the same weights, and its videos: time, memory, distance.

Of the teacher are measured: a pass, the gradient of a motion loss to the block that strategies read (kept, or
with blocks computed again), attention by every kernel at hand, and decoding. How far apart results are is a
norm relative to diffusers'. What fails, as where a card has no room, has a note in the place of figures.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from motionecho.bench.clock import median_ms, timed
from motionecho.bench.sampler import STEADY, clip_of, video
from motionecho.config import EchoConfig, ReferenceSettings
from motionecho.denoiser import Denoiser, Energy, Probe, Seen, Target, observe
from motionecho.device import repeatable
from motionecho.errors import UserError
from motionecho.guidance import ditflow, moft
from motionecho.guidance.steering import LIFT, stack
from motionecho.inversion import invert
from motionecho.models.codec import CausalCodec
from motionecho.models.pair import ModelPair
from motionecho.models.speed.causal_vae import fused_decoder
from motionecho.models.speed.graphs import Recorded, Workspace
from motionecho.models.speed.layout import kernels
from motionecho.models.wan.denoiser import WanDenoiser
from motionecho.models.wan.fused import FusedWan
from motionecho.schedules import clean

Row = dict[str, Any]
TIME = 600.0
KEPT = {False: "kept", True: "again"}  # what lies within blocks, until the gradient wants it
STEPS, TAUGHT_STEPS, TAUGHT = 4, 8, 2
TILES = ((64, 64, 4, 2), (128, 64, 8, 2), (128, 64, 8, 3), (128, 32, 8, 3), (64, 32, 4, 3), (64, 128, 8, 2))


def measure(pair: ModelPair, repeats: int = 5, compiled: bool = False) -> Iterator[Row]:
    """Yield a row for every part and way; `compiled` adds diffusers' network compiled as a whole.

    Raises UserError where the pair is none of Wan's, or its networks take turns.
    """
    plain = pair.plain("teacher")
    if not isinstance(plain, WanDenoiser) or not isinstance(pair.codec, CausalCodec):
        raise UserError(f"pair {pair.spec.name} is none of Wan's, or offloaded: there is nothing to compare")
    bench = _Bench(pair, plain, repeats)
    yield from bench.forward(compiled)
    for energy in (moft, ditflow):
        yield from bench.gradient(energy.__name__.rpartition(".")[2], energy.strategy)
    if pair.device.type == "cuda":
        yield from bench.attention()
    yield from bench.decode(pair.codec)
    yield from bench.videos()


class _Bench:
    def __init__(self, pair: ModelPair, plain: WanDenoiser, repeats: int):
        self.pair, self.plain, self.repeats, self.device = pair, plain, repeats, pair.device
        fast: Any = pair.teacher.denoiser if isinstance(pair.teacher, Recorded) else pair.teacher
        self.fast: WanDenoiser = fast
        self.ours = "fused" if isinstance(fast, FusedWan) else "plain"
        draw = torch.Generator().manual_seed(1)
        shape = (2, 1, *pair.codec.shape)
        self.z, self.other = torch.randn(shape, generator=draw).to(self.device)
        self.at, self.text = pair.schedule.at(TIME), pair.encode_text(["a red star on a blue background"])

    def row(self, part: str, way: str, action: Callable[[], Any], against: list[Tensor] | None = None) -> Row:
        """Time an action, and compare its result with the first one that is put into `against`."""
        row: Row = dict.fromkeys(("part", "way", "ms", "peak_gib", "apart", "note"))
        row |= {"part": part, "way": way}
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            row["ms"] = median_ms(action, self.device, self.repeats)
            _, row["peak_gib"], result = timed(action, self.device)
        except Exception as problem:  # whatever it is, other ways shall have their figures
            return row | {"note": f"{type(problem).__name__}: {problem}".splitlines()[0][:80]}
        if against:
            exact = against[0].float()
            row["apart"] = round(float((result.float() - exact).norm() / exact.norm()), 6)
        elif against is not None:
            against.append(result)
        return row

    def recorded(self) -> dict[str, Denoiser]:
        """Record the fused network anew, so that nothing that another part holds is counted."""
        return {"recorded": Recorded(self.fast, Workspace())} if self.device.type == "cuda" else {}

    def forward(self, compiled: bool) -> Iterator[Row]:
        net, first = self.plain.network, list[Tensor]()
        kind = net.patch_embedding.weight.dtype
        t = torch.full((1,), TIME, device=self.device)

        @torch.no_grad()
        def public(network: Any) -> Tensor:
            flow = network(self.z.to(kind), t, self.text.to(kind)).sample.float()
            return clean("flow", self.z, flow, self.at)

        @torch.no_grad()
        def ours(denoiser: Denoiser) -> Tensor:
            return denoiser.x0(self.z, self.at, self.text)

        yield self.row("forward", "diffusers", partial(public, net), first)
        if compiled:
            yield self.row("forward", "diffusers, compiled", partial(public, torch.compile(net)), first)
            torch.compiler.reset()
        for way, denoiser in ({self.ours: self.fast} | self.recorded()).items():
            yield self.row("forward", way, partial(ours, denoiser), first)

    def gradient(self, name: str, strategy: Callable[..., Any]) -> Iterator[Row]:
        """Measure a gradient alone, which ends behind the block, then a whole guided pass."""
        energy = strategy(self.plain, ReferenceSettings(strategy=name)).energy
        probe = observe(self.plain, self.other, self.at, self.text, energy.taps)
        target, first = stack([energy.target(probe)]), list[Tensor]()
        before = self.fast.checkpointing
        for again, how in KEPT.items():
            self.plain.checkpointing = self.fast.checkpointing = again
            ways: dict[str, Denoiser] = {"diffusers": self.plain, self.ours: self.fast}
            for way, denoiser in ways.items():
                action = partial(self._gradient, denoiser, energy, target)
                yield self.row(f"gradient, {name}", f"{way}, {how}", action, first)
            for way, denoiser in ({self.ours: self.fast} | self.recorded()).items():
                action = partial(self._guided, denoiser, energy, target)
                yield self.row(f"guided pass, {name}", f"{way}, {how}", action, first)
            del denoiser, action  # with what they have recorded
        self.plain.checkpointing = self.fast.checkpointing = before

    def _gradient(self, denoiser: Denoiser, energy: Energy, target: Target) -> Tensor:
        probe, leaf = Probe(energy.taps, ends=True), self.z.clone().requires_grad_()
        with torch.enable_grad(), repeatable():
            with suppress(Seen):
                denoiser.x0(leaf, self.at, self.text, probe)
            loss = energy.loss(probe, target)
            return torch.autograd.grad(LIFT * loss.sum(), leaf)[0]

    @torch.no_grad()
    def _guided(self, denoiser: Denoiser, energy: Energy, target: Target) -> Tensor:
        look = denoiser.look(self.z, self.at, self.text, energy, target)
        return look.gradient(torch.full_like(look.loss, LIFT))

    def attention(self) -> Iterator[Row]:
        """Measure attention of all tokens to each other, one kernel after the other."""
        from motionecho.models.kernels.triton import in_frame

        net, grid = self.plain.network, self.z.shape[2:]
        heads, width = net.config.num_attention_heads, net.config.attention_head_dim
        shape = (4, 1, grid[0] * (grid[1] // 2) * (grid[2] // 2), heads, width)
        *parts, slope = torch.randn(shape, device=self.device, dtype=torch.bfloat16)
        leaves = [part.transpose(1, 2).detach().requires_grad_() for part in parts]
        forward, backward = list[Tensor](), list[Tensor]()
        for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
            with sdpa_kernel(backend):
                name = backend.name.partition("_")[0].lower()
                mix = partial(F.scaled_dot_product_attention, *leaves)
                yield self.row("attention", name, mix, forward)
                try:
                    out = mix()
                except RuntimeError:
                    continue  # which its row has said
                back = partial(self._back, out, leaves, slope.transpose(1, 2))
                yield self.row("attention's gradient", name, back, backward)
                if backend == SDPBackend.FLASH_ATTENTION:
                    with repeatable():
                        yield self.row("attention's gradient", f"{name}, ordered", back, backward)
        mixing = cache(lambda: in_frame._with_lse(*parts))
        slopes = tuple(torch.empty_like(part) for part in parts)

        def ours(tile: tuple[int, int, int, int]) -> Tensor:
            in_frame._slopes(parts, *mixing(), slope, slopes, tile)
            return slopes[0].transpose(1, 2)

        def mixed() -> Tensor:
            with repeatable():
                return in_frame._library_slopes(parts, *mixing(), slope)[0].transpose(1, 2)

        yield self.row("attention's gradient", "flash of cudnn's pass, ordered", mixed, backward)
        for tile in TILES:
            words = " ".join(map(str, tile))
            yield self.row("attention's gradient", f"ours, ordered, {words}", partial(ours, tile), backward)

    @staticmethod
    def _back(out: Tensor, leaves: list[Tensor], slope: Tensor) -> Tensor:
        return torch.autograd.grad(out, leaves, slope, retain_graph=True)[0]

    def decode(self, codec: CausalCodec) -> Iterator[Row]:
        """Measure decoding by random weights, for those of the pair are rebuilt already."""
        public: Any = AutoencoderKLWan.from_config(codec.vae.config).eval()
        for tensor in (*public.parameters(), *public.buffers()):  # diffusers warns of casting a module
            tensor.data = tensor.data.to(self.device, codec.dtype)
        ways, ops, first = {"diffusers": public}, kernels(self.device, eager=False), list[Tensor]()
        if ops:
            ways["fused"] = fused_decoder(copy.deepcopy(public), ops)
        z = self.z.to(codec.dtype)

        @torch.no_grad()
        def decoded(vae: AutoencoderKLWan) -> Tensor:
            out: Tensor = vae.decode(z).sample
            return out

        for way, vae in ways.items():
            yield self.row("decode", way, partial(decoded, vae), first)

    def videos(self) -> Iterator[Row]:
        """Measure whole videos of the pair as it is, from prompt to frames; fewer, for they take long."""
        self.repeats = min(2, self.repeats)
        spec = self.pair.spec
        config = spec.defaults.updated(STEADY if spec.is_random else {})
        motion = cache(lambda: invert(self.pair, clip_of(self.pair), config))
        few, more = (min(steps, spec.most_steps or steps) for steps in (STEPS, TAUGHT_STEPS))
        ways: dict[str, dict[str, Any]] = {
            f"{few} steps": {"steps": few, "activation": "never", "student_strength": 0.0},
            f"{more} steps, {TAUGHT} taught": {
                "steps": more, "activation": "always", "guided_fraction": TAUGHT / more,
            },
        }  # fmt: skip

        def made(config: EchoConfig) -> None:
            video(self.pair, motion(), config)

        for way, changes in ways.items():
            yield self.row("video", way, partial(made, config.updated(changes)))
