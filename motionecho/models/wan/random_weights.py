"""Random weights in the layout of Wan's files: networks at full size, and a text encoder of one block."""

from functools import partial

import torch
from torch import Tensor

from motionecho.models.t5.random_weights import encoder_shapes
from motionecho.models.wan.forms import Setup
from motionecho.models.wan.loading import dtype_of, empty_transformer, empty_vae
from motionecho.models.wan.text import READING
from motionecho.models.weights import random_weights
from motionecho.models.weights.checkpoint import shapes


def random_files(
    setup: Setup, dtype: torch.dtype, only: tuple[str, ...] = ()
) -> dict[str, dict[str, Tensor]]:
    """Make what a pair's files hold, or some of them."""
    form = setup.form
    network = empty_transformer(form)
    named = shapes(network.state_dict())
    wanted = {
        "teacher": named,
        "student": random_weights.lora_shapes(network) if setup.lora else named,
        "vae": shapes(empty_vae(form.vae).state_dict()),
        "text": encoder_shapes(READING, form.text),
    }
    return random_weights.random_files(wanted, partial(dtype_of, dtype=dtype), only)
