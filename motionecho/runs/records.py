"""The committed outcome of one sample. A sample is finished when its record exists, and not before."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from motionecho.errors import Damaged, NewerVersion
from motionecho.runs.notes import Blob, ErrorNote, Host, read_as
from motionecho.runs.sealed import SEAL, read_object, sealed, unsealed

SCHEMA_VERSION = 3
SEALED_SINCE = 3  # what is older has no digest of itself
STATUSES = ("ok", "failed", "requeued")
SHALLOW = 20  # levels of containers within each other that no tool minds
OUTCOME_PREFIX = "result_"  # results are a manifest: columns that begin so are dropped when read as one


@dataclass(frozen=True, kw_only=True)
class Record:
    """A sample, finished or given up; in dicts, plain JSON values only.

    A record is never changed and never replaced: a sample that is made again has one of the next `generation`
    (from 1), and the highest counts. "requeued" says that the one before is void and the sample to be made.
    `inputs` are the manifest's columns (reference made absolute, id and seed filled in). `scores` holds one
    flat dict a metric, `skipped` the reason of each metric that could not run. `strikes` are its failed
    attempts, the last included, less those that its surroundings failed; `error` is what ended a failed one.
    """

    key: str  # the content that the sample is named by; the name of the file
    id: str  # the name of the row
    status: Literal["ok", "failed", "requeued"]
    inputs: dict[str, Any]  # the manifest's columns
    reference: dict[str, Any] = field(default_factory=dict)  # {"uri", "sha256", "version"}
    motion_key: str | None = None  # the content that its motion is named by
    echo: dict[str, Any] = field(default_factory=dict)  # the resolved settings, overrides applied
    attempt: str | None = None  # the name under which this outcome's blobs were written
    attempts: int = 0  # how many there were
    motion: Blob | None = None  # the inverted reference
    video: Blob | None = None
    stats: Blob | None = None  # the table of its steps
    preview: Blob | None = None  # reference and result side by side, for looking at
    latent_sha256: str | None = None  # of the last latent, by which a replay is compared
    facts: dict[str, Any] = field(default_factory=dict)  # pair, dtype, width, height, frames, fps
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)  # the figures of each metric
    metrics: dict[str, dict[str, str]] = field(default_factory=dict)  # {"version", "key"} of each score
    skipped: dict[str, str] = field(default_factory=dict)  # why a metric was not taken
    tries: list[dict[str, Any]] = field(default_factory=list)  # one a try, where a quality gate was set
    trace: dict[str, Any] = field(default_factory=dict)  # what it cost, in passes of networks
    steps: dict[str, list[Any]] = field(default_factory=dict)  # the table of its steps, column by column
    warnings: list[str] = field(default_factory=list)  # what is odd about its reference
    seconds: dict[str, float] = field(default_factory=dict)  # of each stage
    strikes: list[ErrorNote] = field(default_factory=list)  # failed attempts
    error: ErrorNote | None = None  # what ended a failed one
    where: Host | None = None  # whose worker made the video
    versions: dict[str, str] = field(default_factory=dict)  # of Python, motionecho and what decides results
    weights: dict[str, str] = field(default_factory=dict)  # sha256 of every file, or "random"
    committed_at: str = ""  # ISO 8601, UTC
    generation: int = 1  # which making of the sample this is
    schema_version: int = SCHEMA_VERSION

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def blobs(self) -> list[Blob]:
        """List the files of this sample alone; its motion may be of many."""
        return [blob for blob in (self.video, self.stats, self.preview) if blob]

    @property
    def made_on(self) -> str:
        """Name the device in words; "" where it was not noted."""
        return self.where.computes_on if self.where else ""

    def spent(self, *stages: str) -> float:
        """Sum the seconds of those of the stages that the worker which made the video ran itself."""
        own = (self.where.stages if self.where else ()) or stages
        return sum(self.seconds.get(stage, 0.0) for stage in stages if stage in own)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as it stands in JSON."""
        notes = {"strikes": [each.to_dict() for each in self.strikes]}
        return asdict(self) | notes | {"error": self.error.to_dict() if self.error else None}

    def to_json(self, indent: int | None = 1) -> str:
        """Return the record as its file holds it: the JSON of `to_dict` and a digest of that.

        Without `indent` it is one line, as tables hold it, which takes a third of the time.
        """
        return json.dumps(sealed(self.to_dict()), ensure_ascii=False, allow_nan=False, indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a record; keys that this version lacks are passed over.

        Raises NewerVersion where a newer version wrote it, Damaged where it is no record or an edited one.
        """
        data = read_object(text)
        version = data.get("schema_version")
        if not isinstance(version, int) or version < 1:
            raise Damaged("it has no schema_version")
        if version > SCHEMA_VERSION:
            raise NewerVersion(
                f"record {data.get('key')} has schema {version}, this version reads {SCHEMA_VERSION}: "
                "update motionecho"
            )
        if SEAL in data or version >= SEALED_SINCE:
            data = unsealed(data)
        data = (_of_version_1(data) if version == 1 else data) | {"schema_version": SCHEMA_VERSION}
        record = read_as(cls, data)
        if _is_deep(data, SHALLOW):  # for others copying would be most of the time that reading takes
            try:
                asdict(record)
            except RecursionError as problem:
                raise Damaged("it is nested without end") from problem
        if record.ok and record.motion_key and not record.video:
            raise Damaged("it is of a sample that was made, and names no video")
        return record


def _of_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Give version 1 today's shape: there a host's name was "host", and its device "cpu, threads: 2"."""
    where = data.get("where") or None
    if not isinstance(where, dict):
        return {**data, "where": where}
    device, _, threads = str(where.get("device") or "").partition(", threads: ")
    name = {"name": where.get("host", ""), "device": device or None, "threads": threads or None}
    return {**data, "where": {**where, **name}}


def _is_deep(value: Any, levels: int) -> bool:
    """Tell whether containers are nested in each other over more levels than that."""
    inner = value.values() if isinstance(value, dict) else value
    held = [each for each in inner if isinstance(each, dict | list)]
    return bool(held) and (levels == 0 or any(_is_deep(each, levels - 1) for each in held))


def absolute(root: str, uri: str) -> str:
    """Return a blob's URI as other programs can open it: those of a run are relative to its `root`."""
    return uri if uri.startswith("/") or "://" in uri else f"{root.rstrip('/')}/{uri}"
