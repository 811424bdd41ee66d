"""Reference and videos of a pair as tiles of one file, so that a browser cannot but play them in step."""

import os

import numpy as np
from PIL import Image

from motionecho.errors import MotionEchoError, UserError
from motionecho.report.preview import ENCODERS, HEIGHT, spread
from motionecho.runs import layout
from motionecho.runs.files import fetch
from motionecho.runs.keys import file_digest
from motionecho.study.drawing import MethodVideo
from motionecho.video import Clip, probe, read_clip, write_video

EDGE = 4  # pixels around a tile, of its own edge: colours are stored coarsely, and blur into what is beside
CRF = 12  # of x264, finer than the videos themselves
LARGEST = (1024, 4096, 2304)  # pixels: a tile's longer side; width and height of a file that browsers decode
ALIKE = 1.1  # durations that differ by less are taken for equal


def write_tiles(path: str | os.PathLike[str], videos: list[MethodVideo]) -> dict[str, object]:
    """Write an mp4 with the reference as tile 0 and the videos as tiles 1, 2, ..., row by row.

    All begin and end together, at the rate of the one with most frames; tiles are of one size, pictures of
    other shapes within black bars. Small ones are enlarged unsmoothed. Returns what a page needs to take it
    apart: `tiles`, `columns`, `width` and `height` of a tile, and `edge` around it; and `unlike`, whether the
    videos last differently. Raises UserError where a file is missing, or cannot be read, or is not what its
    record says.
    """
    clips = [_read_video(video) for video in videos]
    whose, longest = max(zip(videos, clips, strict=True), key=lambda each: len(each[1].frames))
    shown = [_read_reference(whose, longest), *(clip.frames for clip in clips)]
    columns = _columns(len(shown))
    width, height = _cell([clip.frames.shape[1:3] for clip in clips], columns, -(-len(shown) // columns))
    rows = -(-len(shown) // columns)
    high, wide = height + 2 * EDGE, width + 2 * EDGE
    tiled = np.zeros((len(longest.frames), rows * high, columns * wide, 3), np.uint8)
    for number, frames in enumerate(shown):
        top, left = number // columns * high, number % columns * wide
        place = tiled[:, top : top + high, left : left + wide]
        for at, frame in enumerate(spread(frames, len(tiled))):
            place[at] = np.pad(
                _fitted(frame, width, height), ((EDGE, EDGE), (EDGE, EDGE), (0, 0)), mode="edge"
            )
    try:
        write_video(path, tiled, longest.fps, encoders=ENCODERS, crf=CRF)
    except ValueError as problem:  # no H.264 here
        raise UserError(f"a study needs H.264, which every browser plays: {problem}") from problem
    lasts = [len(clip.frames) / clip.fps for clip in clips]
    sizes = {"columns": columns, "width": width, "height": height, "edge": EDGE}
    return {"tiles": len(shown), **sizes, "unlike": max(lasts) > ALIKE * min(lasts)}


def _columns(tiles: int) -> int:
    return next(columns for columns in range(1, tiles + 1) if columns**2 >= tiles)


def _cell(shapes: list[tuple[int, ...]], columns: int, rows: int) -> tuple[int, int]:
    """Return the size of a tile, (width, height), even: the largest video's, or what a file may have."""
    height, width = (max(sides) for sides in zip(*shapes, strict=True))
    side, most_wide, most_high = LARGEST
    most = min(
        side / max(width, height),
        most_wide / columns / (width + 2 * EDGE),
        most_high / rows / (height + 2 * EDGE),
    )
    factor = min(most, max(1, HEIGHT // height))
    factor = int(factor) if factor >= 1 else factor
    return max(2, int(width * factor) // 2 * 2), max(2, int(height * factor) // 2 * 2)


def _fitted(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bring a frame to a tile's size, in its own shape between black bars; unsmoothed by whole factors."""
    if frame.shape[:2] == (height, width):
        return frame
    factor = min(width / frame.shape[1], height / frame.shape[0])
    size = max(1, round(frame.shape[1] * factor)), max(1, round(frame.shape[0] * factor))
    how = Image.Resampling.NEAREST if factor == int(factor) else Image.Resampling.BICUBIC
    tile = Image.new("RGB", (width, height))
    tile.paste(Image.fromarray(frame).resize(size, how), ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(tile)


def _read_video(video: MethodVideo) -> Clip:
    """Read a video of a run whole, at its own size."""
    place = video.store.absolute(video.video.uri)
    try:
        if not layout.is_own(video.video.uri):
            raise UserError(f'"{video.video.uri}" is no file of its run')
        with video.store.fetch(video.video.uri) as path:
            if video.video.sha256 not in (None, file_digest(path)):
                raise UserError(f'"{place}" is not what its record says')
            info = probe(path, place)
            return read_clip(path, info.frames, *info.shape, name=place)
    except MotionEchoError as problem:
        raise UserError(
            f"the video of {video.id} cannot be shown: {problem}; `motionecho batch verify {video.store.url} "
            "--requeue` has it made again"
        ) from problem


def _read_reference(video: MethodVideo, like: Clip) -> np.ndarray:
    """Read the part of the reference that a video follows, at that video's size and with as many frames."""
    try:
        with fetch(video.reference) as path:
            if video.sha256 not in (None, file_digest(path)):
                raise UserError("it is no longer the clip that was followed")
            frames, height, width, _ = like.frames.shape
            how = {"fit": video.fit, "name": video.reference, "background": video.background}
            return read_clip(path, frames, height, width, video.window, **how).frames
    except MotionEchoError as problem:
        raise UserError(
            f'the reference of {video.id}, "{video.reference}", cannot be shown: {problem}'
        ) from problem
