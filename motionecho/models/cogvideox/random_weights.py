"""Random weights in the layout of CogVideoX's files, at full size but for the text encoder."""

import torch
from torch import Tensor

from motionecho.models.cogvideox.forms import VideoForm
from motionecho.models.cogvideox.loading import empty_transformer, empty_vae
from motionecho.models.cogvideox.text import READING
from motionecho.models.t5.random_weights import encoder_shapes
from motionecho.models.weights import random_weights
from motionecho.models.weights.checkpoint import shapes


def random_files(
    form: VideoForm, dtype: torch.dtype, only: tuple[str, ...] = ()
) -> dict[str, dict[str, Tensor]]:
    """Make what a pair's files hold, or some of them; the student is a LoRA."""
    network = empty_transformer(form)
    wanted = {
        "teacher": shapes(network.state_dict()),
        "student": random_weights.lora_shapes(network),
        "vae": shapes(empty_vae(form.vae).state_dict()),
        "text": encoder_shapes(READING, form.text),
    }
    return random_weights.random_files(wanted, lambda name: dtype, only)
