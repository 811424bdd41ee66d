"""Places that people and tables name: what may be opened, and as what it is stored and shown.

A text with a scheme is a URL, any other a path, taken as it is written. A `Place` reads, prints, hashes and
is stored as its bare URL (`urls.py`), and keeps what opens it in memory.
"""

import os
import re
from typing import Self
from urllib.parse import quote, unquote

from motionecho.errors import UserError
from motionecho.runs.urls import LEFT_OUT, WEB, bare, is_url, lacks, protocol_of, secrets_of, told

ALLOWED = ("file", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https", "hf")
MORE = "MOTIONECHO_PROTOCOLS"  # further ones, between commas; no table and no run can set it
CHAIN = re.compile(r"^[A-Za-z][\w+.-]*::|::[A-Za-z][\w+.-]*://")
HERE = re.compile("file://(localhost)?(?=/)", re.IGNORECASE)


class Place(str):
    """A place as it is stored and shown: a text. `full` is what opens it, and never leaves memory."""

    full: str

    def __new__(cls, text: str, shown: str | None = None) -> Self:
        """Make a place of a path or URL; `shown` says how to write one that is neither."""
        if isinstance(text, cls):
            return text
        place = super().__new__(cls, bare(text) if shown is None else shown)
        place.full = text
        return place

    @property
    def is_secret(self) -> bool:
        """Tell whether it is opened with a login or a signature."""
        return lacks(self) and not lacks(self.full)

    @property
    def name(self) -> str:
        """The last part of its path, without what follows in a URL."""
        if protocol_of(self.full) == "file":
            return os.path.basename(local_path(self.full))
        path = re.split("[?#;]" if protocol_of(self) in WEB else r"\?\*", self, maxsplit=1)[0]
        return path.rstrip("/").rsplit("/", 1)[-1]

    def beside(self, name: str) -> "Place":
        """Return the place that a path means which is written in the file at this place."""
        if protocol_of(self.full) == "file":
            return Place(os.path.join(os.path.dirname(local_path(self.full)), name))
        url, web = self.full, protocol_of(self.full) in WEB
        url = re.split("[?#]", url, maxsplit=1)[0] if web else url
        scheme, _, rest = url.partition("://")
        folder = rest.rpartition("/")[0] or (rest if web else "")
        return Place(f"{scheme}://{folder}{'/' if folder else ''}{quote(name) if web else name}")

    def within(self, name: str) -> "Place":
        """Return the place of a file in the folder at this place, opened with what opens the folder."""
        if protocol_of(self.full) not in WEB:
            return Place(f"{self.full.rstrip('/')}/{name}")
        path, mark, query = self.full.partition("?")
        return Place(f"{path.rstrip('/')}/{name}{mark}{query}")

    def told(self, text: str) -> str:
        """Return an exception's text, say, as it may be stored and shown, without what opens this place."""
        for secret in secrets_of(self.full):
            text = text.replace(secret, LEFT_OUT)
        return told(text)


def opened(place: str) -> str:
    """Return the text that opens a place."""
    return place.full if isinstance(place, Place) else place


def local_path(text: str) -> str:
    """Return the absolute path of a path, as it is written, or of a file:// URL, whose %XX are decoded.

    `~` at the beginning is the home, unless there is a file or folder of that very name.
    """
    if is_url(text):
        rest = HERE.sub("", text) if HERE.match(text) else text.partition("://")[2]
        return os.path.abspath(unquote(rest, errors="surrogateescape"))
    literal = not text.startswith("~") or os.path.lexists(text.partition("/")[0])
    return os.path.abspath(text if literal else os.path.expanduser(text))


def check(place: str) -> None:
    """Raise UserError where a place is not opened on purpose, or cannot be: whoever named it."""
    text, shown = opened(place), Place(place)
    protocol = protocol_of(text)
    if "://" in text and CHAIN.search(text):
        raise UserError(f'"{shown}" chains protocols, which is not opened: name the file itself')
    if protocol not in ALLOWED and protocol not in re.findall(r"[\w+.-]+", os.environ.get(MORE, "")):
        raise UserError(
            f'"{shown}" has the protocol "{protocol}", which is not opened: use {", ".join(ALLOWED)} or a '
            f"path; {MORE}={protocol} in the environment allows it"
        )
    if lacks(text):
        raise UserError(
            f'"{shown}" was given with a login or a signature, which is not stored: name it again in full'
        )
    if protocol == "file" and is_url(text) and not HERE.match(text):
        raise UserError(f'"{shown}" names a machine where a file:// URL has a path: file:///folder/file')
    if "://***@" in shown and protocol in ALLOWED and protocol not in WEB:
        raise UserError(f'"{shown}" has a login, which {protocol}:// takes from the environment alone')
