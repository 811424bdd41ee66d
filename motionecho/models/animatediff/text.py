"""Stable Diffusion 1.5's text encoder: CLIP ViT-L/14's text tower, read after its last layer."""

from dataclasses import dataclass

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from motionecho.models.weights.checkpoint import (
    Shapes,
    State,
    filled,
    inferred,
    length_of,
    ratio_of,
    require_match,
    shapes,
)

WHAT = "CLIP's text tower"
TOKENS, HEAD_WIDTH = 77, 64
PREFIX = "text_model."  # in public files, and in some releases of transformers
UNUSED = "embeddings.position_ids"  # in older files


@dataclass(frozen=True)
class ClipStates:
    """An encoder of tokens [b, 77] to states [b, 77, width], float32; longer prompts are cut at 77 tokens.

    The vocabulary is CLIP's, which open_clip ships; unlike OpenCLIP, empty places repeat the end token.
    """

    tower: CLIPTextModel
    tokenizer: SimpleTokenizer

    def tokens(self, prompts: list[str]) -> Tensor:
        ids = self.tokenizer(prompts)
        end = self.tokenizer.eot_token_id
        return torch.where((ids == end).cumsum(1) > 0, end, ids)

    def __call__(self, ids: Tensor) -> Tensor:
        return self.tower(ids)[0].float()


def load_text(state: State) -> ClipStates:
    """Build the text encoder; raises Misfit naming tensors that are missing, unexpected or misshapen."""
    tensors = {name.removeprefix(PREFIX): t for name, t in state.items()}
    tensors.pop(UNUSED, None)

    def sizes() -> dict[str, int]:
        width = length_of(tensors, "final_layer_norm.bias", WHAT)
        layers = {name.split(".")[2] for name in tensors if name.startswith("encoder.layers.")}
        words = ratio_of(tensors, "embeddings.token_embedding.weight", width, WHAT)
        return {"width": width, "layers": len(layers), "words": words}

    tower = empty_text(**inferred(sizes, lambda: public_shapes(empty_text()), tensors))
    require_match(public_shapes(tower), tensors, WHAT)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in tower.state_dict()) else ""
    tower = filled(tower, {prefix + name: tensor for name, tensor in tensors.items()})
    for module in tower.modules():  # no part of the weights, so still without memory
        if "position_ids" in module._buffers:
            module.position_ids = torch.arange(TOKENS)[None]
    return ClipStates(tower, SimpleTokenizer(context_length=TOKENS))


def public_shapes(tower: CLIPTextModel) -> Shapes:
    """Return names and shapes without the prefix that only some releases put before them."""
    named = {name.removeprefix(PREFIX): shape for name, shape in shapes(tower.state_dict()).items()}
    return {name: shape for name, shape in named.items() if name != UNUSED}


def empty_text(width: int = 768, layers: int = 12, words: int = 49408) -> CLIPTextModel:
    """Build the tower without memory: names and shapes alone."""
    config = CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD_WIDTH,
        max_position_embeddings=TOKENS,
        hidden_act="quick_gelu",
    )
    with torch.device("meta"):
        return CLIPTextModel(config)
