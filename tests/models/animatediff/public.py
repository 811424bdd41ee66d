"""Files in the exact public layout, at tiny widths: diffusers' own classes wrote the real ones."""

from functools import cache
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from motionecho.models.animatediff.text import empty_text, public_shapes
from motionecho.models.weights.checkpoint import shapes
from motionecho.models.weights.random_weights import random_tensors

WIDTHS, TEXT_WIDTH = (32, 32, 64, 64), 64
FILES = {
    "base/unet": "emilianJR/epiCRealism/unet/diffusion_pytorch_model.safetensors",
    "base/vae": "emilianJR/epiCRealism/vae/diffusion_pytorch_model.safetensors",
    "base/text": "emilianJR/epiCRealism/text_encoder/pytorch_model.bin",
    "teacher": "guoyww/animatediff-motion-adapter-v1-5-3/diffusion_pytorch_model.safetensors",
    "student": "ByteDance/AnimateDiff-Lightning/animatediff_lightning_8step_diffusers.safetensors",
}
CONTROL = "lllyasviel/control_v11p_sd15_canny/diffusion_pytorch_model.fp16.safetensors"
OLDER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def base(widths: tuple[int, ...] = WIDTHS, text_width: int = TEXT_WIDTH) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=64, block_out_channels=widths, cross_attention_dim=text_width, attention_head_dim=8
    )


def modules(middle: bool, widths: tuple[int, ...] = WIDTHS) -> MotionAdapter:
    return MotionAdapter(block_out_channels=widths, use_motion_mid_block=middle)


@cache
def _files() -> dict[str, dict[str, Tensor]]:
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=WIDTHS,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            layers_per_block=2,
        )
        nets = {"base/unet": base(), "base/vae": vae, "teacher": modules(False), "student": modules(True)}
    drawn = {key: random_tensors(shapes(net.state_dict()), k) for k, (key, net) in enumerate(nets.items())}
    for key, middle in (("teacher", False), ("student", True)):  # positions are sines, not drawn
        own = modules(middle).state_dict()
        drawn[key] |= {name: own[name].clone() for name in drawn[key] if name.endswith("pos_embed.pe")}
    text = random_tensors(public_shapes(empty_text(TEXT_WIDTH, layers=2)), 9)
    drawn["base/text"] = {f"text_model.{name}": tensor for name, tensor in text.items()}
    drawn["base/text"]["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    drawn["base/vae"] = {_older(name): tensor for name, tensor in drawn["base/vae"].items()}
    return {key: drawn[key] for key in FILES}


def files() -> dict[str, dict[str, Tensor]]:
    """Tensors by file, as `PairSpec.paths` calls them; the VAE under its names of before 2023."""
    return {key: dict(state) for key, state in _files().items()}


def write(folder: Path, state: dict[str, dict[str, Tensor]] | None = None) -> Path:
    """Put the files below a folder that mirrors the hub."""
    for key, tensors in (state or files()).items():
        path = folder / FILES[key]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".bin":
            torch.save(tensors, path)
        else:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return folder


def control(widths: tuple[int, ...] = WIDTHS, seed: int = 11) -> ControlNetModel:
    net = ControlNetModel(block_out_channels=widths, cross_attention_dim=TEXT_WIDTH)
    net.load_state_dict(random_tensors(shapes(net.state_dict()), seed))
    return net.eval()


def write_control(folder: Path, net: ControlNetModel | None = None) -> Path:
    """Put a ControlNet's file below a folder that mirrors the hub."""
    (folder / CONTROL).parent.mkdir(parents=True, exist_ok=True)
    save_file((net or control()).state_dict(), folder / CONTROL)
    return folder


def _older(name: str) -> str:
    for new, old in OLDER.items():
        if ".attentions." in name:
            name = name.replace(f".{new}.", f".{old}.")
    return name
