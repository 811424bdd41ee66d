"""The judge reads real sprites right, and says nothing about what it was not made for."""

import numpy as np

from motionecho.metrics import Item, load_metrics
from motionecho.sprites.render import render, to_uint8
from motionecho.sprites.scenes import captions, sample_scenes


def test_true_prompts_score_high_and_swapped_ones_low() -> None:
    import torch

    (metric,), skipped = load_metrics(["toy_text"], "cpu")
    assert skipped == {}
    scenes = sample_scenes(6, torch.Generator().manual_seed(4), motions=("linear",))
    videos, prompts = to_uint8(render(scenes)), captions(scenes)
    own = [metric(Item(v, None, p, 8.0))["toy_text"] for v, p in zip(videos, prompts, strict=True)]
    swapped = [
        metric(Item(v, None, p, 8.0))["toy_text"]
        for v, p in zip(videos, prompts[1:] + prompts[:1], strict=True)
    ]
    assert np.mean(own) > 0.9
    assert np.mean(swapped) < 0.5


def test_other_videos_and_prompts_get_a_status() -> None:
    (metric,), _ = load_metrics(["toy_text"], "cpu")
    sprite, large = np.zeros((3, 64, 64, 3), np.uint8), np.zeros((3, 96, 64, 3), np.uint8)
    for video, prompt in ((sprite, "a fox in the snow"), (large, "a red star on a blue background")):
        scores = metric(Item(video, None, prompt, 8.0))
        assert scores == {"toy_text": None, "toy_text_status": "not_a_sprite_video"}
