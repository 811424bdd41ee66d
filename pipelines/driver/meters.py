"""The figures that a run tells Prometheus through Ray; Grafana's board is `cluster/grafana.json`.

Ray serves these with the prefix `ray_` on every node's metrics port. Where nobody asks, nothing happens.
"""

from collections import Counter as Tallies
from typing import TYPE_CHECKING

from ray.util.metrics import Counter, Gauge, Histogram

from motionecho.runs.records import Record
from pipelines.tasks import STAGES, TEXT

if TYPE_CHECKING:
    from pipelines.driver.loop import Loop

SECONDS = [0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]


class Meters:
    """The counters and gauges of one run; the tag `run` tells runs on one cluster apart."""

    def __init__(self, run: str, todo: int) -> None:
        self.todo, self.committed = todo, 0
        self.failures: Tallies[str] = Tallies()
        one, by_pool = ("run",), ("run", "pool")
        self.done = Counter("motionecho_samples_committed", "samples committed", one)
        self.failed = Counter("motionecho_samples_failed", "samples given up", ("run", "error"))
        self.left = Gauge("motionecho_samples_left", "samples neither committed nor given up", one)
        self.size = Gauge("motionecho_workers", "actors of a pool, alive or starting", by_pool)
        self.busy = Gauge("motionecho_workers_busy", "actors of a pool at work on a sample", by_pool)
        self.retired = Gauge("motionecho_workers_retired", "actors retired by the canary", by_pool)
        self.seconds = Histogram(
            "motionecho_stage_seconds", "seconds of a stage for one sample", SECONDS, ("run", "stage")
        )
        for meter in (self.done, self.failed, self.left, self.size, self.busy, self.retired, self.seconds):
            meter.set_default_tags({"run": ascii(run)[1:-1]})  # Ray takes no other letters

    def tell(self, loop: "Loop") -> None:
        """Bring counters and gauges up to the loop's state."""
        tally = loop.tally
        if tally.committed > self.committed:
            self.done.inc(tally.committed - self.committed)
            self.committed = tally.committed
        for name, number in (tally.failures - self.failures).items():
            self.failed.inc(number, tags={"error": name})
        self.failures = Tallies(tally.failures)
        self.left.set(self.todo - tally.committed - tally.failed)
        for pool in loop.pools:
            tags = {"pool": pool.spec.name}
            self.size.set(len(pool.seats), tags=tags)
            self.busy.set(len(pool.busy()), tags=tags)
            self.retired.set(len(pool.retired), tags=tags)

    def took(self, record: Record) -> None:
        """Note how long each stage of a finished sample took."""
        for stage in (TEXT, *STAGES):
            if stage.name in record.seconds:
                self.seconds.observe(max(record.seconds[stage.name], 1e-3), tags={"stage": stage.name})
