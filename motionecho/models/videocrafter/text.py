"""VideoCrafter's text encoder: the text tower of OpenCLIP ViT-H-14, read before its last layer."""

from dataclasses import dataclass

import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from torch import Tensor

from motionecho.models.weights.checkpoint import (
    State,
    component,
    filled,
    inferred,
    length_of,
    ratio_of,
    require_match,
    shapes,
)

WHAT = "OpenCLIP's text tower"
PREFIX = "cond_stage_model.model."
TOKENS, HEAD_WIDTH = 77, 64
UNUSED = ("logit_scale", "attn_mask")  # in the checkpoint, but of no use to the states


@dataclass(frozen=True)
class OpenClipStates:
    """An encoder of tokens [b, 77] to states [b, 77, width], float32: all layers but the last, final norm.

    The tokenizer cuts longer prompts at 77 tokens, as the model was trained.
    """

    tower: TextTransformer
    tokenizer: SimpleTokenizer

    def __call__(self, ids: Tensor) -> Tensor:
        tower = self.tower
        x = tower.token_embedding(ids) + tower.positional_embedding
        ahead = torch.full((TOKENS, TOKENS), -torch.inf, dtype=x.dtype, device=x.device).triu(1)
        for layer in tower.transformer.resblocks[:-1]:
            x = layer(x, attn_mask=ahead)
        return tower.ln_final(x).float()


def load_text(state: State) -> OpenClipStates:
    """Build the text encoder of a whole VideoCrafter2 checkpoint, or of its bare tensors.

    Raises UserError naming tensors that are missing, unexpected or misshapen.
    """
    tensors = {name: t for name, t in component(state, PREFIX).items() if name not in UNUSED}

    def sizes() -> dict[str, int]:
        width = length_of(tensors, "ln_final.bias", WHAT)
        layers = {name.split(".")[2] for name in tensors if name.startswith("transformer.resblocks.")}
        words = ratio_of(tensors, "token_embedding.weight", width, WHAT)
        joint = ratio_of(tensors, "text_projection", width, WHAT)
        return {"width": width, "layers": len(layers), "words": words, "joint": joint}

    tower = empty_text(**inferred(sizes, lambda: shapes(empty_text().state_dict()), tensors))
    require_match(shapes(tower.state_dict()), tensors, WHAT)
    return OpenClipStates(filled(tower, tensors), SimpleTokenizer(context_length=TOKENS))


def empty_text(width: int = 1024, layers: int = 24, words: int = 49408, joint: int = 1024) -> TextTransformer:
    """Build the tower without memory: names and shapes alone."""
    with torch.device("meta"):
        tower = TextTransformer(
            context_length=TOKENS,
            vocab_size=words,
            width=width,
            heads=width // HEAD_WIDTH,
            layers=layers,
            output_dim=joint,
        )
    tower.attn_mask = None  # no part of the checkpoint; OpenClipStates makes its own
    return tower
