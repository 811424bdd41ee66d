"""The cost of the work left, from samples made before: of this run, of another one, or of a pilot."""

import secrets
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean, stdev

from motionecho.config import RunSettings
from motionecho.errors import UserError
from motionecho.runs import files
from motionecho.runs.keys import differences
from motionecho.runs.records import Record
from motionecho.runs.results import Index
from motionecho.runs.store import CREATE_PATIENCE_S, RunStore
from pipelines.execution import Execution
from pipelines.generate import FACTORY, identity, run
from pipelines.plan import Work
from pipelines.tasks import STAGES

RECORDS = 1000  # read at most, which is plenty for a mean
SHARED = tuple(stage.name for stage in STAGES if stage.shared)
OWN = tuple(stage.name for stage in STAGES if not stage.shared)


@dataclass(frozen=True)
class Cost:
    """The means of `n` finished samples: device-seconds of one and of its motion, bytes of their files.

    Motions are told apart by strategy: training one takes far longer than an inversion. A device-second is
    one of a GPU, or of a CPU core. `spread` is the standard deviation of a sample's.
    """

    n: int
    unit: str  # "GPU" or "CPU"
    device: str
    sample_s: float
    spread: float | None
    inversion_s: Mapping[str, float]  # of each strategy by which one of them made a motion
    sample_bytes: float
    motion_bytes: float
    source: str


@dataclass(frozen=True)
class Forecast:
    """The device-hours for the work left, with a 95 % interval of the mean if there is one, and bytes."""

    unit: str
    hours: float
    low: float | None
    high: float | None
    bytes: int
    n: int
    basis: str


def estimate(work: Work, cost: Cost) -> Forecast:
    """Scale measured costs up to the work that is left."""
    plan = work.plan
    left = {task.shares: task.payload.config.reference.strategy for task in work.todo}
    missing = [strategy for motion, strategy in left.items() if motion not in work.motions]
    seconds = plan.todo * cost.sample_s + sum(cost.inversion_s.get(strategy, 0.0) for strategy in missing)
    margin = None if cost.spread is None else 1.96 * plan.todo * cost.spread / cost.n**0.5
    basis = f"{cost.n} sample{'s' * (cost.n != 1)} {cost.source} on {cost.device}"
    unknown = sorted({*missing} - cost.inversion_s.keys())
    if unknown:
        basis += f"; motions by {', '.join(unknown)} left out, as none of them made one"
    if plan.texts > plan.texts_cached:
        basis += f"; stage text left out, which has {plan.texts - plan.texts_cached} to encode"
    return Forecast(
        unit=cost.unit,
        hours=round(seconds / 3600, 4),
        low=None if margin is None else round(max(0.0, seconds - margin) / 3600, 4),
        high=None if margin is None else round((seconds + margin) / 3600, 4),
        bytes=round(plan.todo * cost.sample_bytes + len(missing) * cost.motion_bytes),
        n=cost.n,
        basis=basis,
    )


def of_run(url: str, settings: RunSettings | None = None, index: Index | None = None) -> Cost | None:
    """Return costs by a run's records, None where it has none; differing `settings` are named in the source.

    `index` is a look at it that was taken a moment ago, to save another.

    Raises UserError where there is no run while `settings` ask for a comparison with it.
    """
    store = RunStore(url, CREATE_PATIENCE_S)
    about = store.run()
    if about is None:
        if settings is not None:
            raise UserError(f'there is no run at "{url}": no run.json in it')
        return None
    source = "of this run"
    if settings is not None:
        there = about["identity"].get("settings")
        if there is None:
            raise UserError(f'"{store.url}" holds scores, and no samples that were made')
        changed = differences(there, identity(settings)["settings"])
        source = f"of {store.url}" + (f" (other settings: {'; '.join(changed)})" if changed else "")
    return measured(islice((r for r in store.records(index) if r.ok), RECORDS), source)


def pilot(
    work: Work, settings: RunSettings, url: str, execution: Execution, n: int, factory: str = FACTORY
) -> Cost:
    """Make `n` samples of the work left in a temporary place, throw them away, and say what they cost.

    Raises UserError where it was stopped or no sample succeeded, KeyboardInterrupt where it was interrupted.
    """
    chosen = work.todo[:: max(1, len(work.todo) // n)][:n]
    small = replace(
        work,
        tasks={t.key: t for t in chosen},
        todo=chosen,
        bad=[],
        unread=[],
        index=Index(),
        motions=set(),
        texts=None if work.texts is None else set(),
        retry_failed=False,
        sources={"pilot": tuple(task.key for task in chosen)},
    )
    with _elsewhere(url, execution) as place:
        summary = run("", settings, place, replace(execution, motions=None), work=small, factory=factory)
        records = list(RunStore(place).records())
    if summary.interrupted:
        raise KeyboardInterrupt("the pilot was interrupted: no estimate is made of what it did")
    if summary.stopped:
        raise UserError(f"the pilot was stopped, and no estimate is made of what it did: {summary.stopped}")
    cost = measured((record for record in records if record.ok), "of a pilot")
    if cost is None:
        error = records[0].error if records else None
        why = error.message if error else f"sample {summary.put_off_for}"
        raise UserError(f"no sample of the pilot succeeded: {why}")
    return cost


def measured(records: Iterable[Record], source: str) -> Cost | None:
    """Average over finished samples."""
    done = list(records)
    if not done:
        return None
    own = [_weight(r) * r.spent(*OWN) for r in done]
    made: dict[str, list[float]] = defaultdict(list)
    sizes = []
    for record in done:
        if record.motion and record.motion.bytes:
            made[record.echo.get("strategy", "motionclone")].append(_weight(record) * _shared(record))
            sizes.append(record.motion.bytes)
    devices = dict.fromkeys(record.made_on or "unknown devices" for record in done)
    return Cost(
        n=len(done),
        unit="CPU" if _cores(done[0]) else "GPU",
        device=", ".join(devices),
        sample_s=fmean(own),
        spread=stdev(own) if len(own) > 1 else None,
        inversion_s={strategy: fmean(spent) for strategy, spent in made.items()},
        sample_bytes=fmean(sum(blob.bytes or 0 for blob in r.blobs) for r in done),
        motion_bytes=fmean(sizes) if sizes else 0.0,
        source=source,
    )


def _shared(record: Record) -> float:
    """Sum seconds of what other samples of the reference need not do again."""
    return sum(record.seconds.get(stage, 0.0) for stage in SHARED)


def _weight(record: Record) -> float:
    """Count the GPUs, or else CPU cores, that the sample's worker had."""
    return _cores(record) or (record.where.gpus if record.where else None) or 1.0


def _cores(record: Record) -> int:
    """Count the CPU cores that computed, 0 where a GPU did."""
    where = record.where
    if where and where.device not in ("cpu", None):
        return 0
    return (where.threads if where else None) or 1


@contextmanager
def _elsewhere(url: str, execution: Execution) -> Iterator[str]:
    """Give a place for a while that all workers reach: beside the run where others may take part."""
    if "://" not in url and execution.address in (None, "local"):
        with tempfile.TemporaryDirectory(prefix="motionecho-pilot-") as folder:
            yield folder
        return
    place = f"{url.rstrip('/')}-pilot-{secrets.token_hex(4)}"
    fs, path = files.open_url(place)
    try:
        yield place
    finally:
        if fs.exists(path):
            fs.rm(path, recursive=True)
