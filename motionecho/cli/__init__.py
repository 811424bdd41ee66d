"""The command line: parses, calls, prints. stdout is data, stderr is talk; exit codes in `exits.py`."""

from motionecho.cli.main import main

__all__ = ["main"]
