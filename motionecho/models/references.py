"""A reference clip at a pair's size, read without the pair: what is no good is told before torch is there."""

from motionecho.errors import Changed
from motionecho.models.spec import PairSpec
from motionecho.runs.files import fetch
from motionecho.runs.keys import file_digest
from motionecho.video import Clip, Window, read_clip

WHOLE = Window()


def read_reference(
    uri: str,
    spec: PairSpec,
    window: Window = WHOLE,
    fit: str = "crop",
    background: str = "black",
    sha256: str | None = None,
) -> Clip:
    """Read a clip, path or URL, at a pair's size and length, without the pair; the rest as `read_clip`.

    Raises BadSample where it cannot be read, Unreachable where it cannot be had now, and Changed where its
    bytes are no longer those of `sha256`.
    """
    with fetch(uri) as path:
        if sha256 not in (None, file_digest(path)):
            raise Changed(f'"{uri}" changed while the run went on; submit again')
        size = spec.frames, spec.height, spec.width
        return read_clip(path, *size, window, fit, name=uri, background=background)
