"""URLs as texts: their protocol, and what of them is stored and shown.

A login and a signature open a file and do not name it. Wherever a URL is kept, printed or hashed they are
left out, by what is known of how services write them: in doubt a piece goes. `***` stands where one was, so
that a URL read back is known to lack it.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

WEB = ("http", "https")
LEFT_OUT = "***"

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
LACKS = re.compile(r"://\*\*\*@|[?&;/]\*\*\*(?=[?&;/]|$)")
# A password in a running text may hold anything but "@", if it does not look like a port.
IN_TEXT = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://"
    r"(?:[^\s/?#@\"'<>:]*:(?!\d{0,5}(?:[/?#\s)\],.;'\"]|$))[^@\n]{1,128}@(?=[\w.\[-])|[^\s/?#@\"<>]*@)?"
    r"[^\s\"'<>`\\]*"
)
MISTYPED = re.compile(r"\b((?:https?|s3a?|gs|gcs|az|abfss?|hf|s?ftp):/?)(?!/)[^\s/:@]*:[^\s@]+@")
LAST = ".,:;!?)]}"  # of a text rather than of the URL before it
BROKEN_PORT = re.compile(r"[^\[\]@:]+:(?!\d*$)[^@]*")  # a password where a port belongs
# A password that looks like a port up to its first slash: what follows "@" is a host then.
PORT_LIKE = re.compile(
    r"(?:[^.\[\]@:]+:\d+[/?#].*@[\w.-]+|[^\[\]@:]+:\d+[/?#].*@(?:[\w-]+\.)+[A-Za-z]{2,})(?::\d+)?/.*"
)
DEEPEST = 4  # URLs within each other that are taken apart
SHORTEST = 6  # letters of a secret that is looked for outside of URLs, too

# Parameters of a query that say which file is meant, whatever their value, and those that say which form of
# it, with a plain one. Of others only what is too short for a secret is kept, and none beside a signature.
NAMES = re.compile(
    "ids?|v|vid|video|(video|file|asset|version|res)_?id|file|file_?name|path|name|clip|movie|doc|item|asset"
    "|object|version|generation"
)
FORMS = re.compile(
    "rev|revision|ref|export|alt|format|fmt|ext|quality|resolution|res|width|height|fps|start|end|frame|camera"
    "|cam|take|scene|shot|part|segment|index|list|playlist|raw|download|media|lang|dl"
)
SECRET = re.compile(
    r"token|secret|passw|pwd|auth|cred|sig|hmac|hash|key|session|jwt|policy|expire|cookie|ticket|otp|access|grant"
    r"|bearer|nonce|^(x|q)-|^hdn|^verify$|^code$|^pass$|^pin$|^pw?$|^exp$|^acl$|^st$"
)
PLAIN = re.compile(r"[A-Za-z_]{0,8}|[\d.,:x-]{1,9}|[a-z]{0,3}\d{1,4}[a-z]?")
SHORT = re.compile(r"[A-Za-z]{0,4}|false|[\d.,:x-]{1,9}|[a-z]{0,3}\d{1,4}[a-z]?")
FILE_NAME = re.compile(r"[\w. -]{1,80}\.[A-Za-z]\w{1,4}")
KEYLIKE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=~.%-]{20,}")


def protocol_of(place: str) -> str:
    """Return the protocol of a URL, in small letters; "file" of a path."""
    found = SCHEME.match(place)
    return found[1].lower() if found else "file"


def is_url(text: str) -> bool:
    return SCHEME.match(text) is not None


def lacks(text: str) -> bool:
    """Tell a URL whose login or signature was left out when it was stored."""
    return "://" in text and LACKS.search(text) is not None


def bare(url: str) -> str:
    """Return a URL as it is stored and shown: without login, signature, and what is not known to name a file.

    A path stays as it is, but for a URL within it.
    """
    found = SCHEME.match(url)
    if found is None:
        return told(url)
    if len(SCHEME.findall(url)) > DEEPEST:  # URLs within URLs, as no one writes them
        return found[0] + LEFT_OUT + "@"
    return found[0] + "".join(text for text, _ in _parts(url))


def told(text: str) -> str:
    """Return a text as it may be stored and shown: every URL in it is bare."""
    return _in_text(text, bare)


def carried(value: Any) -> Any:
    """Return a value of a table, nested as it may be; its URLs with a login or a signature are made bare."""
    if isinstance(value, str):
        return _in_text(value, lambda url: bare(url) if _holds_secret(url) else url)
    if isinstance(value, list | tuple):
        return [carried(item) for item in value]
    if isinstance(value, dict):
        return {carried(name): carried(item) for name, item in value.items()}
    return value


def secrets_of(url: str) -> list[str]:
    """List what a URL's bare form leaves out, as written and decoded, the longest first."""
    found = {secret for _, gone in _parts(url) for secret in gone} if is_url(url) else set()
    return sorted((each for each in {*found, *map(unquote, found)} if len(each) >= SHORTEST), key=len)[::-1]


def _in_text(text: str, shown: Any) -> str:
    def one(found: re.Match[str]) -> str:
        url = found[0].rstrip(LAST)
        return str(shown(url)) + found[0][len(url) :]

    if "@" in text:
        text = MISTYPED.sub(rf"\1{LEFT_OUT}@", text)
    return IN_TEXT.sub(one, text) if "://" in text else text


# --- the parts of a URL


def _parts(url: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the pieces of a URL behind its scheme as they are shown, each with what was left out of it."""
    protocol, rest = protocol_of(url), url.partition("://")[2]
    return _web(rest) if protocol in WEB else _other(rest, protocol)


def _split(rest: str) -> tuple[str, str, str, str]:
    """Split what follows a scheme into login, "@", host and rest; a password may hold what ends a host."""
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(host) :]
    if BROKEN_PORT.fullmatch(host) and "@" not in tail:  # as much as a text has of "user:password@host"
        return host, "@", "", tail
    if BROKEN_PORT.fullmatch(host) or ("@" not in host and PORT_LIKE.fullmatch(rest)):
        login, _, rest = rest.rpartition("@")
        host = re.split("[/?#]", rest, maxsplit=1)[0]
        return login, "@", host, rest[len(host) :]
    login, at, host = host.rpartition("@")
    return login, at, host, tail


def _web(rest: str) -> Iterator[tuple[str, list[str]]]:
    login, at, host, tail = _split(rest)
    yield f"{LEFT_OUT}@{host}" if at else host, [login, login.partition(":")[2]]
    path, mark, query = tail.split("#")[0].partition("?")
    yield _path(path)
    yield _query(query) if mark else ("", [])


def _other(rest: str, protocol: str) -> Iterator[tuple[str, list[str]]]:
    """Elsewhere a name alone is no login, and a question mark is the path's unless a signature follows."""
    inner = SCHEME.search(rest)  # of a chain, which is not opened but shown
    rest, nested = (rest[: inner.start()], rest[inner.start() :]) if inner else (rest, "")
    host, slash, tail = rest.partition("/")
    login, at, machine, more = host, "", "", ""
    if protocol != "file" and not host.startswith("arn:") and not host.endswith("::"):
        login, at, machine, more = _split(rest)
    token = protocol not in ("az", "abfs", "abfss") and KEYLIKE.fullmatch(login)
    if at and (":" in unquote(login) or token or login.startswith("hf_")):
        yield f"{LEFT_OUT}@{machine}", [login, login.partition(":")[2]]
        slash, tail = more[:1], more[1:]
    else:
        yield host, []
    path, _, query = tail.partition("?")
    signed = protocol != "file" and _is_signed(query)
    yield slash + (path if signed else tail), []
    if signed:
        yield _query(query)
    shown = bare(nested)
    yield shown, [nested] if shown != nested else []


def _path(path: str) -> tuple[str, list[str]]:
    """Leave out of a web path what looks like a session or a token, and the login of a URL within it.

    That is `;name=value` and a folder `name=value~name=value`, where one of the names is a secret's.
    """
    gone: list[str] = []

    def shown(found: re.Match[str]) -> str:
        mark, piece, nested = found[1], found[2], found[3]
        pairs = [each.partition("=") for each in re.split("[~,&]", piece or "")]
        secret = any(
            SECRET.search(_plainly(name)) and (mark == ";" or not PLAIN.fullmatch(value))
            for name, _, value in pairs
        )
        text = bare(nested) if nested else f"{mark}{LEFT_OUT}" if secret else found[0]
        gone.extend([piece or nested] if text != found[0] else [])
        return text

    return re.sub(r"([;/])([^/;=]*=[^/;]*)|([A-Za-z][A-Za-z0-9+.-]*://.*)", shown, path), gone


def _query(query: str) -> tuple[str, list[str]]:
    """Keep of a query what names the file; one that is signed keeps no other parameter."""
    signed, kept, gone = _is_signed(query), list[str](), list[str]()
    for name, value in _items(query):
        if _names(name, value) or (not signed and SHORT.fullmatch(value) and PLAIN.fullmatch(name)):
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
    """Tell whether a parameter names a file, or a form of one."""
    name, value = _plainly(name), _plainly(value)
    if NAMES.fullmatch(name):
        return not re.search("[?&=@]|://", value)
    return bool(FORMS.fullmatch(name) and (PLAIN.fullmatch(value) or FILE_NAME.fullmatch(value)))


def _is_signed(query: str) -> bool:
    names = [_plainly(name) for name, _ in _items(query)]
    return any(SECRET.search(name) and not NAMES.fullmatch(name) for name in names)


def _holds_secret(url: str) -> bool:
    """Tell a URL with a login, a signature, or a parameter that can only be a key."""
    if len(SCHEME.findall(url)) > DEEPEST:
        return True
    head, _, fragment = url.partition("#")
    path, _, query = head.partition("?")
    if lacks(bare(path)) or _is_signed(query) or _is_signed(fragment):
        return True
    for name, value in (*_items(query), *_items(fragment)):
        inner = SCHEME.search(_plainly(value))
        if inner and _holds_secret(_plainly(value)[inner.start() :]):
            return True
        if not _names(name, value) and KEYLIKE.fullmatch(value or name):
            return True
    return False


def _plainly(text: str) -> str:
    """Undo percent signs, also of percent signs, and capitals."""
    for _ in range(3):
        text = unquote(text)
    return text.lower()
