"""Every way a sample or a run can fail, told apart by what should happen next."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

OWN = re.compile(r'"[^"]*"|\'[^\']*\'|\d[\d.x:/-]*')  # what is one row's own in a sentence


class MotionEchoError(Exception):
    """The base of all errors raised on purpose; its text is one sentence fit for a user."""


class UserError(MotionEchoError):
    """A mistake in a command, a config or a manifest as a whole: nothing was started (exit code 2)."""


class BadSample(MotionEchoError):
    """A sample that can never succeed as it stands: recorded with its reason, not retried."""


class DeniedPrompt(BadSample):
    """A prompt that a deny list or a filter does not let be made."""


class NotThere(BadSample):
    """A file that is not where its row says it is, in a store that can be read."""


class Changed(MotionEchoError):
    """A file that has other bytes than it had when the run was planned, or than this machine should see."""


class Transient(MotionEchoError):
    """A failure of the surroundings (storage, a lost node): the same sample may succeed elsewhere."""


class Damaged(MotionEchoError):
    """A file of a run that is not what was written: cut short, empty, edited, or with other bytes."""


class Misplaced(Damaged):
    """A folder where a file belongs, or a file where a folder does: whoever put it there has to move it."""


class NewerVersion(UserError):
    """A file that a newer version of motionecho wrote: this one would misread it."""


class Unreachable(Transient):
    """A file that cannot be had now: forbidden, gone, asked to wait, no answer. Not its row's fault.

    `passing` tells that it may be had a moment later, and was waited for in vain; `silent` that nobody
    answered in time.
    """

    passing = silent = False


class PoisonedDevice(MotionEchoError):
    """An accelerator context that is unusable: the process holding it has to exit."""


class CanaryMismatch(MotionEchoError):
    """A worker that does not compute what the run's first one did: it has to make no video."""


def misspelt(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that `name` is all but certainly meant to be, or None."""
    return next(iter(get_close_matches(name.lower(), list(choices), n=1, cutoff=0.9)), None)


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean "x"?)` for a choice near enough to be meant by `name`, or an empty string."""
    known = {choice.lower(): choice for choice in choices}  # "toi" is "toy", "photo" not "out"
    close = get_close_matches(name.lower(), list(known), n=1, cutoff=0.65)
    return f' (did you mean "{known[close[0]]}"?)' if close else ""


def kind_of(sentence: str) -> str:
    """Return what a sentence has in common with those of other rows: without its names and numbers."""
    return OWN.sub("...", sentence)
