"""The committed outcome of one sample. A sample is finished when its record exists, and not before."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from motionecho.errors import MotionEchoError

SCHEMA_VERSION = 1
OUTCOME_PREFIX = "result_"  # results are a manifest: columns that begin so are dropped when read as one


@dataclass(frozen=True, kw_only=True)
class Record:
    """One sample, finished or given up; plain JSON values only.

    `inputs` are the manifest's columns (reference made absolute, id and seed filled in). `motion`, `video`
    and `stats` are blobs: {"uri": path within the run, "sha256", "bytes"}; a motion found in the cache has
    its URI only. `scores` holds one flat dict a metric, `skipped` the reason of each metric that could not
    run. `strikes` are the failed attempts before this outcome, and `error` is what ended a failed one:
    {"kind", "class", "message", "stage", "traceback", "attempt", "host", "node", "at"}.
    """

    key: str
    id: str
    status: Literal["ok", "failed"]
    inputs: dict[str, Any]
    reference: dict[str, Any] = field(default_factory=dict)  # {"uri", "sha256", "version"}
    motion_key: str | None = None
    echo: dict[str, Any] = field(default_factory=dict)  # the resolved settings, overrides applied
    attempt: str | None = None  # the name under which this outcome's blobs were written
    attempts: int = 0
    motion: dict[str, Any] | None = None
    video: dict[str, Any] | None = None
    stats: dict[str, Any] | None = None
    latent_sha256: str | None = None
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, dict[str, str]] = field(default_factory=dict)  # {"version", "key"} of each score
    skipped: dict[str, str] = field(default_factory=dict)
    tries: list[dict[str, Any]] = field(default_factory=list)  # one a try, where a quality gate was set
    trace: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    strikes: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    where: dict[str, Any] = field(default_factory=dict)  # host, node, pid, device, stages
    versions: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)  # sha256 of every file, or "random"
    committed_at: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def spent(self, *stages: str) -> float:
        """Seconds of those of the stages that the worker which made the video ran itself."""
        own = self.where.get("stages", stages)
        return sum(self.seconds.get(stage, 0.0) for stage in stages if stage in own)

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a record; one written by a newer version is an error, keys this version lacks are not."""
        try:
            data = json.loads(text)
            if data["schema_version"] > SCHEMA_VERSION:
                raise MotionEchoError(
                    f"record {data.get('key')} has schema {data['schema_version']}, this version reads "
                    f"{SCHEMA_VERSION}: update motionecho"
                )
            return cls(**{spec.name: data[spec.name] for spec in fields(cls) if spec.name in data})
        except (ValueError, TypeError, KeyError) as problem:
            raise MotionEchoError(
                f"not a record: {problem}; delete it and the sample runs again"
            ) from problem


def absolute(root: str, uri: str) -> str:
    """A blob's URI as other programs can open it: those of a run are relative to its `root`."""
    return uri if uri.startswith("/") or "://" in uri else f"{root.rstrip('/')}/{uri}"


def as_row(record: Record, root: str) -> dict[str, Any]:
    """One row of the results table: the input columns, then `result_*`; URIs are absolute under `root`."""
    row = dict(record.inputs)
    outcome: dict[str, Any] = {
        "key": record.key,
        "status": record.status,
        "attempts": record.attempts,
        "latent_sha256": record.latent_sha256,
        "motion_key": record.motion_key,
        "reference_sha256": record.reference.get("sha256"),
        "reference_version": record.reference.get("version"),
        "committed_at": record.committed_at,
        "host": record.where.get("host"),
        "device": record.where.get("device"),
    }
    for name in ("video", "stats", "motion"):
        blob = getattr(record, name)
        outcome[name] = absolute(root, blob["uri"]) if blob else None
    outcome["video_sha256"] = record.video["sha256"] if record.video else None
    for part in ("class", "message", "stage"):
        outcome[f"error_{part}"] = (record.error or {}).get(part)
    for metric, values in record.scores.items():
        outcome |= values  # figures bear their metric's prefix already
        outcome[f"{metric}_version"] = record.metrics.get(metric, {}).get("version")
    for metric, reason in record.skipped.items():
        outcome[f"{metric}_skipped"] = reason
    if record.tries:
        outcome["tries"] = len(record.tries)
    for name, value in record.trace.items():
        if isinstance(value, dict):
            outcome |= {f"trace_{name}_{inner}": number for inner, number in value.items()}
        else:
            outcome[f"trace_{name}"] = value
    outcome |= {f"seconds_{stage}": value for stage, value in record.seconds.items()}
    row |= {OUTCOME_PREFIX + name: value for name, value in outcome.items()}
    return row | {OUTCOME_PREFIX + "record": record.to_json()}
