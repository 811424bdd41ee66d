"""The layers of the LVDM UNet; parameters carry the public checkpoints' names, misspelling included, and are
declared in the public order, which T2V-Turbo's nameless LoRA relies on.

A batch of b videos of f frames travels as x [b*f, c, h, w]; every layer is called as layer(x, signal).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from motionecho.backbones.checkpoint import GROUPS
from motionecho.backbones.videocrafter.signal import Signal


def as_video(x: Tensor, batch: int) -> Tensor:
    """[b*f, c, h, w] to [b, c, f, h, w]."""
    return x.unflatten(0, (batch, -1)).transpose(1, 2)


def as_frames(video: Tensor) -> Tensor:
    """[b, c, f, h, w] to [b*f, c, h, w]."""
    return video.transpose(1, 2).flatten(0, 1)


class Attention(nn.Module):
    """Multi-head attention of tokens [n, queries, width] to a source [n, keys, source_width].

    Over time, it answers to a probe that names it; the UNet sets `name`.
    """

    def __init__(self, width: int, source_width: int, heads: int, head_width: int, over_time: bool):
        super().__init__()
        inner = heads * head_width
        self.heads, self.over_time, self.name = heads, over_time, ""
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_k = nn.Linear(source_width, inner, bias=False)
        self.to_v = nn.Linear(source_width, inner, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])

    def forward(self, x: Tensor, source: Tensor, signal: Signal) -> Tensor:
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [n, heads, tokens, head_width]
            for projected in (self.to_q(x), self.to_k(source), self.to_v(source))
        )
        if self.over_time and signal.wants(self.name):
            weights = (query.float() @ key.float().mT * query.shape[-1] ** -0.5).softmax(-1)
            signal.show(self.name, weights)
            mixed = weights.to(value.dtype) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value)
        return self.to_out[0](mixed.transpose(1, 2).flatten(2))


class GatedLinear(nn.Module):
    """GEGLU: one half of a projection, gated by the exact GELU of the other."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.net = nn.Sequential(GatedLinear(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    """Two attentions and a feed-forward.

    Within a frame the second attention reads the text; over time (no text width) both read the tokens.
    """

    def __init__(self, width: int, heads: int, head_width: int, text_width: int | None):
        super().__init__()
        self.reads_text = text_width is not None
        self.attn1 = Attention(width, width, heads, head_width, not self.reads_text)
        self.ff = FeedForward(width)
        self.attn2 = Attention(width, text_width or width, heads, head_width, not self.reads_text)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        tokens = self.norm1(x)
        x = x + self.attn1(tokens, tokens, signal)
        tokens = self.norm2(x)
        if self.reads_text:
            # the frames of a video queue up before its text, whose keys and values are made once
            whole = tokens.unflatten(0, (signal.batch, -1)).flatten(1, 2)
            x = x + self.attn2(whole, signal.text, signal).view_as(x)
        else:
            x = x + self.attn2(tokens, tokens, signal)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Pixels of a frame attend to each other, then to the text."""

    def __init__(self, width: int, head_width: int, text_width: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([Block(width, width // head_width, head_width, text_width)])
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        tokens = self.norm(x).flatten(2).mT  # [b*f, h*w, c]
        tokens = self.transformer_blocks[0](self.proj_in(tokens), signal)
        return x + self.proj_out(tokens).mT.reshape(x.shape)


class TemporalTransformer(nn.Module):
    """Each pixel attends to itself in all frames, twice; no positions are added.

    The first one of the network (`init_attn`) keeps its projections as 1x1 convolutions, which are the same.
    """

    def __init__(self, width: int, heads: int, head_width: int, convolutional: bool = False):
        super().__init__()
        inner = heads * head_width
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.proj_in = nn.Conv1d(width, inner, 1) if convolutional else nn.Linear(width, inner)
        self.transformer_blocks = nn.ModuleList([Block(inner, heads, head_width, None)])
        self.proj_out = nn.Conv1d(inner, width, 1) if convolutional else nn.Linear(inner, width)

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        video = self.norm(as_video(x, signal.batch))  # statistics over f, h and w
        batch, _, frames, height, width = video.shape
        tokens = video.permute(0, 3, 4, 2, 1).flatten(0, 2)  # [b*h*w, f, c]
        tokens = F.linear(tokens, self.proj_in.weight.flatten(1), self.proj_in.bias)
        tokens = self.transformer_blocks[0](tokens, signal)
        tokens = F.linear(tokens, self.proj_out.weight.flatten(1), self.proj_out.bias)
        return x + tokens.view(batch, height, width, frames, -1).permute(0, 3, 4, 1, 2).flatten(0, 1)


class TemporalConv(nn.Module):
    """Four convolutions over three frames each, added to the video they start from."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), _over_time(width))
        self.conv2, self.conv3, self.conv4 = (
            nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Identity(), _over_time(width))
            for _ in range(3)
        )

    def forward(self, video: Tensor) -> Tensor:
        return video + self.conv4(self.conv3(self.conv2(self.conv1(video))))


def _over_time(width: int) -> nn.Conv3d:
    return nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))


class ResBlock(nn.Module):
    """Two convolutions within each frame, the embedding added between them, then the temporal ones."""

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

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        shift = self.emb_layers(signal.embedding)[:, None, :, None, None]  # all frames of a video alike
        hidden = (self.in_layers(x).unflatten(0, (signal.batch, -1)) + shift).flatten(0, 1)
        hidden = self.skip_connection(x) + self.out_layers(hidden)
        return as_frames(self.temopral_conv(as_video(hidden, signal.batch)))


class Downsample(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Stage(nn.ModuleList):
    """Layers in a row; the network's very first is a plain convolution."""

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        for layer in self:
            x = layer(x) if isinstance(layer, nn.Conv2d) else layer(x, signal)
        return x
