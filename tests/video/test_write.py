"""Written videos hold their frames and their provenance, and appear whole or not at all."""

from pathlib import Path

import av
import numpy as np
import pytest
from films import HEIGHT, WIDTH, make, numbered

from motionecho.errors import BadSample, Transient, UserError
from motionecho.video import probe, read_clip, read_provenance, write_video


def picture(count: int = 16, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    y, x, k = np.mgrid[:height, :width, :count].transpose(0, 3, 1, 2)
    return np.stack([x * 255 // width, y * 255 // height, k * 255 // count], -1).astype(np.uint8)


def test_written_videos_come_back(tmp_path: Path) -> None:
    path, frames = tmp_path / "out.mp4", picture()
    noted = {"motionecho": "0.1.0", "prompt": 'Ein "Pferd"\nам берегу 海', "seed": 7}
    write_video(path, frames, 8, noted)
    for backend in ("auto", "pyav"):
        back = read_clip(path, 16, HEIGHT, WIDTH, backend=backend)
        assert back.fps == pytest.approx(8)
        assert np.abs(back.frames.astype(int) - frames).mean() < 4
    found = read_provenance(path)
    assert {key: found[key] for key in noted} == noted
    assert found["encoding"]["codec"] == "libx264"
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 6)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, picture(), 24000 / 1001, {"seed": 1})
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert probe(tmp_path / "a.mp4").fps == pytest.approx(24000 / 1001)


def test_odd_sizes_are_padded_and_say_so(tmp_path: Path) -> None:
    write_video(tmp_path / "odd.mp4", picture(4, 49, 65), 8, {})
    info = probe(tmp_path / "odd.mp4")
    assert (info.height, info.width) == (50, 66)
    assert read_provenance(tmp_path / "odd.mp4")["encoding"]["padding"] == {"right": 1, "bottom": 1}
    write_video(tmp_path / "even.mp4", picture(1), 8)
    assert "padding" not in read_provenance(tmp_path / "even.mp4")["encoding"]


def test_without_x264_another_encoder_is_used_and_named(tmp_path: Path) -> None:
    frames = picture()
    write_video(tmp_path / "out.mp4", frames, 8, {"seed": 1}, encoders=("no_such_encoder", "mpeg4"))
    found = read_provenance(tmp_path / "out.mp4")
    assert (found["encoding"]["codec"], found["seed"]) == ("mpeg4", 1)
    assert np.abs(read_clip(tmp_path / "out.mp4", 16, HEIGHT, WIDTH).frames.astype(int) - frames).mean() < 6


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="none of the encoders"):
        write_video(path, picture(), 8, encoders=("no_such_encoder",))
    with pytest.raises(ValueError, match="uint8"):
        write_video(path, picture().astype(np.float32), 8)
    with pytest.raises(ValueError, match="fps"):
        write_video(path, picture(), float("nan"))
    with pytest.raises(TypeError):
        write_video(path, picture(), 8, {"not JSON": object()})
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_does_not_hold_its_frames_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up while the encoder writes: a file size limit stands in for it."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "out.mp4"
    path.write_bytes(b"before")
    noise = np.random.default_rng(0).integers(0, 256, (16, 128, 128, 3), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(Transient, match=r"out\.mp4"):
            write_video(path, noise, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, heard)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_that_cannot_take_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make it first"):
        write_video(tmp_path / "no" / "out.mp4", picture(1), 8)
    with pytest.raises(UserError, match="is a folder"):
        write_video(tmp_path, picture(1), 8)


def test_provenance_of_other_files(tmp_path: Path) -> None:
    assert read_provenance(make(tmp_path / "foreign.mp4", numbered(1))) == {}
    with pytest.raises(BadSample, match="does not exist"):
        read_provenance(tmp_path / "missing.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 100)
    with pytest.raises(BadSample, match="is no mp4"):
        read_provenance(text)
