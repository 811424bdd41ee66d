"""Places that people and tables name: what of a URL may be opened, and what of it is stored and shown.

A text with a scheme is a URL, any other a path, taken as it is written. A login and a signature in a URL open
a file and do not name it: a `Place` reads, prints, hashes and is stored without them, and keeps them in
memory for opening. `***` stands where something was left out, so that a place read back is known to lack it.
"""

import os
import re
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import quote, unquote

from motionecho.errors import UserError

ALLOWED = ("file", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https", "hf")
MORE = "MOTIONECHO_PROTOCOLS"  # further ones, between commas; no table and no run can set it
WEB = ("http", "https")
LEFT_OUT = "***"

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
CHAIN = re.compile(r"^[A-Za-z][\w+.-]*::|::[A-Za-z][\w+.-]*://")
LACKS = re.compile(r"://\*\*\*@|[?&;]\*\*\*(?=[?&;/]|$)")
IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s/?#@\"<>]*@)?[^\s\"'<>`\\]*")
BROKEN_PORT = re.compile(r"[^\[\]@:]+:(?!\d*$)[^@]*")  # a password where a port belongs
SHORTEST = 6  # letters of a secret that is looked for outside of URLs, too

# Parameters of a query that say which file is meant; of all others only small plain values are kept, and none
# beside a signature.
NAMING = re.compile(
    "ids?|v|vid|video|(video|file|asset|version|res)_?id|file|file_?name|path|name|clip|movie|doc|item|asset"
    "|object|version|generation|rev|revision|ref|export|alt|format|fmt|ext|quality|resolution|res|width"
    "|height|fps|start|end|frame|camera|cam|take|scene|shot|part|segment|index|list|playlist|raw|download|media"
)
SECRET = re.compile(
    r"token|secret|passw|pwd|auth|cred|sig|hmac|hash|key|session|jwt|policy|expire|cookie|ticket|otp"
    r"|^(x|q)-|^hdn|^verify$|^code$|^pass$|^pin$|^pw?$"
)
PLAIN = re.compile(r"[A-Za-z_]{0,8}|[\d.,:x-]{1,9}|[a-z]{0,3}\d{1,4}[a-z]?")
KEYLIKE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=~.%-]{20,}")


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
        for secret in _secrets(self.full):
            text = text.replace(secret, LEFT_OUT)
        return told(text)


def opened(place: str) -> str:
    """Return the text that opens a place."""
    return place.full if isinstance(place, Place) else place


def protocol_of(place: str) -> str:
    """Return the protocol of a URL, in small letters; "file" of a path."""
    found = SCHEME.match(place)
    return found[1].lower() if found else "file"


def is_url(text: str) -> bool:
    return SCHEME.match(text) is not None


def lacks(text: str) -> bool:
    """Tell a URL whose login or signature was left out when it was stored."""
    return "://" in text and LACKS.search(text) is not None


def local_path(text: str) -> str:
    """Return the absolute path of a path, as it is written, or of a file:// URL, whose %XX are decoded."""
    found = SCHEME.match(text)
    if found:
        text = unquote(text[found.end() :].removeprefix("localhost"), errors="surrogateescape")
    return os.path.abspath(os.path.expanduser(text))


def check(place: str) -> None:
    """Raise UserError where a place is not opened on purpose, or cannot be: whoever named it."""
    text, shown = opened(place), Place(place)
    protocol, allowed = protocol_of(text), (*ALLOWED, *re.findall(r"[\w+.-]+", os.environ.get(MORE, "")))
    if "://" in text and CHAIN.search(text):
        raise UserError(f'"{shown}" chains protocols, which is not opened: name the file itself')
    if protocol not in allowed:
        raise UserError(
            f'"{shown}" has the protocol "{protocol}", which is not opened: use {", ".join(ALLOWED)} or a '
            f"path; {MORE}={protocol} in the environment allows it"
        )
    if lacks(text):
        raise UserError(
            f'"{shown}" was given with a login or a signature, which is not stored: name it again in full'
        )
    if protocol == "file" and is_url(text) and not re.match("file://(localhost)?/", text, re.IGNORECASE):
        raise UserError(f'"{shown}" names a machine where a file:// URL has a path: file:///folder/file')
    if "://***@" in shown and protocol in ALLOWED and protocol not in WEB:
        raise UserError(f'"{shown}" has a login, which {protocol}:// takes from the environment alone')


def bare(url: str) -> str:
    """Return a URL as it is stored and shown: without login, signature, and what is not known to name a file.

    A path stays as it is, but for a URL within it.
    """
    found = SCHEME.match(url)
    if found is None:
        return told(url)
    return found[0] + "".join(text for text, _ in _parts(url))


def told(text: str) -> str:
    """Return a text as it may be stored and shown: every URL in it is bare."""
    return IN_TEXT.sub(lambda found: bare(found[0]), text) if "://" in text else text


def carried(value: Any) -> Any:
    """Return a value of a table, nested as it may be; its URLs with a login or a signature are made bare."""
    if isinstance(value, str):
        if "://" not in value:
            return value
        return IN_TEXT.sub(lambda found: bare(found[0]) if _holds_secret(found[0]) else found[0], value)
    if isinstance(value, list | tuple):
        return [carried(item) for item in value]
    if isinstance(value, dict):
        return {carried(name): carried(item) for name, item in value.items()}
    return value


# --- the parts of a URL


def _parts(url: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the pieces of a URL behind its scheme as they are shown, each with what was left out of it."""
    protocol, rest = protocol_of(url), url.partition("://")[2]
    return _web(rest) if protocol in WEB else _other(rest, protocol != "file")


def _web(rest: str) -> Iterator[tuple[str, list[str]]]:
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(host) :]
    if BROKEN_PORT.fullmatch(host):  # "user:pass/word@host", or as much of that as a text has
        login, at, rest = rest.rpartition("@") if "@" in tail else (host, "@", tail)
        host = re.split("[/?#]", rest, maxsplit=1)[0]
        tail = rest[len(host) :]
    else:
        login, at, host = host.rpartition("@")
    yield f"{LEFT_OUT}@{host}" if at else host, [login, login.partition(":")[2]]
    path, mark, query = tail.split("#")[0].partition("?")
    yield _path(path)
    yield _query(query) if mark else ("", [])


def _other(rest: str, queried: bool) -> Iterator[tuple[str, list[str]]]:
    """Elsewhere a name alone is no login, and a question mark is the path's unless a signature follows."""
    inner = SCHEME.search(rest)  # of a chain, which is not opened but shown
    rest, nested = (rest[: inner.start()], rest[inner.start() :]) if inner else (rest, "")
    host, slash, tail = rest.partition("/")
    login, at, machine = host.rpartition("@")
    secret = at and ":" in unquote(login)
    yield (f"{LEFT_OUT}@{machine}", [login, login.partition(":")[2]]) if secret else (host, [])
    path, _, query = tail.partition("?")
    signed = queried and _is_signed(query)
    yield slash + (path if signed else tail), []
    if signed:
        yield _query(query)
    yield bare(nested), [nested] if bare(nested) != nested else []


def _path(path: str) -> tuple[str, list[str]]:
    """Leave out of a web path what looks like a session (`;name=value`), and the login of a URL within it."""
    gone: list[str] = []

    def shown(found: re.Match[str]) -> str:
        name, nested = found[1], found[3]
        text = bare(nested) if nested else f";{LEFT_OUT}" if SECRET.search(_plainly(name)) else found[0]
        gone.extend([found[2] or nested] if text != found[0] else [])
        return text

    return re.sub(r";([^/;=]*)=([^/;]*)|([A-Za-z][A-Za-z0-9+.-]*://.*)", shown, path), gone


def _query(query: str) -> tuple[str, list[str]]:
    """Keep of a query what names the file; one that is signed keeps no other parameter."""
    signed, kept, gone = _is_signed(query), list[str](), list[str]()
    for name, value in _items(query):
        if _names(name, value) or (not signed and PLAIN.fullmatch(name) and PLAIN.fullmatch(value)):
            kept.append(f"{name}={value}")
        else:
            gone.append(value or name)
    if gone:
        kept.append(LEFT_OUT)
    return ("?" if kept else "") + "&".join(each.removesuffix("=") for each in kept), gone


def _items(query: str) -> list[tuple[str, str]]:
    items = (item.partition("=") for item in re.split("[&;]", query) if item)
    return [(name, value) for name, _, value in items]


def _names(name: str, value: str) -> bool:
    return bool(NAMING.fullmatch(_plainly(name))) and not re.search("[?&=@]|://", _plainly(value))


def _is_signed(query: str) -> bool:
    names = [_plainly(name) for name, _ in _items(query)]
    return any(SECRET.search(name) and not NAMING.fullmatch(name) for name in names)


def _holds_secret(url: str) -> bool:
    """Tell a URL with a login, a signature, or a parameter that can only be a key."""
    if "***@" in bare(url) or f";{LEFT_OUT}" in bare(url):
        return True
    query = url.partition("?")[2]
    items = [(name, value) for name, value in _items(query) if not _names(name, value)]
    return _is_signed(query) or any(KEYLIKE.fullmatch(value or name) for name, value in items)


def _plainly(text: str) -> str:
    """Undo percent signs, also of percent signs, and capitals."""
    for _ in range(3):
        text = unquote(text)
    return text.lower()


def _secrets(url: str) -> list[str]:
    """List what a URL's bare form leaves out, as written and decoded, the longest first."""
    found = {secret for _, gone in _parts(url) for secret in gone} if is_url(url) else set()
    return sorted((each for each in {*found, *map(unquote, found)} if len(each) >= SHORTEST), key=len)[::-1]
