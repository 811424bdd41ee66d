"""Ray itself: join a cluster or start one in this process, and say how many workers it can carry."""

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import ray
from ray.exceptions import AuthenticationError

from motionecho.errors import UserError
from motionecho.runs.leases import IN_JOB
from motionecho.runs.places import MORE
from motionecho.runs.waits import waiting
from pipelines.execution import Execution, is_job_server
from pipelines.machines.embedded import defaults, embedded, environment
from pipelines.machines.resources import PoolSpec
from pipelines.tasks import STAGES, TEXT

GONE_S, LOOK_EVERY_S = 15.0, 3.0  # for which a head may be silent, and between two looks at it
HELPERS, HELPER_THREADS = 8, 4  # at most: processes for each worker with a GPU, and cores of each


@contextmanager
def connected(execution: Execution) -> Iterator[None]:
    """Have Ray for the time of a block, and stop it afterwards if this started it.

    An address in `execution` or in RAY_ADDRESS is joined; otherwise, or for "local", Ray runs embedded.
    Raises UserError where Ray can be neither joined nor started.
    """
    if ray.is_initialized():
        yield
        return
    address = address_of(execution)
    if is_job_server(address):
        raise UserError(
            f'"{address}" is the address of Ray\'s job server, which takes `motionecho batch submit` only: '
            "use --address auto on the head node, or --address ray://<head>:10001"
        )
    with ExitStack() as stack:
        try:
            stack.enter_context(embedded(local_cores()) if address == "local" else _joined(address))
        except SystemExit as end:  # what Ray makes of a SIGTERM
            raise KeyboardInterrupt from end
        except Exception as problem:  # of Ray's own, too: "the current node timed out" is a plain one
            first = (str(problem).strip() or type(problem).__name__).splitlines()[0]
            if address == "local":
                raise UserError(f"cannot start Ray on this machine: {first}") from problem
            if isinstance(problem, AuthenticationError):
                first = "no token is set here"
            raise UserError(
                f'cannot reach Ray at "{address}": {first} (is it up, and is its token, if it has one, in '
                "RAY_AUTH_TOKEN with RAY_AUTH_MODE=token?)"
            ) from problem
        yield


def address_of(execution: Execution) -> str:
    """Return where Ray is to be found: in the options, in RAY_ADDRESS, or "local", which is to be started."""
    return execution.address or os.environ.get("RAY_ADDRESS") or "local"


@contextmanager
def _joined(address: str) -> Iterator[None]:
    # what may be opened is said where a run is started, and a job's workers know it from the job
    allowed = {MORE: os.environ[MORE]} if os.environ.get(MORE) and IN_JOB not in os.environ else {}
    with environment(defaults({"RAY_USAGE_STATS_ENABLED": "0"})), waiting(f"Ray at {address}"):
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": allowed} if allowed else None,
        )
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def head_watched(lost: Callable[[str], object]) -> Iterator[None]:
    """Call `lost`, from another thread, with a sentence once the cluster's head has not answered for a while.

    Ray itself says nothing for a minute, and then ends the process.
    """
    place = re.fullmatch(r"\[?(.+?)\]?:(\d+)", ray.get_runtime_context().gcs_address or "")
    over = threading.Event()

    def watch(host: str, port: int) -> None:
        heard = time.monotonic()
        while not over.wait(LOOK_EVERY_S):
            with suppress(OSError):
                socket.create_connection((host, port), LOOK_EVERY_S).close()
                heard = time.monotonic()
            if time.monotonic() - heard > GONE_S:
                lost(
                    f"the cluster's head at {host}:{port} does not answer any more: submit again once it does"
                )
                return

    if place:
        threading.Thread(target=watch, args=(place[1], int(place[2])), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def local_cores() -> int:
    """Count the CPU cores this process may use: affinity and the cgroup's quota, whichever is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, int(quota))) if quota else cores


def _cgroup_quota() -> float | None:
    v2, v1 = Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu")
    try:
        if v2.exists():
            quota, period = v2.read_text().split()
        else:
            quota = (v1 / "cpu.cfs_quota_us").read_text()
            period = (v1 / "cpu.cfs_period_us").read_text()
        return float(quota) / float(period) if float(quota) > 0 else None
    except (OSError, ValueError):  # no cgroup, or "max": no limit
        return None


def node_cores() -> list[float]:
    """List the CPU cores of every living node of the cluster that is joined."""
    return [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]


def pool_specs(
    gpus: float,
    nodes: list[float],
    workers: int | None,
    separate: bool = False,
    helped: bool = False,
) -> list[PoolSpec]:
    """Decide the pools from the cluster's GPUs and the cores of its nodes.

    With GPUs: one worker a GPU; more workers than GPUs share them. Without: one worker a node that uses every
    core, or `workers` that divide them. One process serves all stages, so that models load once and a sample
    never waits for another process; `separate` gives what makes motions, what makes videos and what comes
    after an equal part each. `helped` takes those others off the workers with a GPU, to up to eight processes
    for each, where cores are left.
    """
    cores = sum(nodes) or 1.0
    size = workers or int(gpus) or len([node for node in nodes if node]) or 1
    threads = None if gpus else max(1, int(min(cores / size, max(nodes, default=1.0))))
    cpus = min(1.0, cores / size) if threads is None else min(float(threads), cores / size)
    share = min(1.0, int(gpus) / size)
    spare = int(cores - size)
    makers = tuple(stage for stage in STAGES if stage.needs_models)
    others = tuple(stage for stage in STAGES if not stage.needs_models)
    if gpus and helped and not separate and spare >= size:
        helpers = min(HELPERS * size, spare)
        each = min(HELPER_THREADS, spare // helpers)
        # asking for a GPU alone: helpers that took a node's cores first would otherwise leave its GPU idle
        return [
            PoolSpec(makers, size, share, 0.0, threads),
            PoolSpec(others, helpers, 0.0, float(each), each),
        ]
    if not separate:
        return [PoolSpec(STAGES, size, share, _whole(cpus), threads)]
    of_motions = tuple(stage for stage in makers if stage.shared)
    parts = [of_motions, tuple(stage for stage in makers if not stage.shared), others]
    n = len(parts)
    return [PoolSpec(part, size, share / n, _whole(cpus / n), threads) for part in parts]


def text_pool(nodes: list[float]) -> PoolSpec:
    """Return the pool that encodes texts before the others have much to do: one worker, on a CPU.

    It asks for no core, as it has to begin where these are taken. Two might both encode a text that they meet
    at once; the first file stays.
    """
    return PoolSpec((TEXT,), 1, 0.0, 0.0, max(1, int(max(nodes, default=1.0))))


def _whole(cpus: float) -> float:
    """Round down to whole cores above one, since Ray takes fractions below one core only."""
    return cpus if cpus < 1 else float(int(cpus))
