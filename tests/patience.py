"""How long a test waits before it says that something hangs: a bound, never a measurement."""

import os

TIMES = float(os.environ.get("TEST_PATIENCE", "5"))  # a machine with ten times the work it has cores for


def patience(seconds: float) -> float:
    """Return the seconds to wait for what takes less than `seconds` on an idle machine."""
    return TIMES * seconds
