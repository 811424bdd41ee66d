"""The network of the embedded transformer pair: Wan's own architecture, a thousandth of its size.

Teacher and student are alike; latents are [b, 4, 16, 16, 16], 1,024 tokens of 1 x 2 x 2. Autoencoder, text
encoder and words are those of the embedded U-Net pair.
"""

from diffusers import WanTransformer3DModel

from motionecho.models.toy.nets import WIDTH
from motionecho.schedules import Flow

SCHEDULE = Flow(shift=3.0)
STUDENT = Flow(shift=2.0)  # of its few steps more lie below the noise, where the motion is kept or lost


def build_transformer() -> WanTransformer3DModel:
    """Build the transformer: 8 blocks of width 192, 3 heads; 5.0 M parameters."""
    return WanTransformer3DModel(
        num_attention_heads=3,
        attention_head_dim=64,
        in_channels=4,
        out_channels=4,
        text_dim=WIDTH,
        freq_dim=256,
        ffn_dim=720,
        num_layers=8,
        rope_max_seq_len=32,
    )
