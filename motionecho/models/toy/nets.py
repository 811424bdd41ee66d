"""The networks of the embedded pair: tiny standard diffusers modules and a word-level text encoder.

One UNet architecture (AnimateDiff's) serves teacher and student; latents are [b, 4, 16, 16, 16].
"""

import torch
from diffusers import AutoencoderKL, UNetMotionModel
from torch import Tensor, nn

from motionecho.schedules import Discrete
from motionecho.sprites.scenes import SIZE
from motionecho.sprites.words import MAX_WORDS, WORDS

WIDTH = 128
SCHEDULE = Discrete.from_betas(0.00085, 0.012)


class WordEncoder(nn.Module):
    """An encoder of words and two transformer layers: ids [b, 16] to states [b, 16, 128]."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), WIDTH)
        self.position = nn.Parameter(torch.randn(MAX_WORDS, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 3 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        words = self.words(ids) + self.position
        square = torch.ones(MAX_WORDS, MAX_WORDS, dtype=torch.bool, device=ids.device)
        later = square.triu(1)  # as in CLIP, no word looks ahead
        return self.norm(self.layers(words, mask=later, is_causal=True))


def build_unet() -> UNetMotionModel:
    """Build AnimateDiff's UNet, of 64 and 128 channels, temporal attention at both; 5.7 M parameters."""
    return UNetMotionModel(
        sample_size=SIZE // 4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128),
        down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion"),
        up_block_types=("CrossAttnUpBlockMotion", "UpBlockMotion"),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=WIDTH,
        num_attention_heads=4,
        motion_num_attention_heads=4,
        motion_max_seq_length=32,
        use_motion_mid_block=True,
    )


def build_vae() -> AutoencoderKL:
    """Build the autoencoder: 64x64 RGB to 4x16x16, frame by frame; 0.8 M parameters."""
    return AutoencoderKL(
        block_out_channels=(32, 48, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=16,
        mid_block_add_attention=False,
        sample_size=SIZE,
    )
