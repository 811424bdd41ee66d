"""A look at Ray: does it start here, on which addresses does it listen, can a cluster be joined?"""

import time
from contextlib import suppress
from typing import Any

import ray

from pipelines.execution import Execution
from pipelines.machines.ray_cluster import connected, node_cores
from pipelines.machines.surroundings import knock


def started(address: str | None) -> dict[str, Any]:
    """Start Ray here, or join it at an address, and leave it again: seconds, version, nodes, GPUs, listeners.

    `listens` are the addresses at which processes that this one started wait for others. Raises UserError
    where Ray can be neither started nor joined.
    """
    began = time.monotonic()
    knock(address or "local")
    with connected(Execution(address=address or "local")):
        seconds = round(time.monotonic() - began, 1)
        return {
            "version": ray.__version__,
            "seconds": seconds,
            "cores": node_cores(),
            "gpus": ray.cluster_resources().get("GPU", 0.0),
            "listens": _listens(),
        }


def _listens() -> list[str]:
    """List the addresses at which children of this process listen; empty where the system does not tell."""
    found: set[str] = set()
    with suppress(Exception):  # processes come and go, and some systems tell only root
        import psutil  # Ray brings it along

        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                connections = process.net_connections(kind="tcp")
                found |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return sorted({each.removeprefix("::ffff:") for each in found})  # IPv4 as IPv6 writes it
