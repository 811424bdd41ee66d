"""The end of an embedded Ray, also of one whose driver was killed: nothing of it stays behind.

A process of its own waits for the driver to be gone, and then ends every process that belongs to the driver's
private folder. It is started before Ray is, with the package's own code alone.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROC = Path("/proc")
ROUNDS = 5  # looks at what is left, since a process may be starting another


@contextmanager
def reaped(folder: Path) -> Iterator[None]:
    """Have all that belongs to `folder` ended after the block, or once this process is gone."""
    if not PROC.is_dir():  # elsewhere Ray's own watch has to do
        yield
        return
    ours, theirs = os.pipe()
    waiter = subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, str(folder)],
        stdin=ours,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(ours)
    try:
        yield
    finally:
        os.close(theirs)
        waiter.wait()


def main(folder: str) -> None:
    """Wait for the end of standard input; then end what belongs to the folder, and remove it."""
    sys.stdin.buffer.read()
    for _ in range(ROUNDS):
        left = belonging(folder)
        if not left:
            break
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    shutil.rmtree(folder, ignore_errors=True)


def belonging(folder: str) -> list[int]:
    """List Ray's processes whose command line names the folder, or that have a file in it open.

    Some of them give themselves other names, in place of their command lines.
    """
    spared = (os.getpid(), os.getppid())  # this one, and the driver
    processes = [each for each in PROC.iterdir() if each.name.isdigit() and int(each.name) not in spared]
    return [int(each.name) for each in processes if _belongs(each, folder)]


def _belongs(process: Path, folder: str) -> bool:
    try:
        words = (process / "cmdline").read_bytes()
        if folder.encode() in words:
            return True
        return words.startswith(b"ray::") and any(
            folder in os.readlink(file) for file in (process / "fd").iterdir()
        )
    except OSError:  # it has ended, or is another user's
        return False


if __name__ == "__main__":
    main(sys.argv[1])
