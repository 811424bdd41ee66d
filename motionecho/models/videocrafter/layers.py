"""The layers of the LVDM UNet; parameters carry the public checkpoints' names, misspelling included, and are
declared in the public order, which T2V-Turbo's nameless LoRA relies on.

A batch of b videos of f frames travels as x [b, f, h, w, c], channels last: tokens of any attention are
a view of it, and convolutions run in the layout that tensor cores want. Layers are called (x, signal).
"""

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionecho.denoiser import Probe, Tap
from motionecho.models.speed.layout import Doubled
from motionecho.models.videocrafter.signal import Signal
from motionecho.models.weights.checkpoint import GROUPS

MERGED = ("to_q", "to_k", "to_v")  # in this order, once they are one
Conv = Any  # a convolution; nn.Sequential forgets what its members are


def conv_in_frames(x: Tensor, layer: Conv, bias: bool = True) -> Tensor:
    """Convolve every frame; without its bias where the next layer adds that on its way."""
    frames = x.flatten(0, 1).permute(0, 3, 1, 2)
    out = F.conv2d(frames, layer.weight, layer.bias if bias else None, layer.stride, layer.padding)
    return out.permute(0, 2, 3, 1).contiguous().unflatten(0, x.shape[:2])


def conv_over_time(x: Tensor, layer: Conv) -> Tensor:
    """Convolve over frames, without the bias."""
    out = F.conv3d(x.permute(0, 4, 1, 2, 3), layer.weight, None, layer.stride, layer.padding)
    return out.permute(0, 2, 3, 4, 1).contiguous()


class Attention(nn.Module):
    """A multi-head attention of tokens to a source, without its last projection, which is `out`.

    Within a frame tokens are [n, queries, width]; over time they are [b, f, pixels, width], and the layer
    answers to a probe that names it; the UNet sets `name`.
    """

    def __init__(self, width: int, source_width: int, heads: int, head_width: int, over_time: bool):
        super().__init__()
        inner = heads * head_width
        self.heads, self.over_time, self.name = heads, over_time, ""
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_k = nn.Linear(source_width, inner, bias=False)
        self.to_v = nn.Linear(source_width, inner, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])
        self.to_qkv: nn.Parameter | None = None

    @property
    def out(self) -> nn.Module:
        return self.to_out[0]

    def merge(self) -> None:
        """Keep the three weights as the one that tokens are projected by who attend to themselves."""
        self.to_qkv = nn.Parameter(self._merged(), requires_grad=False)
        del self.to_q, self.to_k, self.to_v

    def forward(self, x: Tensor, source: Tensor, signal: Signal) -> Tensor:
        if self.over_time and signal.probe is not None and Tap(self.name) in signal.probe.taps:
            mixed = self._shown(self._from_itself(x), signal.probe)
        elif self.over_time:
            mixed = signal.ops.attend_over_time(self._from_itself(x))
        elif source is x:
            mixed = signal.ops.attend(self._from_itself(x))
        else:
            mixed = signal.ops.attend_to(*self._parts(x, source))
        return mixed.flatten(-2)

    def _from_itself(self, x: Tensor) -> Tensor:
        """Make queries, keys and values [..., 3, heads, d], merged in one product: x is read once."""
        if self.to_qkv is None:
            qkv = torch.cat([self.to_q(x), self.to_k(x), self.to_v(x)], dim=-1)
        else:
            qkv = F.linear(x, self.to_qkv)
        return qkv.unflatten(-1, (3, self.heads, -1))

    def _parts(self, x: Tensor, source: Tensor) -> tuple[Tensor, ...]:
        """Make keys and values once a video and repeat them for its frames, whose queries are many."""
        frames = len(x) // len(source)
        key, value = (project(source).repeat_interleave(frames, 0) for project in (self.to_k, self.to_v))
        return tuple(part.unflatten(-1, (self.heads, -1)) for part in (self.to_q(x), key, value))

    def _merged(self) -> Tensor:
        return torch.cat([self.to_q.weight, self.to_k.weight, self.to_v.weight])

    def _shown(self, qkv: Tensor, probe: Probe) -> Tensor:
        """Attend over time in [b, f, p, 3, heads, d], and show the probe the map."""
        query, key, value = qkv.permute(3, 0, 2, 4, 1, 5)  # [b, p, heads, f, d] each
        weights = (query.float() @ key.float().mT * query.shape[-1] ** -0.5).softmax(-1)
        probe.show(Tap(self.name), weights)
        return (weights.to(value.dtype) @ value).permute(0, 3, 1, 2, 4)


class GatedLinear(nn.Module):
    """A GEGLU: one half of a projection, gated by the exact GELU of the other."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        return signal.ops.geglu(x, self.proj)


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.net = nn.ModuleList([GatedLinear(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    @property
    def out(self) -> nn.Module:
        return self.net[2]

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        """Compute all but the last projection, which is `out`."""
        return self.net[0](x, signal)


class Block(nn.Module):
    """A block of two attentions and a feed-forward.

    Within a frame the second attention reads the text; over time (no text width) both read the tokens.
    """

    def __init__(self, width: int, heads: int, head_width: int, text_width: int | None):
        super().__init__()
        self.reads_text = text_width is not None
        self.attn1 = Attention(width, width, heads, head_width, not self.reads_text)
        self.ff = FeedForward(width)
        self.attn2 = Attention(width, text_width or width, heads, head_width, not self.reads_text)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def merge(self) -> None:
        """Merge the projections of each attention to the tokens themselves."""
        for attention in (self.attn1,) if self.reads_text else (self.attn1, self.attn2):
            attention.merge()

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        ops = signal.ops
        tokens = ops.layer_norm(x, self.norm1)
        x, tokens = ops.add_norm(x, self.attn1(tokens, tokens, signal), self.attn1.out, self.norm2)
        seen = self.attn2(tokens, signal.text if self.reads_text else tokens, signal)
        x, tokens = ops.add_norm(x, seen, self.attn2.out, self.norm3)
        return ops.add_linear(x, self.ff(tokens, signal), self.ff.out)


class SpatialTransformer(nn.Module):
    """A transformer in which pixels of a frame attend to each other, then to the text."""

    def __init__(self, width: int, head_width: int, text_width: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([Block(width, width // head_width, head_width, text_width)])
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        tokens = signal.ops.group_norm(x, self.norm, over_time=False).flatten(0, 1).flatten(1, 2)
        tokens = self.transformer_blocks[0](self.proj_in(tokens), signal)  # [b*f, h*w, c]
        return signal.ops.add_linear(x, tokens.view(x.shape), self.proj_out)


class TemporalTransformer(nn.Module):
    """A transformer in which each pixel attends to itself in all frames, twice; no positions are added.

    The first one of the network (`init_attn`) keeps its projections as 1x1 convolutions, which are the same.
    """

    def __init__(self, width: int, heads: int, head_width: int, convolutional: bool = False):
        super().__init__()
        inner = heads * head_width
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.proj_in = nn.Conv1d(width, inner, 1) if convolutional else nn.Linear(width, inner)
        self.transformer_blocks = nn.ModuleList([Block(inner, heads, head_width, None)])
        self.proj_out = nn.Conv1d(inner, width, 1) if convolutional else nn.Linear(inner, width)
        self.name = ""

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        tokens = signal.ops.group_norm(x, self.norm, over_time=True).flatten(2, 3)  # [b, f, h*w, c]
        tokens = F.linear(tokens, self.proj_in.weight.flatten(1), self.proj_in.bias)
        tokens = self.transformer_blocks[0](tokens, signal)
        video: Tensor = signal.ops.add_linear(x, tokens.unflatten(2, x.shape[2:4]), self.proj_out)
        signal.show(self.name, video)
        return video


class TemporalConv(nn.Module):
    """A chain of four convolutions over three frames each, added to the video they start from."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), _over_time(width))
        self.conv2, self.conv3, self.conv4 = (
            nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Identity(), _over_time(width))
            for _ in range(3)
        )

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        # every bias is added by the norm that follows, the last one by the sum
        y: Tensor = x
        bias: Tensor | None = None
        norm: Any
        conv: Conv
        for norm, *_, conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            y = signal.ops.group_norm(y, norm, over_time=True, silu=True, shift=bias)
            y, bias = conv_over_time(y, conv), conv.bias[None]
        return signal.ops.join(x, y, bias)


def _over_time(width: int) -> nn.Conv3d:
    return nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))


class ResBlock(nn.Module):
    """A pair of convolutions in each frame, the embedding added between them, then the temporal ones."""

    def __init__(self, width: int, width_out: int, embedding: int):
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, width_out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, width_out))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, width_out), nn.SiLU(), nn.Identity(),
            nn.Conv2d(width_out, width_out, 3, padding=1),
        )  # fmt: skip
        self.skip_connection = nn.Identity() if width == width_out else nn.Conv2d(width, width_out, 1)
        self.temopral_conv = TemporalConv(width_out)
        self.name = ""  # the UNet sets the names of layers that show features

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        norm = signal.ops.group_norm
        first: Conv = self.in_layers[-1]
        second: Conv = self.out_layers[-1]
        skip: Conv = self.skip_connection
        # all frames of a video are shifted alike
        shift = self.emb_layers[1](signal.embedding) + first.bias
        hidden = conv_in_frames(norm(x, self.in_layers[0], over_time=False, silu=True), first, bias=False)
        hidden = norm(hidden, self.out_layers[0], over_time=False, silu=True, shift=shift)
        hidden = conv_in_frames(hidden, second, bias=False)
        signal.show(f"{self.name}.out_layers.3", hidden)  # without its bias
        bias = second.bias
        if not isinstance(skip, nn.Identity):
            x, bias = conv_in_frames(x, skip, bias=False), bias + skip.bias
        video = self.temopral_conv(signal.ops.join(x, hidden, bias), signal)
        signal.show(f"{self.name}.temopral_conv", video)
        return video


class Downsample(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        return conv_in_frames(x, self.op)


class Upsample(nn.Module):
    """A nearest neighbour, then a convolution."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.doubled: Doubled | None = None
        self.name = ""

    def shorten(self, ops: ModuleType) -> None:
        """Convolve before doubling where no gradient is wanted."""
        self.doubled = Doubled(self.conv, ops)

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        larger = self._larger(x)
        signal.show(self.name, larger)
        return larger

    def _larger(self, x: Tensor) -> Tensor:
        b, f, h, w, c = x.shape
        if self.doubled is not None and not (torch.is_grad_enabled() and x.requires_grad):
            frames = self.doubled(x.flatten(0, 1).permute(0, 3, 1, 2))
            return frames.permute(0, 2, 3, 1).unflatten(0, (b, f))
        doubled = x[:, :, :, None, :, None].expand(b, f, h, 2, w, 2, c).reshape(b, f, 2 * h, 2 * w, c)
        return conv_in_frames(doubled, self.conv)


class Stage(nn.ModuleList):
    """A row of layers; the network's very first is a plain convolution."""

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        for layer in self:
            x = conv_in_frames(x, layer) if isinstance(layer, nn.Conv2d) else layer(x, signal)
        return x
