"""Names of a run's own files, told from what else a record may name."""

import pytest

from motionecho.runs import layout

KEY = "ab" * 16


@pytest.mark.parametrize(
    "uri",
    [
        layout.video(KEY, "1-abc"), layout.stats(KEY, "12-0f"), layout.preview(KEY, "1-abc"),
        layout.motion(KEY),
        layout.text(KEY), layout.features(KEY), layout.record(KEY), layout.record(KEY, 2),
        "videos/one.mp4",  # of version 0.1
    ],
)  # fmt: skip
def test_what_layout_makes_is_a_run_s_own(uri: str) -> None:
    assert layout.is_own(uri)


@pytest.mark.parametrize(
    "uri",
    [
        None, "", "run.json", "/etc/hostname", "s3://b/videos/ab/x.mp4", "javascript:alert(1)", "../x.mp4",
        "videos/../run.json", "videos/ab/../../../x.mp4", "features/../run.json", "/videos/ab/x.mp4",
        "videos//x.mp4", "videos/ab/x.mp4\n", "videos/ab/.part-1.mp4", "videos/ab/x.mp4?a",
        "videos/a/b/c.mp4",
    ],
)  # fmt: skip
def test_other_places_are_not(uri: str | None) -> None:
    assert not layout.is_own(uri)
