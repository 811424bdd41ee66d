"""What an exception of a store means: may it pass, is anyone there, and whose fault is it.

Drivers say it by class, by an HTTP status in one of several places, or by an errno.
"""

import errno
import socket
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from motionecho.errors import BadSample, MotionEchoError, NotThere, Unreachable
from motionecho.runs.places import Place
from motionecho.runs.urls import told


class OwnNetwork(Exception):
    """An address that is not asked, whoever names it: its text."""


class TooSlow(TimeoutError):
    """A file that comes so slowly that nobody would wait for it: its text."""


# Waiting does not mend these; anything else a store raises may pass.
PERMANENT = (
    FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError,
    ValueError, TypeError, KeyError, ImportError, MotionEchoError, OwnNetwork,
)  # fmt: skip
FULL = {errno.ENOSPC, errno.EDQUOT}  # waiting makes no room, and nothing can be published meanwhile
NO_NAME = {errno.ENAMETOOLONG, errno.ELOOP}
PERMANENT_ERRNO = {errno.EROFS, *NO_NAME, *FULL}
PERMANENT_NAMES = {
    "NoCredentialsError", "PartialCredentialsError", "ParamValidationError",  # botocore's
    "NonHttpUrlClientError", "ClientSSLError", "TooManyRedirects",  # aiohttp's
}  # fmt: skip
UNREACHABLE_NAMES = {"EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError"}
PASSING = {408, 425, 429}  # of the statuses from 400 to 499, those that a later request may not get
STATUS = {
    204: "is empty: its server has nothing to send",
    401: "asks for a login",
    403: "is forbidden: a signature may have expired, or this machine lacks the credentials",
    410: "is gone: its server says that it had it once",
    429: "cannot be had now: its server asks to wait",
}


def permanent(problem: Exception) -> bool:
    """Tell whether repeating the same request cannot help."""
    status = status_of(problem)
    by_number = isinstance(problem, OSError) and problem.errno in PERMANENT_ERRNO
    by_status = status is not None and status < 500 and status not in PASSING
    return isinstance(problem, PERMANENT) or by_number or by_status or _is_called(problem, PERMANENT_NAMES)


def unreachable(problem: Exception) -> bool:
    """Tell whether no one is at the store's address: an outage in a run, a wrong address before."""
    return isinstance(problem, ConnectionRefusedError) or _is_called(problem, UNREACHABLE_NAMES)


def status_of(problem: BaseException) -> int | None:
    """Return the HTTP status that an exception stands for, wherever its driver keeps it; None without one."""
    if _is_called(problem, {"TooManyRedirects"}) or _is_called(problem.__cause__, {"HttpProcessingError"}):
        return None  # these bear one that no server has sent
    response = getattr(problem, "response", None)
    if isinstance(response, dict):  # botocore
        response = response.get("ResponseMetadata", {})
        found = response.get("HTTPStatusCode")
    else:  # aiohttp, gcsfs, azure; httpx and requests
        named = (getattr(problem, name, None) for name in ("status", "code", "status_code"))
        own = next((each for each in named if isinstance(each, int)), None)
        found = getattr(response, "status_code", None) if own is None else own
    return found if isinstance(found, int) and 100 <= found < 600 else None


def asks_to_wait(problem: BaseException) -> float:
    """Return the seconds that a server asks to wait before the next request; 0 where it does not."""
    said = str(_headers(problem).get("Retry-After") or "")
    try:
        if said.isdigit():
            return float(said)
        until = parsedate_to_datetime(said)
        return max(0.0, (until - type(until).now(until.tzinfo)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def fault_of(uri: str, problem: Exception) -> MotionEchoError:
    """Say in one sentence why a file cannot be read, by a class that says whose fault it is.

    NotThere and other BadSamples are the row's, Unreachable is the surroundings'.
    """
    if isinstance(problem, MotionEchoError):
        return problem
    place = Place(uri)
    fault = _fault(place, problem)
    fault.__cause__ = None if place.is_secret else problem  # its text may hold what opens the place
    return fault


def _fault(place: Place, problem: Exception) -> MotionEchoError:
    if isinstance(problem, FileNotFoundError | NotADirectoryError):
        return NotThere(f'"{place}" does not exist')
    if isinstance(problem, IsADirectoryError):
        return BadSample(f'"{place}" is a folder, not a file')
    if isinstance(problem, OwnNetwork):
        return BadSample(f'"{place}" leads to {problem}, within this machine\'s own network: it is not asked')
    if _is_called(problem, {"NonHttpUrlClientError"}):
        return BadSample(f'"{place}" leads to "{told(str(problem))}", which is not opened')
    if isinstance(problem, ValueError) or getattr(problem, "errno", None) in NO_NAME:
        return BadSample(f'"{place}" names no file: {_words(place, problem)}')
    fault = Unreachable(_why(place, problem))
    fault.passing, fault.silent = not permanent(problem), isinstance(problem, TimeoutError)
    return fault


def _why(place: Place, problem: Exception) -> str:
    status, wait = status_of(problem), asks_to_wait(problem)
    if status is not None:
        fails = "cannot be had now: its server fails" if status >= 500 else "is refused"
        what = STATUS.get(status, "leads to no file" if status < 400 else fails)
        return f'"{place}" {what} (status {status}{f", in {wait:.0f} s" if wait else ""})'
    if isinstance(problem, PermissionError):
        return f'no permission to read "{place}": check the credentials of this machine'
    if _is_called(problem, {"NoCredentialsError", "PartialCredentialsError"}):
        return f'"{place}" asks for credentials, and this machine has none'
    if _is_called(problem, {"ClientSSLError"}):
        return f'"{place}" cannot be had: {_words(place, problem)}'
    if _is_called(problem, {"TooManyRedirects"}):
        return f'"{place}" leads round in a circle'
    if _is_called(problem.__cause__, {"HttpProcessingError"}):
        return f'"{place}" cannot be read: what its server sends is no HTTP'
    causes = list(_causes(problem))
    if any(isinstance(each, socket.gaierror) for each in causes):
        return f'"{place}" cannot be reached: the name of its host is not known here'
    if any(isinstance(each, ConnectionRefusedError) for each in causes) or unreachable(problem):
        return f'"{place}" cannot be reached: nobody answers at its address'
    if isinstance(problem, TimeoutError):
        slow = next((each for each in causes if isinstance(each, TooSlow)), None)
        why = slow or "no answer in time"
        return f'"{place}" cannot be had now: {why}'
    return f'"{place}" cannot be read now: {_words(place, problem)}'


def _words(place: Place, problem: Exception) -> str:
    said = " ".join(place.told(str(problem)).split())[:300]
    return f"{type(problem).__name__}: {said}" if said else type(problem).__name__


def _is_called(problem: BaseException | None, names: set[str]) -> bool:
    """Tell by name, so that no driver has to be imported."""
    return any(kind.__name__ in names for kind in type(problem).__mro__)


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        under = getattr(problem, "os_error", None)  # aiohttp's
        problem = under if isinstance(under, BaseException) else problem.__cause__ or problem.__context__


def _headers(problem: BaseException) -> Any:
    response = getattr(problem, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return {"Retry-After": found.get("retry-after")}
    return getattr(problem, "headers", None) or getattr(response, "headers", None) or {}
