"""The values that a run is told and that it says, plain, shared by the driver and its callers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.machines.resources import Resources


def is_job_server(address: str | None) -> bool:
    """Tell the address of a cluster's job server, which is sent jobs and cannot be joined."""
    return address is not None and address.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Execution:
    """The way a run is carried out; nothing here changes a result.

    address: None or "local" for Ray inside this process, "auto" or "ray://host:10001" for a running cluster.
    workers: processes to run (default: one a GPU, or one that uses every core).
    deadline_s: longest a sample may take on a worker before the worker is killed, in seconds.
    load_deadline_s: longest a worker may take to load its models, which it may have to download first.
    max_attempts: failed attempts after which a sample is given up.
    max_failure_rate: share of failed samples, after the first 50, above which the run stops.
    limit: take only the first so many rows of the manifest. retry_failed: run failed samples again.
    separate: pools for inversion, generation and what follows, or (False) one process for all; None is the
    latter, but where there are GPUs publishing and metrics of the CPU have processes of their own.
    backoff_s: first pause before a retry, in seconds; it doubles. infra_attempts: attempts lost to the
    surroundings (a node, the store, a file that is gone) after which a sample is put off, and stays to do.
    canary: let every worker that generates prove itself on a fixed tiny task first.
    resources: what single stages ask of the cluster, by name of the stage; see `resources.py`.
    motions: folder or URL that keeps inverted references for several runs (default: in the run itself).
    """

    address: str | None = None
    workers: int | None = None
    deadline_s: float = 1800.0
    load_deadline_s: float = 7200.0
    max_attempts: int = 3
    max_failure_rate: float = 0.05
    limit: int | None = None
    retry_failed: bool = False
    separate: bool | None = None
    backoff_s: float = 1.0
    infra_attempts: int = 10
    motions: str | None = None
    canary: bool = True
    resources: Mapping[str, "Resources"] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """A run at one moment. `done` counts samples committed before and now; `rate` is samples per minute."""

    total: int
    done: int
    failed: int
    running: tuple[str, ...] = ()
    rate: float = 0.0
    eta_s: float | None = None
    last: str | None = None
    pools: dict[str, tuple[int, int]] = field(default_factory=dict)  # stages -> (busy, alive)
    hosts: dict[str, tuple[int, int]] = field(default_factory=dict)  # machine and device -> (busy, alive)
    failures: dict[str, int] = field(default_factory=dict)  # class of error -> samples given up in this run
    put_off: dict[str, int] = field(default_factory=dict)  # class of error -> samples left to be done by it
    message: str | None = None


@dataclass(frozen=True)
class Summary:
    """The end of a run: total = committed + already_done + failed + left."""

    total: int
    committed: int
    already_done: int
    failed: int  # in this run and before
    left: int
    stopped: str | None  # the guard's sentence
    interrupted: bool
    seconds: float
    sheet: str | None
    failures: dict[str, int] = field(default_factory=dict)
    report: str | None = None  # the page to open
    unread: int = 0  # of those left, rows whose files could not be had when it began
    put_off: int = 0  # of those left, samples that the surroundings (a node, the store, a file) kept failing
    put_off_for: str | None = None  # one of these, and why
    warned: int = 0  # of those made now, samples with a warning
    warned_of: str | None = None  # the first of these warnings
