"""Files as users bring them: read the same by both decoders, or refused by one sentence."""

from pathlib import Path

import av
import numpy as np
import pytest
from films import HEIGHT, WIDTH, both, make, numbered, numbers, refusal

from motionecho.errors import BadSample, UserError
from motionecho.video import Window, index, probe, read_clip
from motionecho.video.orientation import Orientation

FINE = {"bf": "2", "qmin": "1", "qmax": "2"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames at 8 fps: 5 seconds, four groups of pictures with B-frames."""
    return make(tmp_path_factory.mktemp("clips") / "clip.mp4", numbered(40))


# --- every kind of file


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("plain.mov", {}),
        ("intra.mp4", {"gop": 1}),
        ("clip.mkv", {}),
        ("full.mp4", {"pixels": "yuvj420p"}),
        ("chroma.mp4", {"pixels": "yuv444p"}),
        ("offset.mp4", {"at_ms": [1000 + 125 * k for k in range(20)]}),
        ("video.txt", {"renamed": True}),
    ],
)
def test_containers_and_codecs_read_alike(tmp_path: Path, name: str, how: dict) -> None:
    renamed = how.pop("renamed", False)
    path = make(tmp_path / ("clip.mp4" if renamed else name), numbered(20), **how)
    if renamed:
        path = path.rename(tmp_path / name)
    assert numbers(both(path, 20)) == list(range(20))
    assert numbers(both(path, 3, Window(start=1.75, fps=8))) == [14, 15, 16]
    info = probe(path)
    assert (info.frames, info.height, info.width, info.orientation) == (20, HEIGHT, WIDTH, Orientation())
    assert (info.fps, info.duration) == (pytest.approx(8, rel=0.01), pytest.approx(2.5, rel=0.01))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("deep.mp4", {"pixels": "yuv420p10le"}),
        ("clip.webm", {"codec": "libvpx-vp9"}),
        ("hevc.mp4", {"codec": "libx265", "options": {"x265-params": "open-gop=0:crf=10:log-level=none"}}),
        ("full-range.mp4", {"codec": "mjpeg", "pixels": "yuvj420p"}),
        ("open.mp4", {"options": {"x264-params": "open-gop=1:bframes=3:b-pyramid=2"}}),
        (
            "open-hevc.mp4",
            {"codec": "libx265", "options": {"x265-params": "crf=10:log-level=none"}},
        ),
        ("part2.mp4", {"codec": "mpeg4", "options": FINE}),
        ("mpeg2.mp4", {"codec": "mpeg2video", "rate": 25, "options": FINE}),
        ("part2.avi", {"codec": "mpeg4", "options": {"qmin": "1", "qmax": "2"}}),
        ("reordered.avi", {}),
        ("shades.gif", {"codec": "gif", "pixels": "gray"}),
        ("narrow.mp4", {"width": 48}),
    ],
)
def test_what_decord_may_read_differently_is_left_to_pyav(tmp_path: Path, name: str, how: dict) -> None:
    rate, width = how.setdefault("rate", 8), how.pop("width", WIDTH)
    path = make(tmp_path / name, numbered(40, width=width), gop=10, **how)
    auto = read_clip(path, 40, HEIGHT, width)
    assert numbers(auto.frames) == list(range(40))
    for first in (7, 9, 10, 11, 18, 37):
        late = read_clip(path, 3, HEIGHT, width, Window(start=first / rate, fps=rate))
        assert numbers(late.frames) == [first, first + 1, first + 2]
        assert late.backend == "pyav"
    with pytest.raises(BadSample, match='use backend "auto"'):
        read_clip(path, 40, HEIGHT, width, backend="decord")


def test_a_lossless_cut_does_not_show_what_it_hides(tmp_path: Path, clip: Path) -> None:
    """A stream copy begins at a keyframe and hides the frames before the cut in an edit list."""
    path = tmp_path / "cut.mp4"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        tick = round(1 / 8 / stream.time_base)
        for packet in source.demux(stream):
            if packet.size and packet.pts >= 12 * tick:
                packet.pts, packet.dts, packet.stream = packet.pts - 15 * tick, packet.dts - 15 * tick, copy
                target.mux(packet)
    assert probe(path).frames == 25
    got = read_clip(path, 25, HEIGHT, WIDTH)
    assert numbers(got.frames) == list(range(15, 40))
    assert got.backend == "pyav"  # decord counts the hidden frames


@pytest.mark.parametrize(("turn", "corner"), [(90, "lower left"), (180, "lower right"), (-90, "upper right")])
def test_rotation_is_applied(tmp_path: Path, turn: int, corner: str) -> None:
    path = make(tmp_path / "phone.mp4", numbered(8, 64, 128), turn=turn)
    upright = (64, 128) if turn == 180 else (128, 64)
    info = probe(path)
    assert (info.height, info.width, info.orientation.mirrored) == (*upright, False)
    frame = both(path, 8, height=upright[0], width=upright[1])[0].astype(int)
    y, x = (-4 if "lower" in corner else 3), (-4 if "right" in corner else 3)
    redness = frame[..., 0] - frame[..., 2]
    assert redness[y, x] > 100
    assert (redness > 100).mean() == pytest.approx(1 / 16, abs=0.03)


def test_odd_sizes_and_single_frames(tmp_path: Path) -> None:
    odd = make(tmp_path / "odd.mp4", numbered(4, 49, 65), pixels="yuv444p")
    assert both(odd, 4, height=49, width=65).shape == (4, 49, 65, 3)
    single = make(tmp_path / "single.mp4", numbered(1))
    assert numbers(both(single, 1)) == [0]
    assert "has 1 frame from" in refusal(single)


def test_a_selection_needs_only_its_own_part_of_the_file(tmp_path: Path) -> None:
    """Damage before and after the window's group of pictures goes unnoticed, as nothing there is decoded."""
    path = make(tmp_path / "long.mp4", numbered(40), gop=10)
    with av.open(str(path)) as container:
        places = [(p.pos, p.size, p.pts * p.time_base) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for pos, size, time in places:
        if 1.25 <= time < 2.5 or time >= 3.75:
            data[pos + 4 : pos + size] = bytes(size - 4)
    path.write_bytes(data)
    got = read_clip(path, 5, HEIGHT, WIDTH, Window(start=2.5, fps=8), backend="pyav")
    assert numbers(got.frames) == [20, 21, 22, 23, 24]


# --- refused by one sentence


def test_files_that_are_no_video_at_all(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "missing.mp4")
    assert "is a folder" in refusal(tmp_path)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert "0 bytes" in refusal(empty)
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 100)
    assert "is no mp4" in refusal(text)
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    assert "is no mp4" in refusal(noise)
    picture = tmp_path / "picture.mp4"
    with av.open(str(picture), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(1)[0], format="rgb24")))
        container.mux(stream.encode(None))
    assert "is no mp4" in refusal(picture)


def test_a_playlist_cannot_reach_another_file(tmp_path: Path, clip: Path) -> None:
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    assert "is no mp4" in refusal(playlist)


def test_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert "only sound" in refusal(path)


@pytest.mark.parametrize("name", ["front.mp4", "back.mp4", "clip.mkv", "clip.avi"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, HEIGHT, WIDTH, 3), dtype=np.uint8)
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = make(tmp_path / name, noise, codec=codec, front=name == "front.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    sentence = refusal(path)
    assert ("is no mp4" if name == "back.mp4" else "is cut short") in sentence


def test_turned_by_an_odd_angle(tmp_path: Path) -> None:
    assert "45 degrees" in refusal(make(tmp_path / "tilted.mp4", numbered(16), turn=45))


@pytest.mark.parametrize(
    ("cap", "value", "words"),
    [
        ("MAX_SECONDS", 4.0, "lasts 5 s"),
        ("MAX_FRAMES", 39, "more than 39 frames"),
        ("MAX_PIXELS", HEIGHT * WIDTH * 39, "more than 39 frames"),
        ("MAX_FRAME_PIXELS", HEIGHT * WIDTH - 1, f"{WIDTH}x{HEIGHT}"),
    ],
)
def test_caps(clip: Path, monkeypatch: pytest.MonkeyPatch, cap: str, value: float, words: str) -> None:
    monkeypatch.setattr(index, cap, value)
    sentence = refusal(clip)
    assert words in sentence
    assert "ffmpeg -ss" in sentence


def test_a_caller_may_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(BadSample, match=r'^"s3://bucket/horse\.mp4" does not exist'):
        read_clip(tmp_path / "copy.mp4", 16, HEIGHT, WIDTH, name="s3://bucket/horse.mp4")


def test_unknown_choices_name_the_nearest(clip: Path) -> None:
    with pytest.raises(UserError, match='did you mean "crop"'):
        read_clip(clip, 4, HEIGHT, WIDTH, fit="crp")
    with pytest.raises(UserError, match='did you mean "pyav"'):
        read_clip(clip, 4, HEIGHT, WIDTH, backend="pyva")
    with pytest.raises(UserError, match="0 frames"):
        read_clip(clip, 0, HEIGHT, WIDTH)
