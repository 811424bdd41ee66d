"""Kinds of clips that people send, made here: read as players show them, by either decoder, or refused."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import HEIGHT, WIDTH, make, numbered, numbers, refusal

from motionecho.video import Window, probe, read_clip
from motionecho.video.clip import frames_in
from motionecho.video.shown import shows
from motionecho.video.whole import read_like, read_whole

COLOURS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "Y": (255, 255, 0)}
ONE = 1 << 16


def cornered(count: int = 6, height: int = 48, width: int = 96) -> np.ndarray:
    """Frames that tell what is up and what is left: their corners are red, green, blue and yellow."""
    frames = numbered(count, height, width)
    places = ((slice(0, 16), slice(0, 16)), (slice(0, 16), slice(-16, None)),
              (slice(-16, None), slice(0, 16)), (slice(-16, None), slice(-16, None)))  # fmt: skip
    for (rows, columns), colour in zip(places, COLOURS.values(), strict=True):
        frames[:, rows, columns] = colour
    return frames


def corners(frame: np.ndarray) -> str:
    """Name the colours of the corners: above left and right, below left and right."""
    found = [frame[y, x].astype(int) for y in (4, -5) for x in (4, -5)]
    return "".join(min(COLOURS, key=lambda name: np.abs(pixel - COLOURS[name]).sum()) for pixel in found)


def remuxed(path: Path, to: Path, change: Callable[[list[Any]], Iterator[Any]]) -> Path:
    """Copy a film's packets to another file, each as `change` yields them."""
    with av.open(str(path)) as source, av.open(str(to), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in change([packet for packet in source.demux(video=0) if packet.size]):
            packet.stream = stream
            target.mux(packet)
    return to


PLAIN = {"x264-params": "bframes=0"}


@pytest.mark.skipif(not hasattr(av.video.stream.VideoStream, "set_display_matrix"), reason="PyAV before 18")
@pytest.mark.parametrize(
    ("matrix", "seen"),
    [
        ((1, 0, 0, 1), "RGBY"), ((-1, 0, 0, 1), "GRYB"), ((1, 0, 0, -1), "BYRG"), ((-1, 0, 0, -1), "YBGR"),
        ((0, 1, -1, 0), "BRYG"), ((0, -1, 1, 0), "GYRB"), ((0, 1, 1, 0), "RBGY"), ((0, -1, -1, 0), "YGBR"),
    ],
)  # fmt: skip
def test_all_eight_orientations_are_as_players_show_them(
    tmp_path: Path, matrix: tuple[int, int, int, int], seen: str
) -> None:
    """A point (x, y) is shown at (ax + cy, bx + dy); mirrored ones are PyAV's, as decord only turns."""
    a, b, c, d = (ONE * part for part in matrix)
    path = make(tmp_path / "clip.mp4", cornered(), matrix=(a, b, 0, c, d, 0, 0, 0, 1 << 30))
    height, width = (96, 48) if a == 0 else (48, 96)
    info = probe(path)
    assert (info.height, info.width) == (height, width)
    clip = read_clip(path, 6, height, width)
    assert [corners(frame) for frame in clip.frames] == [seen] * 6
    assert info.orientation.mirrored == (matrix[0] * matrix[3] - matrix[1] * matrix[2] < 0)
    assert clip.backend == "pyav" or not info.orientation.mirrored


@pytest.mark.parametrize("name", ["twice.mkv", "twice.webm"])
def test_one_odd_stamp_costs_no_other(tmp_path: Path, name: str) -> None:
    """Two neighbours bear one time in a film of uneven times: all others are as they were."""
    at_ms = [*range(0, 480, 40), *range(500, 2900, 100)]
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    options = {"lag-in-frames": "0"} if codec != "libx264" else PLAIN
    path = make(tmp_path / f"even{name[5:]}", numbered(36), codec=codec, options=options, at_ms=at_ms)
    wanted = read_clip(path, 8, HEIGHT, WIDTH).indices

    def twice(packets: list[Any]) -> Iterator[Any]:
        packets[21].pts = packets[21].dts = packets[20].pts
        yield from packets

    odd = read_clip(remuxed(path, tmp_path / name, twice), 8, HEIGHT, WIDTH)
    assert odd.info.frames == 36
    assert odd.indices == wanted
    assert numbers(odd.frames) == list(wanted)


def test_a_piece_of_a_longer_film_is_whole(tmp_path: Path) -> None:
    """Its times do not begin at 0, and its header may count from the longer one's beginning."""
    for name, codec in (("piece.mkv", "libx264"), ("piece.webm", "libvpx-vp9")):
        path = make(tmp_path / f"film-{name}", numbered(40), codec=codec)

        def later(packets: list[Any]) -> Iterator[Any]:
            for packet in packets:
                packet.pts += 9000
                packet.dts = None if packet.dts is None else packet.dts + 9000
                yield packet

        piece = read_clip(remuxed(path, tmp_path / name, later), 40, HEIGHT, WIDTH)
        assert numbers(piece.frames) == list(range(40))
        with av.open(str(tmp_path / name)) as container:
            middle = [packet.pos for packet in container.demux(video=0) if packet.size][30]
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:middle])
        assert "is cut short" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["begins.mkv", "begins.mp4"])
def test_what_leans_on_a_part_that_was_cut_off_is_no_frame(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / f"whole{name[6:]}", numbered(40), gop=10, options=PLAIN)
    piece = remuxed(path, tmp_path / name, lambda packets: iter(packets[5:]))
    assert probe(piece).frames == 30
    assert numbers(read_clip(piece, 30, HEIGHT, WIDTH).frames) == list(range(10, 40))


def test_packets_that_show_nothing_are_no_frames(tmp_path: Path) -> None:
    """As encoders of two passes write them: a hidden picture that others lean on, before the next one."""
    path = make(tmp_path / "film.webm", numbered(40), codec="libvpx", gop=10)

    def with_hidden(packets: list[Any]) -> Iterator[Any]:
        for packet in packets:
            if packet.is_keyframe:
                data = bytes(packet)
                hidden = av.Packet(bytes([data[0] & ~0x10]) + data[1:])
                hidden.pts, hidden.dts, hidden.time_base = packet.pts, packet.dts, packet.time_base
                hidden.is_keyframe = True
                yield hidden
            yield packet

    hiding = remuxed(path, tmp_path / "hidden.webm", with_hidden)
    with av.open(str(hiding)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) > 40
    assert probe(hiding).frames == 40
    assert numbers(read_clip(hiding, 40, HEIGHT, WIDTH).frames) == list(range(40))
    assert numbers(read_clip(hiding, 4, HEIGHT, WIDTH, Window(start=2.5, fps=8)).frames) == [20, 21, 22, 23]


@pytest.mark.parametrize(
    ("codec", "data", "seen"),
    [
        ("vp8", b"\x10\0\0", True), ("vp8", b"\x00\0\0", False),
        ("vp9", b"\x82", True), ("vp9", b"\x80", False), ("vp9", b"\x88", True),
        ("vp9", b"\xb1", True), ("vp9", b"\xb0", False),  # profile 3 has one bit more
        ("vp9", b"\x80" + b"\x82" + b"\xc1\x01\x01\xc1", True),  # a hidden one and a shown one
        ("vp9", b"\x80" + b"\x80" + b"\xc1\x01\x01\xc1", False),
        ("h264", b"\0", True), ("vp9", b"", False),
    ],
)  # fmt: skip
def test_a_frame_s_first_byte_tells_whether_it_is_shown(codec: str, data: bytes, seen: bool) -> None:
    assert shows(codec, data) == seen


def test_slots_without_a_picture_count_as_time(tmp_path: Path) -> None:
    """An avi whose camera dropped pictures: its header counts their slots, and so does its clock."""
    at = [0, 1, 2, 3, 7, 8, 9, 10, 14, 15]
    path = make(tmp_path / "dropped.avi", numbered(10), codec="mjpeg", pixels="yuvj420p")

    def spread(packets: list[Any]) -> Iterator[Any]:
        for place, packet in zip(at, packets, strict=True):
            packet.pts = packet.dts = place
            yield packet

    gappy = remuxed(path, tmp_path / "gappy.avi", spread)
    info = probe(gappy)
    assert (info.frames, info.duration) == (10, pytest.approx(2.0))
    assert numbers(read_clip(gappy, 3, HEIGHT, WIDTH, Window(start=0.875, fps=8)).frames) == [4, 5, 6]


def see_through(count: int = 8) -> np.ndarray:
    """RGBA: an opaque disc that moves right over a hidden background that moves left."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frames = np.zeros((count, HEIGHT, WIDTH, 4), np.uint8)
    for k in range(count):
        frames[k, ..., 1] = np.where((x + 6 * k) // 16 % 2, 220, 20)
        disc = (x - 14 - 5 * k) ** 2 + (y - 24) ** 2 < 100
        frames[k][disc] = (230, 30, 30, 255)
    return frames


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("removed.webm", "libvpx-vp9", "yuva420p"), ("removed8.webm", "libvpx", "yuva420p"),
        ("removed.mov", "prores_ks", "yuva444p10le"), ("png.mov", "png", "rgba"),
        ("rle.mov", "qtrle", "argb"), ("ffv1.mkv", "ffv1", "yuva420p"),
    ],
)  # fmt: skip
def test_a_removed_background_is_not_seen(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    """Whichever way a file keeps its transparency; what is there may be any colour that one asks for."""
    frames = see_through()
    options = {"auto-alt-ref": "0"} if codec == "libvpx" else {}
    path = make(tmp_path / name, frames, codec=codec, pixels=pixels, input="rgba", options=options)
    for background, grey in (("black", 0), ("white", 255), ("#404040", 64)):
        clip = read_clip(path, 8, HEIGHT, WIDTH, background=background)
        outside = frames[..., 3] == 0
        far = outside & ~np.roll(~outside, 3, axis=2) & ~np.roll(~outside, -3, axis=2)
        far &= ~np.roll(~outside, 3, axis=1) & ~np.roll(~outside, -3, axis=1)
        assert np.abs(clip.frames[far].astype(int) - grey).max() <= 16
        middles = clip.frames[np.arange(8), 24, 14 + 5 * np.arange(8)].astype(int)
        assert (middles[:, 0] > 150).all()
        assert (middles[:, 1] < 90).all()
    assert clip.backend == "pyav"


@pytest.mark.parametrize(("transfer", "kind"), [("arib-std-b67", "HLG"), ("smpte2084", "PQ"), ("bt709", "")])
def test_high_dynamic_range_is_read_and_said(tmp_path: Path, transfer: str, kind: str) -> None:
    wide = "bt2020" if kind else "bt709"
    params = f"transfer={transfer}:colorprim={wide}:colormatrix={wide if not kind else 'bt2020nc'}"
    options = {"x265-params": f"{params}:log-level=none:bframes=0"}
    path = make(tmp_path / "hdr.mp4", numbered(8), codec="libx265", pixels="yuv420p10le", options=options)
    clip = read_clip(path, 8, HEIGHT, WIDTH)
    assert clip.info.hdr == kind
    assert [f"is HDR ({kind})" in remark for remark in clip.remarks] == [True] * bool(kind)


@pytest.mark.parametrize("fit", ["crop", "resize", "pad"])
@pytest.mark.parametrize(
    "how",
    [
        {}, {"aspect": Fraction(4, 3)}, {"aspect": Fraction(9, 16)}, {"turn": 90},
        {"turn": 90, "aspect": Fraction(4, 3)}, {"at_ms": [0, 40, 80, 120, 200, 280, 500, 900]},
    ],
    ids=str,
)  # fmt: skip
def test_a_video_and_its_reference_that_are_one_file_are_read_alike(
    tmp_path: Path, how: dict[str, Any], fit: str
) -> None:
    path = str(make(tmp_path / "clip.mp4", cornered(8, 48, 96), **how))
    video = read_whole(path, path)
    reference = read_like(path, video.frames.shape[:3], Window(), fit, path)
    np.testing.assert_array_equal(video.frames, reference.frames)
    assert video.frames.shape[1:3] == probe(path).shape


@pytest.mark.parametrize(
    ("window", "frames", "read"),
    [
        (Window(), 16, 16), (Window(start=1.0, duration=1.0), 16, 16), (Window(), 100, 40),
        (Window(start=1.0, duration=0.75), 16, 6), (Window(start=1.0, duration=1.0, fps=4), 16, 4),
        (Window(start=1.0, fps=8), 8, 8),
    ],
)  # fmt: skip
def test_a_reference_is_read_as_it_was_for_the_video_or_as_many_frames_as_it_has(
    tmp_path: Path, window: Window, frames: int, read: int
) -> None:
    path = str(make(tmp_path / "clip.mp4", numbered(40)))
    clip = read_like(path, (frames, HEIGHT, WIDTH), window, "crop", path)
    assert len(clip.frames) == read
    assert frames_in(path, Window(start=1.0, duration=1.0)) == 8
    if read == frames:
        assert clip.indices == read_clip(path, frames, HEIGHT, WIDTH, window).indices


def test_what_an_edit_list_leaves_out_was_not_cut_off(tmp_path: Path) -> None:
    """The header counts all frames of the file, and players show a part."""
    path = make(tmp_path / "clip.mp4", numbered(40), gop=10, options=PLAIN)
    data = path.read_bytes()
    edits = data.index(b"elst")
    unit = int.from_bytes(data[edits + 8 : edits + 12], "big")
    assert unit == 1, "one edit"
    scale = data.index(b"mvhd") + 16
    second = int.from_bytes(data[scale : scale + 4], "big")
    edited = bytearray(data)
    edited[edits + 12 : edits + 16] = second.to_bytes(4, "big")  # one second of it
    path.write_bytes(edited)
    assert probe(path).frames == 8
    assert numbers(read_clip(path, 8, HEIGHT, WIDTH).frames) == list(range(8))
