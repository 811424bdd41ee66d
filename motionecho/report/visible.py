"""Text of strangers as it may be shown: nothing in it moves a cursor, sets a title, or hides what it says."""

import json
import re
from collections.abc import Callable
from unicodedata import category

# Controls, formats that are not drawn (bidirectional marks, zero widths), half a character, ends of lines.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Joiners have a say in what is drawn between letters of Arabic, Indic and like scripts, and between emoji.
JOINED = "[\u0600-\u109f\u1780-\u18af\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]"
JOINER = re.compile(f"(?<={JOINED})[\u200c\u200d](?={JOINED})")


def escaped(char: str) -> str:
    r"""Write a character as Python does: \n, \x1b, \u202e."""
    return char.encode("unicode_escape").decode()


def visible(text: str, keep: str = "", write: Callable[[str], str] = escaped) -> str:
    """Return the text with all that is not drawn written out by `write`, but for the characters in `keep`.

    Letters of every script stay, and emoji with the joiners within them.
    """
    if text.isprintable():
        return text
    joiners = {found.start() for found in JOINER.finditer(text)}
    return "".join(
        char if category(char) not in HIDDEN or char in keep or place in joiners else write(char)
        for place, char in enumerate(text)
    )


def visible_json(text: str) -> str:
    r"""Return JSON that parses to the same values, with all that is not drawn written as \uXXXX."""
    return visible(text, write=lambda char: json.dumps(char)[1:-1])
