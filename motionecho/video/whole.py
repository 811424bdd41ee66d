"""Videos as they are, for whoever looks at them rather than makes some: whole, at their own size."""

from motionecho.video.clip import Clip, Window, probe, read_clip

MOST_FRAMES = 128  # a longer video is read at so many frames, spread evenly
MOST_PIXELS = 1024 * 576  # a larger picture is scaled down to this area


def read_whole(path: str, name: str) -> Clip:
    """Read all frames of a video at its own size, up to the limits above; BadSample as `read_clip`."""
    info = probe(path, name)
    scale = min(1.0, (MOST_PIXELS / (info.width * info.height)) ** 0.5)
    height, width = max(1, round(info.height * scale)), max(1, round(info.width * scale))
    return read_clip(path, min(info.frames, MOST_FRAMES), height, width, Window(), "resize", name=name)


def read_like(path: str, size: tuple[int, int, int], window: Window, fit: str, name: str) -> Clip:
    """Read a reference as a video is, `size` in frames, height and width, or as many frames as it has."""
    frames, height, width = size
    count = frames if window.fps else min(frames, probe(path, name).frames)
    return read_clip(path, count, height, width, window, fit, name=name)
