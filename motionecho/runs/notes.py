"""The parts of a record on its files, its host and its failures."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from motionecho.errors import Damaged
from motionecho.runs.keys import file_digest
from motionecho.runs.sealed import read_object

T = TypeVar("T")


def now() -> str:
    """Return the date and time as notes and records bear it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Blob:
    """A file of a run. `uri` is relative to the run, or absolute where runs share it.

    A motion that was found in the store has its URI only: whoever made it names its content.
    """

    uri: str
    sha256: str | None = None
    bytes: int | None = None

    @classmethod
    def of(cls, uri: str, local: str) -> Self:
        """Describe a finished local file that is to be found at `uri`."""
        return cls(uri, file_digest(local), os.path.getsize(local))


@dataclass(frozen=True, kw_only=True)
class Host:
    """The process that ran a sample's stages, and what it computed on."""

    name: str
    node: str = ""  # Ray's id of it
    pid: int | None = None
    device: str | None = None  # "cpu" or the GPU's name; None where nothing brought torch in
    threads: int | None = None  # of a CPU only, whose sums round by their number
    gpus: float | None = None  # its share of them, where it has one
    stages: tuple[str, ...] = ()

    @property
    def computes_on(self) -> str:
        """Name the device as people read it, a CPU with its threads; "" where it is not known."""
        return f"{self.device}, threads: {self.threads}" if self.threads else self.device or ""


@dataclass(frozen=True, kw_only=True)
class ErrorNote:
    """The reason why an attempt failed, and where; `name`, the error's class, is "class" in JSON."""

    kind: str = "strike"  # of `pipelines.tasks.Failure`
    name: Annotated[str, Field(validation_alias="class")]
    message: str = ""
    stage: str = ""
    traceback: str = ""
    attempt: str | None = None
    host: str | None = None
    node: str | None = None
    at: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the note as it stands in JSON."""
        values = asdict(self)
        return {"kind": values.pop("kind"), "class": values.pop("name")} | values

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the note of an attempt; raises Damaged where it is none."""
        return read_as(cls, read_object(text))


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_as(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a dataclass of what a run's file says; fields of another version are passed over.

    Raises Damaged where a field is missing or of another type.
    """
    hashable: Any = kind
    try:
        found: T = _reader(hashable).validate_python(values)
        return found
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        raise Damaged(f"its {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from problem
    except RecursionError as problem:
        raise Damaged("it is nested without end") from problem
