"""How Wan reads texts: UMT5's states of 512 tokens, zeros where there is no text."""

import html
import re

import ftfy

from motionecho.models.t5.encoder import UMT5
from motionecho.models.t5.text import Reading


def clean(prompt: str) -> str:
    """Return a prompt as Wan was trained to read it: broken letters mended, no HTML, single blanks."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(ftfy.fix_text(prompt)))).strip()


READING = Reading(UMT5, tokens=512, pads_count=False, clean=clean)
lost = READING.lost  # by this name a spec knows it
