"""Weights from where they are published to this node's disk: any fsspec URL, once however many ask."""

import fcntl
from collections.abc import Callable
from pathlib import Path

from motionecho.atomic import replacing
from motionecho.errors import UserError
from motionecho.files import open_url, patiently


def fetch_once(url: str, path: Path) -> Path:
    """Copy the file behind `url` to `path` unless it is there; processes of one node wait for each other.

    Raises UserError where there is no such file or no access, Transient where the store keeps failing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            fs, remote = open_url(url)
            with replacing(path) as temporary:
                _or_user_error(url, lambda: patiently(lambda: fs.get_file(remote, temporary)))
    return path


def _or_user_error(url: str, action: Callable[[], object]) -> None:
    try:
        action()
    except FileNotFoundError as problem:
        raise UserError(f"there are no weights at {url}") from problem
    except PermissionError as problem:
        raise UserError(f"no permission to read the weights at {url}: check the credentials") from problem
