"""The end of a command: the one place where exceptions become a sentence and an exit code."""

import os
import shlex
import sys
from collections.abc import Sequence

import typer

from motionecho.cli.exits import Exit
from motionecho.cli.printing import say
from motionecho.errors import BadSample, MotionEchoError, Unreachable, UserError
from motionecho.runs.places import told

DEBUG = "--debug"


def main() -> None:
    """Run the console script."""
    # torch's threads spin while they wait: on cores that others use, a forward pass took 38 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads; Ray's processes inherit it
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; only `--debug` lets a traceback through."""
    from motionecho.cli.app import app

    debug = DEBUG in arguments
    rest = [argument for argument in arguments if argument != DEBUG]
    try:
        code = typer.main.get_command(app).main(args=rest, prog_name="motionecho", standalone_mode=False)
        return code if isinstance(code, int) else Exit.OK
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return Exit.INTERRUPTED
    except Exception as problem:
        if debug:
            raise
        return _told(problem, rest)


def _told(problem: Exception, arguments: Sequence[str]) -> Exit:
    """Say what went wrong in one sentence, and return the code for it."""
    show = getattr(problem, "show", None)
    if show is not None:  # the parser's own errors print themselves, with the usage line
        show()
        return Exit.USAGE
    said = told(str(problem))
    if isinstance(problem, UserError):
        say(f"error: {said}")
        return Exit.USAGE
    if isinstance(problem, BadSample | Unreachable):
        say(f"error: {said}")
        return Exit.FAILED_SAMPLES
    if isinstance(problem, MotionEchoError):
        say(f"error: {said}")
        return Exit.UNEXPECTED
    say(f"unexpected {type(problem).__name__}: {said or 'no message'}")
    say(f"for the traceback, run: {told(shlex.join(['motionecho', DEBUG, *arguments]))}")
    return Exit.UNEXPECTED
