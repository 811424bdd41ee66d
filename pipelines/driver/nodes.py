"""The nodes of a cluster: one that fails what works elsewhere is told from bad luck, and set aside."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Set
from textwrap import shorten

import ray

from motionecho.runs.notes import Host
from pipelines.machines.resources import PoolSpec
from pipelines.tasks import Failure

SUSPECT = 3  # failures on a node, one after another, before a worker elsewhere is wanted to compare it with
MOST_DOUBLINGS = 16  # of a pause, long before which it is as long as it gets
LONGEST_S = 60.0  # that a failing node gets no work for, and a sample or an actor is not tried again
WITNESSES = 2  # samples that failed on a node and worked elsewhere, before its next failure sets it aside
LOST = ("NodeLost", "FilmLost")  # failures of a node that was lost, which ask for no judgement


class Nodes:
    """What is known of the nodes of a run; `aside` has the reason of each that gets no more work.

    An outage fails everywhere, and a bad sample fails wherever it goes. A node is to blame where samples that
    failed on it have worked on another since, while nothing worked on it.
    """

    def __init__(self, backoff_s: float = 1.0) -> None:
        self.backoff_s = backoff_s
        self.aside: dict[str, str] = {}
        self.failed: dict[str, Counter[str]] = defaultdict(Counter)  # on each node, since something worked
        self.elsewhere: dict[str, dict[str, str]] = defaultdict(dict)  # of these, what worked on which other
        self.until: dict[str, float] = {}  # when a node that failed gets work again

    def worked(self, where: Host, key: str) -> None:
        """Note that a sample passed a stage on a node."""
        for known in (self.failed, self.elsewhere, self.until):
            known.pop(where.node, None)
        for node, keys in self.failed.items():
            if key in keys:
                self.elsewhere[node][key] = where.node

    def failing(self, where: Host, key: str, failure: Failure, now: float) -> None:
        """Note that a sample failed on a node, and set the node aside where it is to blame."""
        if failure.kind == "bad" or failure.name in LOST:
            return
        if self._witnesses(where.node) >= WITNESSES:
            self._set_aside(where, "it fails what works elsewhere", failure)
        self.failed[where.node][key] += 1
        if failure.kind == "infra":
            self.until[where.node] = now + pause(self.backoff_s, self.failed[where.node].total() - 1)

    def rests(self, node: str, now: float, spec: PoolSpec) -> bool:
        """Tell whether a node that fails gets no work for a while, as others could do it."""
        return now < self.until.get(node, 0.0) and bool(self.others(spec, {node}))

    def suspect(self, node: str) -> bool:
        """Tell whether a node has failed so often in a row that another had better be asked."""
        return node in self.failed and self.failed[node].total() >= SUSPECT

    def cannot_start(self, where: Host, failure: Failure, spec: PoolSpec) -> bool:
        """Set a node aside on which no worker starts; False where no other has room for the pool's actors."""
        if not self.others(spec, {where.node}):
            return False
        self._set_aside(where, "no worker starts there", failure)
        return True

    def others(self, spec: PoolSpec, shunned: Set[str]) -> Set[str]:
        """Name nodes but these, and none set aside, that can hold an actor when nothing else is on them."""
        asked = {"CPU": spec.num_cpus, "GPU": spec.num_gpus, **spec.resources}
        return {
            node["NodeID"]
            for node in ray.nodes()
            if node["Alive"] and all(node["Resources"].get(kind, 0.0) >= n for kind, n in asked.items())
        } - (self.aside.keys() | shunned)

    def selector(self, shunned: Set[str] = frozenset()) -> Mapping[str, str]:
        """Return the labels, as Ray takes them, of nodes but these, and none set aside."""
        out = sorted(self.aside.keys() | shunned)
        return {"ray.io/node-id": f"!in({','.join(out)})"} if out else {}

    def _witnesses(self, node: str) -> int:
        """Count the samples that failed on a node and worked on another which is still there to work."""
        others = self.elsewhere[node].values()
        alive = set(living()) - self.aside.keys() if others else set()
        return sum(other in alive for other in others)

    def _set_aside(self, where: Host, why: str, failure: Failure) -> None:
        said = f"{failure.name}: {shorten(failure.message, 200)}"
        self.aside[where.node] = f"node {where.name} is set aside, since {why} ({said})"


def pause(first_s: float, doublings: float) -> float:
    """Return the seconds until something that failed is tried again."""
    return min(LONGEST_S, first_s * 2 ** min(doublings, MOST_DOUBLINGS))


def living() -> list[str]:
    """List the ids of the cluster's nodes that are alive."""
    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]
