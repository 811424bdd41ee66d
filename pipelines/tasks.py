"""The small values of a run: tasks and failures travel between driver and workers, jobs do not."""

import errno
import os
import socket
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from motionecho.config import EchoConfig
from motionecho.errors import BadSample, Misplaced, NotThere, PoisonedDevice, Transient, UserError
from motionecho.manifest import Sample
from motionecho.runs.faults import FULL
from motionecho.runs.notes import ErrorNote, Host, now
from motionecho.runs.results import Entry
from motionecho.runs.urls import told

Kind = Literal["bad", "strike", "infra", "poisoned"]
Stage = Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work, with everything decided; URIs only, never pixels or tensors."""

    key: str
    shares: str  # names what is worth computing once for all tasks that say the same
    payload: Any  # a Payload of the kind that its stages take
    attempt: str = ""  # names this attempt's blobs, so that two attempts never share one
    video: str | None = None  # URI within the run, once there is one
    generation: int = 1  # of the record that it is to have


@dataclass(frozen=True, slots=True)
class Payload:
    """A row and the content of its reference: what every kind of task is about."""

    sample: Sample
    reference_sha256: str
    reference_version: str

    @property
    def id(self) -> str:
        return self.sample.id

    def for_record(self) -> dict[str, Any]:
        """Say what a record holds of the task, however it ended."""
        sample, sha256, version = self.sample, self.reference_sha256, self.reference_version
        reference = {"uri": sample.reference, "sha256": sha256, "version": version}
        return {"id": sample.id, "inputs": sample.inputs(), "reference": reference}


@dataclass(frozen=True, slots=True)
class MakeSample(Payload):
    """A sample to make, by its resolved settings."""

    motion_key: str
    config: EchoConfig
    texts: tuple[tuple[str, str], ...] = ()  # with the keys of what they are encoded to, in a stage before
    giver: str = ""  # the distribution and version that add the strategy; "" for one of ours

    def for_record(self) -> dict[str, Any]:
        return Payload.for_record(self) | {"motion_key": self.motion_key, "echo": self.config.to_dict()}


@dataclass(frozen=True)
class StageSpec:
    """A stage as far as driver and workers have to know it; what it does is its callable's to know.

    needs_models: it computes with the pair, where the device is. shared: what it makes serves all tasks of
    the same `shares`, so that one of them at a time will do. makes_film: it hands over a Film. takes_film:
    it is given that Film as well, and writes it down. early: it is over before the others are, as it runs as
    far ahead as it can, and its workers end with it.
    """

    name: str
    needs_models: bool = False
    shared: bool = False
    makes_film: bool = False
    takes_film: bool = False
    early: bool = False

    def call(self, stage: Stage, task: Task, handed: Any) -> tuple[dict[str, Any], Any]:
        """Run the stage on a task; return its part of the result, and what is handed on to the next stage."""
        if self.takes_film:
            return stage(task, handed), None
        part = stage(task)
        return part, part.pop("handed", handed)


# Goes before the others, for pairs that ask for it.
TEXT = StageSpec("text", early=True)
# In the order a sample goes through them: those that need models, then those that do not.
STAGES = (
    StageSpec("invert", needs_models=True, shared=True),
    StageSpec("train", needs_models=True, shared=True),
    StageSpec("generate", needs_models=True, makes_film=True),
    StageSpec("publish", takes_film=True),
    StageSpec("score"),
)


@dataclass(frozen=True)
class Film:
    """A video that is made but not published: all that has to leave the process with the models."""

    frames: np.ndarray  # uint8 [f, h, w, 3]
    steps: list[dict[str, Any]]  # rows of its trace
    origin: dict[str, Any]  # its provenance


@dataclass(frozen=True)
class Failure:
    """The reason why an attempt ended, and what that asks for.

    kind: "bad" is never retried, "strike" counts towards quarantine, "infra" does not (after some of these a
    sample stays to be done), "poisoned" is a strike after which the process is replaced.
    """

    kind: Kind
    name: str  # class of the error
    message: str
    stage: str
    traceback: str = ""

    def note(self, attempt: str | None = None, where: Host | None = None) -> ErrorNote:
        """Write the failure down as records and attempt notes keep it."""
        host, node = (where.name, where.node) if where else (None, None)
        return ErrorNote(**asdict(self), attempt=attempt, host=host, node=node, at=now())


@dataclass
class Job:
    """A task on its way through the pools."""

    task: Task
    group: int = 0  # the pool it waits for
    result: dict[str, Any] = field(default_factory=dict)
    strikes: list[ErrorNote] = field(default_factory=list)
    infra: int = 0
    waits: str = ""  # what of its surroundings failed it last
    handed: Any = None  # a reference to the film that waits to be published
    where: Host | None = None
    avoid: tuple[int, int] | None = None  # (pool, seat) that failed it last
    shunned: set[str] = field(default_factory=set)  # nodes whose surroundings failed it
    ahead: tuple[int, int] | None = None  # (pool, seat) that reads what it needs already


@dataclass
class Tally:
    """The count of what happened in this run so far."""

    committed: int = 0
    failed: int = 0
    last: str | None = None
    failures: Counter[str] = field(default_factory=Counter)
    put_off: Counter[str] = field(default_factory=Counter)  # left to be done, by what failed them
    warned: list[str] = field(default_factory=list)  # of each sample with warnings, the first of them
    examples: dict[str, str] = field(default_factory=dict)  # of each class, what the first one said
    records: dict[str, Entry] = field(default_factory=dict)  # what this run has committed, by key
    message: str | None = None


NO_ROOM = "NoRoom"  # the name of a failure for want of space on a disk, or of rights to write there


def _full(text: str) -> bool:
    return any(os.strerror(number) in text for number in (*FULL, errno.EROFS))


def failure_of(problem: BaseException, stage: str) -> Failure:
    """Tell the kinds of failure apart; our own errors say it by class, the accelerator's by name and text.

    What a worker reads was there when it was planned or made: a file that is missing is its machine's fault.
    """
    text, name = told(str(problem)) or type(problem).__name__, type(problem).__name__
    out_of_memory = "OutOfMemory" in name or "out of memory" in text
    broken = name == "AcceleratorError" or "CUDA error" in text or "cuDNN error" in text
    kind: Kind = "strike"
    if isinstance(problem, NotThere):
        kind, text = "infra", f"{text} on {socket.gethostname()}, and did when the run was planned"
    elif isinstance(problem, BadSample | UserError):
        kind = "bad"
    elif isinstance(problem, Transient | OSError | Misplaced) or _full(text):
        kind, name = "infra", NO_ROOM if _full(text) else name
    elif isinstance(problem, PoisonedDevice) or (broken and not out_of_memory):
        kind = "poisoned"
    tail = "" if kind == "bad" else told("".join(traceback.format_exception(problem)))[-3000:]
    return Failure(kind, name, text[:1000], stage, tail)
