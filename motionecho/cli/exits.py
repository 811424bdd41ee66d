"""The exit codes; the README lists them and tests hold them."""

from enum import IntEnum


class Exit(IntEnum):
    """The way a command ended, as its exit code."""

    OK = 0  # all committed
    UNEXPECTED = 1  # something that nobody thought of, or a store or disk that failed
    USAGE = 2  # a mistake in the command, a config or the manifest: nothing was started
    FAILED_SAMPLES = 3  # finished, and some samples failed
    GUARD = 4  # stopped early, e.g. by too many failures
    INTERRUPTED = 130  # the same command again continues
