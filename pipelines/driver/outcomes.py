"""The way to a record from what happened: to a job that ended, and to a row that could never begin."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from motionecho.errors import Damaged
from motionecho.manifest import BadRow
from motionecho.manifest.cells import Kept, mended
from motionecho.runs.notes import ErrorNote, now
from motionecho.runs.parallel import in_order
from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from pipelines.plan import Work, bad_row_key
from pipelines.tasks import Failure, Job

WRITERS = 8
BLOBS = ("motion", "video", "stats", "preview")
FIELDS = (
    *BLOBS, "latent_sha256", "facts", "scores", "metrics", "skipped", "tries", "trace", "steps", "warnings",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Recorder:
    """A maker of records of jobs that ended; `error` is the note of the failure that ended one, if any."""

    versions: dict[str, str]
    weights: dict[str, str]  # sha256
    by_method: Mapping[str, dict[str, str]] = field(default_factory=dict)  # of those that need others
    facts: Mapping[str, Any] = field(default_factory=dict)  # of every sample, made or not

    def record(self, job: Job, error: ErrorNote | None) -> Record:
        fields = {} if error else {name: job.result[name] for name in FIELDS if name in job.result}
        fields["facts"] = {**self.facts, **fields.get("facts", {})}
        return writable(self._record(job, error, fields))

    def _record(self, job: Job, error: ErrorNote | None, fields: dict[str, Any]) -> Record:
        return Record(
            key=job.task.key,
            generation=job.task.generation,
            status="failed" if error else "ok",
            attempt=job.task.attempt or None,
            attempts=len(job.strikes) + job.infra + (error is None),
            strikes=job.strikes,
            error=error,
            where=job.where,
            versions=self.versions,
            weights=self._weights(job),
            committed_at=now(),
            **job.task.payload.for_record(),
            **fields,
        )

    def _weights(self, job: Job) -> dict[str, str]:
        if not self.by_method:
            return self.weights
        return self.by_method.get(job.task.payload.config.sampling.method, self.weights)


def writable(record: Record) -> Record:
    """Return the record, or a failed one where it could not be read again, as with a score of NaN."""
    try:
        Record.from_json(record.to_json().encode())
        return record
    except (ValueError, TypeError, RecursionError, Damaged) as problem:
        note = Failure("bad", "Unwritable", f"its record cannot be written: {problem}", "commit").note()
        return Record(
            key=record.key,
            generation=record.generation,
            id=mended(record.id),
            status="failed",
            inputs=_kept(record.inputs),
            reference=_kept(record.reference),
            error=note,
            committed_at=record.committed_at,
        )


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    keep = Kept()
    return {mended(name): keep(value) for name, value in values.items()}


def commit_bad_rows(store: RunStore, work: Work) -> list[Record]:
    """Give every row that cannot run a failed record with its reason, once; return those that are new."""
    records = {bad_row_key(row): row for row in work.bad}
    index = work.index
    new = [
        bad_record(key, row, index.next_generation(key), work.filters)
        for key, row in records.items()
        if key not in index or index[key].to_do
    ]
    return [record for record in in_order(store.commit, new, WRITERS) if record]


def bad_record(
    key: str, row: BadRow, generation: int = 1, filters: Mapping[str, Any] | None = None
) -> Record:
    error = Failure("bad", row.kind, row.reason, "manifest").note()
    inputs = {"id": row.id} | row.inputs
    return Record(
        key=key,
        id=row.id,
        status="failed",
        inputs=inputs,
        facts={"filters": dict(filters)} if filters else {},
        error=error,
        committed_at=now(),
        generation=generation,
    )
