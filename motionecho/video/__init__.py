"""Clips: which frames of a file, at what size, and videos with their provenance inside."""

from motionecho.video.clip import Clip, VideoInfo, Window, probe, read_clip, select
from motionecho.video.write import read_provenance, write_video

__all__ = ["Clip", "VideoInfo", "Window", "probe", "read_clip", "read_provenance", "select", "write_video"]
