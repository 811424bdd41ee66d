"""Videos that a study does not show."""

from pathlib import Path

import pytest

from motionecho.errors import UserError
from motionecho.runs.notes import Blob
from motionecho.runs.store import RunStore
from motionecho.study.drawing import MethodVideo
from motionecho.study.tiles import write_tiles
from motionecho.video import Window, write_video
from tests.study.flat_run import FPS, GREY, flat


@pytest.mark.parametrize("name", ["{}/private.mp4", "../private.mp4", "videos/../../private.mp4"])
def test_a_video_beside_its_run_is_not_published(tmp_path: Path, name: str) -> None:
    """A stranger's record may name any video of the machine on which a study is built."""
    write_video(tmp_path / "private.mp4", flat(GREY), FPS)
    store, reference = RunStore(str(tmp_path / "run")), str(tmp_path / "private.mp4")
    (tmp_path / "run" / "videos").mkdir(parents=True)
    video = MethodVideo("student", store, "a", "k", Blob(name.format(tmp_path)), reference, None, Window(),
                        "crop", "black", "a star", 1)  # fmt: skip
    with pytest.raises(UserError, match=r"the video of a cannot be shown: .* is no file of its run"):
        write_tiles(tmp_path / "tiles.mp4", [video])
    assert not (tmp_path / "tiles.mp4").exists()
