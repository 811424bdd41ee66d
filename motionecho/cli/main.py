"""The end of a command: the one place where exceptions become a sentence and an exit code."""

import errno
import io
import logging
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.completion import shell_complete

from motionecho.cli.exits import Exit
from motionecho.cli.printing import say
from motionecho.errors import BadSample, MotionEchoError, Unreachable, UserError
from motionecho.report.visible import visible
from motionecho.runs.urls import told
from motionecho.runs.waits import heard

DEBUG, COMPLETE = "--debug", "_MOTIONECHO_COMPLETE"


def main() -> None:
    """Run the console script."""
    # torch's threads spin while they wait: on cores that others use, a forward pass took 38 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads; Ray's processes inherit it
    make_visible()
    sys.exit(run(sys.argv[1:]))


class VisibleLog(logging.LogRecord):
    """A line of any library's log, made visible."""

    def getMessage(self) -> str:
        return visible(super().getMessage())


def make_visible() -> None:
    """Have what others print in this process, warnings, logs and tracebacks, made visible as ours is."""
    plain = warnings.formatwarning

    def formatted(*about: Any, **more: Any) -> str:
        return visible(plain(*about, **more), keep="\n")

    def shown(*problem: Any) -> None:
        say(*"".join(traceback.format_exception(*problem)).rstrip().split("\n"))

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal has every letter
    warnings.formatwarning = formatted
    logging.setLogRecordFactory(VisibleLog)
    sys.excepthook = shown


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; only `--debug` lets a traceback through."""
    from motionecho.cli.app import app

    debug = DEBUG in arguments
    rest = [argument for argument in arguments if argument != DEBUG]
    command = typer.main.get_command(app)
    if asked := os.environ.get(COMPLETE):  # what the shell's Tab key runs
        return shell_complete(command, {}, "motionecho", COMPLETE, asked)
    try:
        with heard(say), command.make_context("motionecho", list(rest)) as context:
            command.invoke(context)
        return Exit.OK
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, typer.Abort):  # which typer's own `main` passes over in silence
        say("interrupted")
        return Exit.INTERRUPTED
    except Exception as problem:
        if debug:
            raise
        return _told(problem, rest)


def _told(problem: Exception, arguments: Sequence[str]) -> Exit:
    """Say what went wrong in one sentence, and return the code for it."""
    if hasattr(problem, "show"):  # the parser's own errors print themselves, with the usage line
        shown = io.StringIO()
        if any("\n" in argument for argument in arguments) and hasattr(problem, "message"):
            problem.message = visible(problem.message)  # a line that was typed is none of the parser's
        problem.show(file=shown)
        say(*told(shown.getvalue().rstrip()).split("\n"))
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
    if isinstance(problem, OSError) and problem.strerror:  # a disk that is full, or may not be written to
        file, full = problem.filename2 or problem.filename, problem.errno in (errno.ENOSPC, errno.EDQUOT)
        where = f'"{file}": ' if file else ""
        way = ": make room, and give the same command again" if full else ""
        say(told(f"error: {where}{problem.strerror}{way}"))
        return Exit.UNEXPECTED
    say(f"unexpected {type(problem).__name__}: {said or 'no message'}")
    say(f"for the traceback, run: {told(shlex.join(['motionecho', DEBUG, *arguments]))}")
    return Exit.UNEXPECTED
