"""A tiny CLIP with a random but fixed state dict on disk stands for the real one."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from drawn import camera, square

from motionecho.metrics import Item, MetricUnavailable, load_metrics
from motionecho.metrics.clip import ClipModel, ClipOptions, TemporalConsistency, TextAlignment, load_clip

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Register the configs `tiny-test` and `tiny-test-quickgelu`; return weights that fit both."""
    folder = tmp_path_factory.mktemp("clip")
    configs = folder / "configs"
    configs.mkdir()
    (configs / "tiny-test.json").write_text(json.dumps(TINY))
    (configs / "tiny-test-quickgelu.json").write_text(json.dumps(TINY | {"quick_gelu": True}))
    open_clip.add_model_config(configs)
    torch.manual_seed(0)
    path = folder / "weights.pt"
    torch.save(open_clip.create_model("tiny-test").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def clip(checkpoint: Path) -> ClipModel:
    return load_clip(ClipOptions("tiny-test", str(checkpoint)), "cpu")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No weights anywhere, and none of the reader's own settings."""
    for name in ("MOTIONECHO_ALLOW_DOWNLOAD", "MOTIONECHO_CLIP_WEIGHTS", "MOTIONECHO_CLIP_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return monkeypatch


def test_text_alignment_is_the_mean_cosine_of_frames_and_prompt(clip: ClipModel) -> None:
    item = Item(square(1.5), None, "a red star", 8.0)
    scores = TextAlignment(clip)(item)
    frames = torch.stack(
        [clip.frames(frame[None])[0] for frame in item.video]
    )  # one at a time, not as a batch
    text, _ = clip.text("a red star")
    assert scores["text_alignment"] == pytest.approx(float((frames @ text).mean()), abs=1e-5)
    assert scores["text_alignment_status"] == "ok"
    assert TextAlignment(clip)(Item(item.video, None, "a blue heart", 8.0))[
        "text_alignment"
    ] != pytest.approx(scores["text_alignment"], abs=1e-6)


def test_temporal_consistency_of_consecutive_frames_and_of_all_pairs(clip: ClipModel) -> None:
    video = camera(2.0)
    scores = TemporalConsistency(clip)(Item(video, None, "", 8.0))
    vectors = clip.frames(video).numpy()
    consecutive = np.mean([vectors[i] @ vectors[i + 1] for i in range(15)])
    pairs = np.mean([vectors[i] @ vectors[j] for i in range(16) for j in range(i)])
    assert scores["temporal_consistency"] == pytest.approx(consecutive, abs=1e-5)
    assert scores["temporal_consistency_all_pairs"] == pytest.approx(pairs, abs=1e-5)
    assert pairs < consecutive < 1


def test_a_frozen_video_is_wholly_consistent(clip: ClipModel) -> None:
    scores = TemporalConsistency(clip)(Item(np.repeat(camera(2.0)[:1], 5, 0), None, "", 8.0))
    assert scores["temporal_consistency"] == pytest.approx(1, abs=1e-5)


def test_more_frames_than_one_batch_are_scored_alike(clip: ClipModel) -> None:
    video = camera(0.2, frames=70)
    assert clip.frames(video).shape == (70, 16)
    assert torch.allclose(clip.frames(video)[-3:], clip.frames(video[-3:]), atol=1e-5)


def test_a_buffer_that_was_filled_anew_is_embedded_anew(clip: ClipModel) -> None:
    video = camera(1.0)
    first = clip.frames(video).clone()
    video[:] = square(1.0, seed=9)
    assert not torch.allclose(clip.frames(video), first)
    assert torch.allclose(clip.frames(video), clip.frames(square(1.0, seed=9)))


def test_what_cannot_be_scored_is_none_with_its_status(clip: ClipModel) -> None:
    item = Item(camera(1.0, frames=1), None, "  ", 8.0)
    assert TextAlignment(clip)(item) == {
        "text_alignment": None,
        "text_alignment_model": clip.label,
        "text_alignment_status": "no_prompt",
    }
    assert TemporalConsistency(clip)(item)["temporal_consistency"] is None
    assert TemporalConsistency(clip)(item)["temporal_consistency_status"] == "too_few_frames"
    long = TextAlignment(clip)(Item(camera(1.0, frames=2), None, "a star " * 60, 8.0))
    assert long["text_alignment"] is not None
    assert long["text_alignment_status"] == "prompt_long"


def test_the_version_changes_with_the_weights(checkpoint: Path, clip: ClipModel, tmp_path: Path) -> None:
    """Scores are cached under name and version, so other weights must not find them."""
    state = torch.load(checkpoint)
    state["logit_scale"] += 1
    torch.save(state, tmp_path / "weights.pt")
    other = load_clip(ClipOptions("tiny-test", str(tmp_path / "weights.pt")), "cpu")
    assert clip.label.startswith("tiny-test/weights.pt@")
    assert TextAlignment(other).version != TextAlignment(clip).version


def test_both_metrics_share_one_model(checkpoint: Path, offline: pytest.MonkeyPatch) -> None:
    offline.setenv("MOTIONECHO_CLIP_MODEL", "tiny-test")
    offline.setenv("MOTIONECHO_CLIP_WEIGHTS", str(checkpoint))
    metrics, skipped = load_metrics(["text_alignment", "temporal_consistency"], "cpu")
    assert skipped == {}
    text, temporal = (guarded.metric for guarded in metrics)  # type: ignore[attr-defined]
    assert text.clip is temporal.clip


def test_missing_weights_skip_both_metrics_and_say_the_way_out(offline: pytest.MonkeyPatch) -> None:
    offline.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))
    metrics, skipped = load_metrics(["text_alignment", "sanity", "temporal_consistency"])
    assert [metric.name for metric in metrics] == ["sanity"]
    assert skipped["text_alignment"] == skipped["temporal_consistency"]
    assert "ViT-B-32-quickgelu/openai are not on this machine" in skipped["text_alignment"]
    assert "MOTIONECHO_ALLOW_DOWNLOAD=1" in skipped["text_alignment"]
    assert "MOTIONECHO_CLIP_WEIGHTS" in skipped["text_alignment"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ClipOptions("tiny-test", ""), "random ones are refused"),
        (ClipOptions("tiny-test", "/nowhere/clip.pt"), "/nowhere/clip.pt does not exist"),
        (ClipOptions("tiny-test", "openia"), '"openia" is neither a file nor pretrained weights'),
        (ClipOptions("ViT-B-32-quickgelu", "openia"), 'did you mean "openai"'),
        (ClipOptions("ViT-B-23", "openai"), "did you mean"),
        (ClipOptions("ViT-B-32", "openai"), "set MOTIONECHO_CLIP_MODEL=ViT-B-32-quickgelu"),
        (ClipOptions("ViT-B-16-SigLIP", "webli"), "has to be downloaded"),
    ],
)
def test_a_choice_that_cannot_work_is_refused_in_one_sentence(
    options: ClipOptions, reason: str, offline: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    with pytest.raises(MetricUnavailable) as caught:
        load_clip(options, "cpu")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_known_to_need_quickgelu_are_refused_without_it(checkpoint: Path, tmp_path: Path) -> None:
    named = tmp_path / "vit_b_32-quickgelu-laion400m.pt"
    named.write_bytes(checkpoint.read_bytes())
    with pytest.raises(MetricUnavailable, match=r"trained with QuickGELU.*MODEL=tiny-test-quickgelu"):
        load_clip(ClipOptions("tiny-test", str(named)), "cpu")
    load_clip(ClipOptions("tiny-test-quickgelu", str(named)), "cpu")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*TorchScript archive:UserWarning")
def test_the_archive_openai_published_loads_with_quickgelu_only(checkpoint: Path, tmp_path: Path) -> None:
    tree = torch.nn.Module()
    for key, value in torch.load(checkpoint).items():
        *parents, leaf = key.split(".")
        node = tree
        for name in parents:
            if name not in dict(node.named_children()):
                node.add_module(name, torch.nn.Module())
            node = node.get_submodule(name)
        node.register_parameter(leaf, torch.nn.Parameter(value))
    path = tmp_path / "ViT-tiny.pt"
    torch.jit.save(torch.jit.script(tree), path)
    with pytest.raises(MetricUnavailable, match="trained with QuickGELU"):
        load_clip(ClipOptions("tiny-test", str(path)), "cpu")
    from_archive = load_clip(ClipOptions("tiny-test-quickgelu", str(path)), "cpu")
    from_state = load_clip(ClipOptions("tiny-test-quickgelu", str(checkpoint)), "cpu")
    assert torch.equal(from_archive.frames(camera(1.0)), from_state.frames(camera(1.0)))


def test_damaged_and_foreign_files_are_refused_by_name(tmp_path: Path, checkpoint: Path) -> None:
    damaged, foreign = tmp_path / "damaged.pt", tmp_path / "foreign.pt"
    damaged.write_bytes(checkpoint.read_bytes()[:1000])
    torch.save({"layer.weight": torch.zeros(3)}, foreign)
    for path in (damaged, foreign):
        with pytest.raises(MetricUnavailable, match=f"{path.name} cannot be loaded as tiny-test"):
            load_clip(ClipOptions("tiny-test", str(path)), "cpu")
