"""A real pair too small to be good: AnimateDiff's architecture with random weights, 4 frames of 16x16."""

from dataclasses import replace
from typing import Literal

import torch
from diffusers import AutoencoderKL, UNetMotionModel

from motionecho.config import EchoConfig
from motionecho.denoiser import Denoiser
from motionecho.models.animatediff.motion_unet import MotionUNet
from motionecho.models.codec import FramewiseCodec
from motionecho.models.pair import ModelPair, Role
from motionecho.models.registry import pair_spec
from motionecho.schedules import Answer, Discrete, Grid, Schedule, consistency, uniform

FRAMES, SIZE, WIDTH = 4, 16, 16
LAYERS = tuple(f"up_blocks.0.motion_modules.{k}.transformer_blocks.0.attn1" for k in (0, 1))
SCHEDULE = Discrete.from_betas(0.00085, 0.012)
CONFIG = EchoConfig.of(
    steps=4, gradient="unit_rms", student_strength=0.1, student_update="direction", teacher_strength=0.1,
    teacher_guidance_scale=2.0, teacher_grid="interval", teacher_max_steps=2, activation_threshold=0.0,
    truncation_threshold=0.0, inversion_steps=3, guided_fraction=0.5,
)  # fmt: skip


def zero_snr() -> Discrete:
    """A schedule whose last step is pure noise (alpha 0), as CogVideoX has."""
    roots = torch.tensor(SCHEDULE.alphas_cumprod, dtype=torch.float64).sqrt()
    shifted = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    return Discrete(tuple(shifted.square().tolist()))


def unet(seed: int) -> UNetMotionModel:
    torch.manual_seed(seed)
    net = UNetMotionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion"),
        up_block_types=("CrossAttnUpBlockMotion", "UpBlockMotion"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        num_attention_heads=2,
        motion_num_attention_heads=2,
        motion_max_seq_length=8,
        use_motion_mid_block=True,
    )
    for parameter in net.parameters():  # zero-initialised layers would hide half of the network
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.6 / parameter[0].numel() ** 0.5)
    return net.eval().requires_grad_(False)


def denoiser(
    seed: int = 0,
    grid: Grid | None = None,
    answer: Answer = "v",
    noise: Literal["fresh", "predicted"] = "fresh",
    bounded: bool = False,
) -> MotionUNet:
    return MotionUNet(unet(seed), grid or uniform(SCHEDULE), {"motionclone": LAYERS}, answer, noise, bounded)


def pair(
    student: Denoiser | None = None, teacher: Denoiser | None = None, schedule: Schedule = SCHEDULE
) -> ModelPair:
    torch.manual_seed(3)
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
    )

    def tokens(prompts: list[str]) -> torch.Tensor:
        return torch.tensor([[len(prompt)] for prompt in prompts])

    def text(ids: torch.Tensor) -> torch.Tensor:
        seeded = [torch.Generator().manual_seed(int(length)) for length in ids]
        return torch.stack([torch.randn(5, WIDTH, generator=generator) for generator in seeded])

    spec = replace(pair_spec("toy"), name="tiny", frames=FRAMES, height=SIZE, width=SIZE, defaults=CONFIG)
    cpu = torch.device("cpu")
    student = student or denoiser(1, consistency(50), bounded=True)
    codec = FramewiseCodec(vae.eval(), 0.0, 1.0, spec, cpu)
    networks: dict[Role, Denoiser] = {"student": student, "teacher": teacher or denoiser(2)}
    both = networks["student"], networks["teacher"]
    return ModelPair(spec, schedule, *both, codec, tokens, text, cpu, networks.__getitem__)
