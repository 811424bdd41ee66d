"""Whose fault a failure is: a node's that fails what works elsewhere, and then no row is charged with it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fake_stages as fakes
import pytest

from motionecho.config import EchoConfig, RunSettings
from motionecho.runs.notes import Host
from motionecho.runs.store import RunStore
from pipelines.driver import nodes as module
from pipelines.driver.nodes import SUSPECT, WITNESSES, Nodes
from pipelines.execution import Execution, Progress, Summary
from pipelines.generate import run
from pipelines.machines.resources import PoolSpec
from pipelines.tasks import STAGES, Failure

SETTINGS = RunSettings(pair="toy", echo=EchoConfig())
BROKEN, FINE = Host(name="broken", node="1"), Host(name="fine", node="2")
LOST = Failure("infra", "NotThere", "a.mp4 does not exist", "invert")
SPEC = PoolSpec(STAGES, 2)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    @dataclass
    class Ray:
        resources: dict[str, dict[str, float]] = field(
            default_factory=lambda: {"1": {"CPU": 2.0}, "2": {"CPU": 2.0}, "head": {"CPU": 0.0}}
        )

        def nodes(self) -> list[dict[str, Any]]:
            return [{"NodeID": n, "Alive": True, "Resources": r} for n, r in self.resources.items()]

    monkeypatch.setattr(module, "ray", Ray())
    return Nodes()


def witnessed(nodes: Nodes, failure: Failure = LOST) -> None:
    """Let samples fail on one node and work on another."""
    for key in map(str, range(WITNESSES)):
        nodes.failing(BROKEN, key, failure, 0.0)
        nodes.worked(FINE, key)


def test_a_node_that_fails_what_works_elsewhere_is_set_aside(nodes: Nodes) -> None:
    witnessed(nodes)
    assert nodes.aside == {}, "it may have come back: what failed there failed before the others worked"
    assert nodes.selector() == {}
    nodes.failing(BROKEN, "next", LOST, 0.0)
    said = "node broken is set aside, since it fails what works elsewhere (NotThere: a.mp4 does not exist)"
    assert nodes.aside == {"1": said}
    assert nodes.selector({"3"}) == {"ray.io/node-id": "!in(1,3)"}


def test_a_node_on_which_something_works_is_not(nodes: Nodes) -> None:
    witnessed(nodes)
    nodes.worked(BROKEN, "another")
    nodes.failing(BROKEN, "next", LOST, 0.0)
    assert nodes.aside == {}


@pytest.mark.parametrize(
    "failure", [Failure("bad", "BadSample", "x", "invert"), Failure("infra", "NodeLost", "x", "invert")]
)
def test_what_is_a_row_s_fault_or_a_lost_node_s_is_not_counted(nodes: Nodes, failure: Failure) -> None:
    witnessed(nodes, failure)
    nodes.failing(BROKEN, "next", failure, 0.0)
    assert nodes.aside == {}


def test_what_works_nowhere_blames_no_node(nodes: Nodes) -> None:
    for key in map(str, range(20)):
        assert nodes.suspect("1") == (int(key) >= SUSPECT)
        nodes.failing(BROKEN, key, LOST, 0.0)
        nodes.failing(FINE, key, LOST, 0.0)
    assert nodes.aside == {}


def test_the_node_that_all_depends_on_is_kept(nodes: Nodes) -> None:
    for key in map(str, range(WITNESSES)):
        nodes.failing(FINE, key, LOST, 0.0)
        nodes.worked(BROKEN, key)
    assert nodes.cannot_start(BROKEN, LOST, SPEC), "what bore witness is set aside itself"
    nodes.failing(FINE, "next", LOST, 0.0)
    assert list(nodes.aside) == ["1"]


def test_an_outage_of_any_length_is_only_a_pause(nodes: Nodes) -> None:
    for now in range(3000):
        nodes.failing(BROKEN, str(now), LOST, float(now))
    assert nodes.until["1"] == 2999 + 60


def test_a_node_that_fails_rests_where_others_could_work(nodes: Nodes) -> None:
    for now in (0.0, 1.0, 3.0):
        nodes.failing(BROKEN, "a", LOST, now)
    assert [nodes.rests("1", now, SPEC) for now in (6.9, 7.1)] == [True, False]
    assert not nodes.rests("2", 3.1, SPEC)
    assert not nodes.rests("1", 3.1, PoolSpec(STAGES, 1, num_gpus=1)), "there is no other with a GPU"
    nodes.worked(BROKEN, "a")
    assert not nodes.rests("1", 3.1, SPEC)


def test_the_last_node_with_room_is_kept_though_nothing_starts_there(nodes: Nodes) -> None:
    assert nodes.cannot_start(BROKEN, LOST, SPEC)
    assert "no worker starts there (NotThere: a.mp4 does not exist)" in nodes.aside["1"]
    assert not nodes.cannot_start(FINE, LOST, SPEC), "the head has no core to give"
    assert list(nodes.aside) == ["1"]


def go(cluster: Any, table: str, out: Path, factory: str, workers: int) -> tuple[Summary, set[str]]:
    """Run on the head and a node that is broken; return the summary and all that was said."""
    far, said = cluster.add_node(num_cpus=2), set[str]()
    Path(f"{out}.broken").write_text(far.node_id)

    def hear(event: Progress) -> None:
        said.add(event.message or "")

    execution = Execution(workers=workers, backoff_s=0.1)
    summary = run(table, SETTINGS, str(out), execution, hear, factory=f"fake_stages:{factory}")
    for record in RunStore(str(out)).records():
        assert record.where is not None
        assert record.where.node != far.node_id
    return summary, said


def test_references_that_one_node_lacks(cluster: Any, manifest: Callable[..., str], tmp_path: Path) -> None:
    rows = [(f"slow {n}", f"{n}.mp4") for n in range(12)]
    summary, said = go(cluster, manifest(*rows), tmp_path / "out", "build_unmounted", workers=2)
    assert (summary.committed, summary.failed, summary.stopped) == (12, 0, None)
    (aside,) = {text for text in said if "is set aside" in text}
    assert 'since it fails what works elsewhere (NotThere: "/not/mounted/' in aside
    assert "and did when the run was planned" in aside
    assert fakes.calls(str(tmp_path / "out"))["lost"] < 12


def test_a_node_without_the_weights(cluster: Any, manifest: Callable[..., str], tmp_path: Path) -> None:
    rows = [(f"slow {n}", f"{n}.mp4") for n in range(12)]
    summary, said = go(cluster, manifest(*rows), tmp_path / "out", "build_bare", workers=2)
    assert (summary.committed, summary.failed, summary.stopped) == (12, 0, None)
    assert any("no worker starts there (UserError: the weights are missing" in text for text in said)
    assert fakes.calls(str(tmp_path / "out"))["load"] == 1
