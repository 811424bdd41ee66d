import subprocess
import sys

import numpy as np
import pytest

from motionecho.errors import BadSample, UserError
from motionecho.metrics import (
    METRICS,
    Item,
    MetricSpec,
    MetricUnavailable,
    load_metrics,
    usual_metrics,
    wants_gpu,
)
from motionecho.metrics.protocol import Metric, Scores, clean
from motionecho.metrics.registry import Shared
from motionecho.models.registry import PAIRS

BLANK = np.zeros((2, 8, 8, 3), np.uint8)


class Broken:
    name, version = "broken", "1"

    def __call__(self, item: Item) -> Scores:
        return {"broken": float("nan"), "broken_max": float("inf"), "broken_mean": np.float32(0.5)}


def test_no_metric_lets_a_nan_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "broken", MetricSpec("broken", lambda shared: Broken()))
    (metric,), skipped = load_metrics(["broken"])
    row = metric(Item(BLANK, None, "", 8.0))
    assert row == {"broken": None, "broken_max": None, "broken_mean": 0.5, "broken_status": "not_finite"}
    assert type(row["broken_mean"]) is float
    assert (metric.name, metric.version, skipped) == ("broken", "1", {})


def test_a_reason_already_given_is_kept() -> None:
    assert clean("x", {"x": float("nan"), "x_status": "no_tracks"}) == {"x": None, "x_status": "no_tracks"}
    assert clean("x", {"x": np.int64(3)}) == {"x": 3, "x_status": "ok"}


def test_an_unknown_name_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r'unknown metric "motion_fidelty".*did you mean "motion_fidelity"'):
        load_metrics(["sanity", "motion_fidelty"])


def test_what_cannot_run_is_skipped_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unavailable(shared: Shared) -> Metric:
        raise MetricUnavailable("its weights are on the moon")

    def uninstalled(shared: Shared) -> Metric:
        import a_package_that_does_not_exist

        return a_package_that_does_not_exist.Metric()

    monkeypatch.setitem(METRICS, "moon", MetricSpec("moon", unavailable))
    monkeypatch.setitem(METRICS, "uninstalled", MetricSpec("uninstalled", uninstalled))
    metrics, skipped = load_metrics(["moon", "sanity", "uninstalled", "sanity"])
    assert [metric.name for metric in metrics] == ["sanity"]
    assert skipped["moon"] == "its weights are on the moon"
    assert "a_package_that_does_not_exist is not installed" in skipped["uninstalled"]


def test_every_status_is_named_after_its_metric() -> None:
    metrics, _ = load_metrics(["motion_fidelity", "sanity"])
    for metric in metrics:
        assert f"{metric.name}_status" in metric(Item(BLANK, BLANK, "", 8.0))


@pytest.mark.parametrize(
    "video",
    [BLANK[0], BLANK.astype(np.float32), BLANK[..., :1], BLANK[:0], None],
    ids=["no time", "float", "gray", "empty", "none"],
)
def test_frames_of_another_kind_are_refused(video: np.ndarray) -> None:
    with pytest.raises(BadSample, match="the video to score must be uint8 RGB frames"):
        Item(video, None, "", 8.0)
    if video is not None:
        with pytest.raises(BadSample, match="the reference to score"):
            Item(BLANK, video, "", 8.0)


def test_a_metric_is_called_in_its_figures_as_in_the_registry() -> None:
    metrics, _ = load_metrics(METRICS)
    assert {"sanity", "motion_fidelity", "toy_text"} <= {metric.name for metric in metrics} <= {*METRICS}
    assert all(name == spec.name for name, spec in METRICS.items())
    for metric in metrics:
        row, spec = metric(Item(BLANK, BLANK, "", 8.0)), METRICS[metric.name]
        numbers = [name for name, value in row.items() if not isinstance(value, str)]
        assert all(spec.owns(name) for name in (*numbers, *spec.headlines))
        assert not spec.owns(f"{metric.name}_status")


def test_what_is_taken_where_nobody_names_metrics() -> None:
    """The order too: a run's settings, and so whether it is the same run, have the names in it."""
    assert usual_metrics() == ("sanity", "motion_fidelity", "text_alignment", "temporal_consistency")
    assert PAIRS["toy"].metrics == ("sanity", "motion_fidelity", "toy_text")
    for pair in PAIRS.values():
        assert {*pair.metrics} <= {*METRICS}, pair.name


def test_listing_the_metrics_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'cv2', 'open_clip', 'numpy'}"
    code = f"import sys, motionecho.metrics as m; print(len(m.METRICS), {heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{len(METRICS)} set()"


def test_a_gpu_is_wanted_for_large_networks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "MOTIONECHO_CLIP_WEIGHTS",
        "MOTIONECHO_CLIP_MODEL",
        "MOTIONECHO_ALLOW_DOWNLOAD",
        "MOTIONECHO_TRACKER",
    ):
        monkeypatch.delenv(name, raising=False)
    assert not wants_gpu(METRICS)
    monkeypatch.setenv("MOTIONECHO_TRACKER", "cotracker")
    assert wants_gpu(["motion_fidelity"])
    assert not wants_gpu(["sanity", "text_alignment"])
    monkeypatch.setenv("MOTIONECHO_CLIP_WEIGHTS", "vit.safetensors")
    assert not wants_gpu(["text_alignment"])
    monkeypatch.setenv("MOTIONECHO_CLIP_MODEL", "ViT-H-14")
    assert wants_gpu(["sanity", "text_alignment"])
