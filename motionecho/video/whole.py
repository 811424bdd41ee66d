"""Videos as they are, for whoever looks at them rather than makes some: whole, at their own size.

What is compared is read in one way: a video and its reference that are one file give the same frames.
"""

from motionecho.video.clip import Clip, Window, frames_in, probe, read_clip

MOST_FRAMES = 128  # a longer video is read at so many frames, spread evenly
MOST_PIXELS = 1024 * 576  # a larger picture is scaled down to this area


def read_whole(path: str, name: str, background: str = "black") -> Clip:
    """Read all frames of a video at the size it is shown at, up to the limits above; as `read_clip`."""
    info = probe(path, name)
    height, width = info.shape
    scale = min(1.0, (MOST_PIXELS / (width * height)) ** 0.5)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return read_clip(path, min(info.frames, MOST_FRAMES), *size, name=name, background=background)


def read_like(
    path: str, size: tuple[int, int, int], window: Window, fit: str, name: str, background: str = "black"
) -> Clip:
    """Read a reference at a video's `size` (frames, height, width), as it was read to make that.

    Where its window has fewer than half of these frames, there are as many as it has; as `read_clip`.
    """
    frames, height, width = size
    there = frames_in(path, window, name)
    count = frames if 2 * there >= frames and (there >= frames or not window.fps) else max(1, there)
    return read_clip(path, count, height, width, window, fit, name=name, background=background)
