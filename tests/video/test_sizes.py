"""Frames that do not keep their size, or hide it: no decoder sees them, on any machine."""

from pathlib import Path

import av
import pytest
from av.bitstream import BitStreamFilterContext
from films import HEIGHT, INSTALLED, WIDTH, both, joined, make, numbered, numbers, refusal

from motionecho.errors import BadSample
from motionecho.video import Window, index, probe, read_clip

FIRST_HALF = Window(duration=0.7)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("size", [(2 * WIDTH, WIDTH), (2 * HEIGHT, 2 * WIDTH)], ids=["turned", "grown"])
def test_a_size_that_changes_is_refused_whatever_part_is_asked_for(
    tmp_path: Path, name: str, codec: str, size: tuple[int, int]
) -> None:
    path = joined(tmp_path / name, [numbered(8), numbered(8, *size)], codec)
    told = f"changes its size from {WIDTH}x{HEIGHT} to {size[1]}x{size[0]} at frame 8; "
    assert told in refusal(path)
    assert told in refusal(path, 4, window=FIRST_HALF)
    with pytest.raises(BadSample, match="changes its size"):
        probe(path)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9", "mjpeg", "mpeg4", "mpeg2video"])
def test_where_only_decoding_tells_the_size_every_decoded_frame_is_looked_at(
    tmp_path: Path, codec: str
) -> None:
    path = joined(tmp_path / "clip.mkv", [numbered(8), numbered(8, WIDTH, HEIGHT)], codec)
    with pytest.raises(BadSample, match=rf"from {WIDTH}x{HEIGHT} to {HEIGHT}x{WIDTH} at frame 8; "):
        read_clip(path, 16, HEIGHT, WIDTH)
    with pytest.raises(BadSample, match="decord cannot read"):
        read_clip(path, 16, HEIGHT, WIDTH, backend="decord")
    assert read_clip(path, 4, HEIGHT, WIDTH, FIRST_HALF).backend == "pyav"
    with pytest.raises(BadSample, match=f"to {HEIGHT}x{WIDTH}"):
        read_clip(path, 2, HEIGHT, WIDTH, Window(start=1.5, fps=8))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "mjpeg"])
def test_frames_that_grow_beyond_the_cap_are_never_decoded(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = joined(tmp_path / "clip.mkv", [numbered(40), numbered(2, 8 * HEIGHT, 8 * WIDTH)], codec)
    monkeypatch.setattr(index, "MAX_FRAME_PIXELS", 4 * HEIGHT * WIDTH)
    decoded = []
    seen = index.check_size
    monkeypatch.setattr("motionecho.video.decode.check_size", lambda *of: decoded.append(of[2]) or seen(*of))
    with pytest.raises(BadSample, match=f"to {8 * WIDTH}x{8 * HEIGHT} at frame 40|grow beyond what is read"):
        read_clip(path, 42, HEIGHT, WIDTH)
    assert set(decoded) <= {WIDTH}


def test_what_is_cut_off_at_the_margins_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream may say that just a corner of its frames is shown; memory is taken for all of them."""
    large, path = make(tmp_path / "large.mp4", numbered(4, 8 * HEIGHT, 8 * WIDTH)), tmp_path / "corner.mp4"
    with av.open(str(large)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        corner = f"h264_metadata=crop_right={7 * WIDTH}:crop_bottom={7 * HEIGHT}"
        cut = BitStreamFilterContext(corner, stream, copy)
        for packet in source.demux(stream):
            for left in cut.filter(packet) if packet.size else ():
                left.stream = copy
                target.mux(left)
    assert both(path, 4).shape == (4, HEIGHT, WIDTH, 3)
    monkeypatch.setattr(index, "MAX_FRAME_PIXELS", 4 * HEIGHT * WIDTH)
    assert f"has {8 * WIDTH}x{8 * HEIGHT} frames" in refusal(path, 4)
    monkeypatch.setattr(index, "MAX_FRAME_PIXELS", 2**25)
    monkeypatch.setattr(index, "MAX_PIXELS", 4 * HEIGHT * WIDTH)
    assert "has more than 0 frames, too many to read at its size" in refusal(path, 4)


@pytest.mark.parametrize("codec", ["libvpx-vp9", "mjpeg"])
def test_a_size_beyond_the_cap_from_the_start_is_said(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = joined(tmp_path / "clip.mkv", [numbered(4)], codec)
    monkeypatch.setattr(index, "MAX_FRAME_PIXELS", HEIGHT * WIDTH - 1)
    assert f"of more than {HEIGHT * WIDTH - 1} pixels" in refusal(path, 4)


def test_parts_of_one_size_are_read(tmp_path: Path) -> None:
    """Parameter sets repeated, or changed in what is no size, as when segments of a broadcast are joined."""
    repeated = joined(tmp_path / "repeated.mkv", [numbered(8), numbered(16)[8:]])
    assert numbers(both(repeated, 16)) == list(range(16))

    other = tmp_path / "other.mkv"
    with av.open(str(other), "w") as target:
        stream = None
        for part, profile in enumerate(("high", "baseline")):
            piece = make(
                tmp_path / f"{profile}.mp4", numbered(16)[8 * part :][:8], options={"profile": profile}
            )
            with av.open(str(piece)) as source:
                mine = source.streams.video[0]
                stream = stream or target.add_stream_from_template(mine)
                bare = BitStreamFilterContext("h264_mp4toannexb", mine)
                for packet in source.demux(mine):
                    for left in bare.filter(packet) if packet.size else ():
                        shift = round(part / left.time_base)
                        left.pts, left.dts, left.stream = left.pts + shift, left.dts + shift, stream
                        target.mux(left)
    clip = read_clip(other, 16, HEIGHT, WIDTH)
    assert (numbers(clip.frames), clip.backend) == (list(range(16)), "pyav")


def test_a_header_that_says_otherwise_and_a_second_picture_are_left_to_pyav(tmp_path: Path) -> None:
    says = joined(tmp_path / "says.mkv", [numbered(16)], header=(2 * HEIGHT, 2 * WIDTH))
    two = tmp_path / "two.mp4"
    with av.open(str(make(tmp_path / "one.mp4", numbered(16)))) as source, av.open(str(two), "w") as target:
        streams = [target.add_stream_from_template(source.streams.video[0]) for _ in range(2)]
        for stream in streams:
            source.seek(0)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
    for path in (says, two):
        clip = read_clip(path, 16, HEIGHT, WIDTH)
        assert (numbers(clip.frames), clip.backend) == (list(range(16)), "pyav")
    plain = read_clip(tmp_path / "one.mp4", 16, HEIGHT, WIDTH)
    assert plain.backend == INSTALLED[0]
