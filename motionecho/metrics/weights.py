"""Weight files that the user brings: named by a variable, known by sha256 before anything reads them."""

import os
from pathlib import Path

from motionecho.metrics.protocol import MetricUnavailable
from motionecho.runs.keys import file_digest

SHORTEST = 8  # digits of a sha256 that say something


def local_weights(what: str, variable: str, sha256_variable: str, begins: str = "") -> tuple[Path, str]:
    """Locate and hash the file that `variable` names; MetricUnavailable where it is none or another.

    The sha256 has to be the one in `sha256_variable` (its first 8 digits or more) or, without that, begin
    with `begins`.
    """
    name, wanted = os.environ.get(variable, ""), os.environ.get(sha256_variable, begins).lower()
    if not name:
        raise MetricUnavailable(f"no {what} weights are named: set {variable} to their file")
    path = Path(name).expanduser()
    if not path.is_file():
        raise MetricUnavailable(f"the {what} weights {path} do not exist: set {variable} to a file that does")
    if 0 < len(wanted) < SHORTEST:
        raise MetricUnavailable(f"{sha256_variable} has {len(wanted)} digits: give all 64, or leave it out")
    found = file_digest(str(path))
    if not found.startswith(wanted):
        raise MetricUnavailable(
            f"{path} is not what it should be: its sha256 is {found}, not {wanted}...; if you trust it, "
            f"set {sha256_variable} to that"
        )
    return path, found
