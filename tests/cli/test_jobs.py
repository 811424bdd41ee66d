"""A run sent to a cluster as a job: the job resolves to what was asked for here."""

import json
import uuid
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import typer

from motionecho.cli import batch
from motionecho.cli.exits import Exit
from motionecho.cli.flatten import flattened
from motionecho.cli.jobs import flags
from motionecho.cli.options import ClusterOptions, EffortOptions
from motionecho.config import RunSettings
from pipelines.execution import Execution
from pipelines.machines import jobs
from tests.cli.conftest import Cli

HEAD = "http://head:8265"
ASKED = (
    "--preset", "student", "--set", "delta_1=7.5", "--set", "teacher_fraction=none", "--metric", "none",
    "--fit", "pad", "--device", "cpu", "--dtype", "float32", "--offload", "--eager",
    "--gate", "motion_fidelity>=0.5", "--gate-tries", "2", "--motions", "memory://motions", "--workers", "3",
    "--limit", "1", "--deadline", "60", "--max-failure-rate", "0.5", "--retry-failed", "--allow-failures",
    "--no-canary",
)  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path, clip: Path) -> Path:
    row = {"id": "one", "reference": str(clip), "prompt": "a red star on a blue background"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    return tmp_path / "m.jsonl"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the jobs that a head on paper was asked to run."""
    commands: list[list[str]] = []

    def submit(client: object, run: str, command: list[str], env: object) -> str:
        commands.append(command)
        return f"job-{len(commands)}"

    monkeypatch.setattr(jobs, "connect", lambda address: address)
    monkeypatch.setattr(jobs, "submit", submit)
    return commands


Run = tuple[RunSettings, str, Execution, bool]  # settings, place, execution, failures allowed


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that would have been carried out here."""
    runs: list[Run] = []

    def execute(work: Any, manifest: str, settings: RunSettings, url: str, *rest: Any) -> Exit:
        execution, allow_failures, _ = rest
        runs.append((settings, url, execution, allow_failures))
        return Exit.OK

    monkeypatch.setattr(batch, "execute", execute)
    return runs


@pytest.mark.parametrize("shared", [True, False], ids=["folder", "store"])
def test_a_job_is_what_the_command_would_have_been_here(
    cli: Cli, manifest: Path, tmp_path: Path, sent: list[list[str]], carried_out: list[Run], shared: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = str(tmp_path / "run") if shared else f"memory:///{uuid.uuid4()}/run"
    engine = tmp_path / "engine.yaml"
    engine.write_text("max_attempts: 7\n")
    submit = ("batch", "submit", manifest, "--out", run, "--pair", "toy", "--engine", engine, *ASKED)
    monkeypatch.setenv("MOTIONECHO_PAIR", "turbo-v2")  # jobs get these variables too
    assert cli(*submit, "--address", "auto").code == Exit.OK
    job = cli(*submit, "--address", HEAD, "--detach")
    assert job.out == "job-1\n", job.err

    (command,) = sent
    monkeypatch.chdir("/")
    assert command[:3] == ["python", "-m", "motionecho"]
    assert cli(*command[3:]).code == Exit.OK
    here, there = carried_out
    assert there == here
    assert (there[2].max_attempts, there[2].address) == (7, "auto")
    if not shared:
        assert sum(word.startswith(f"{run}/inputs/") for word in command) == 3

    cli(*submit, "--address", HEAD, "--detach")
    assert sent[1] == command, "the same again is the same job"


def test_a_job_that_starts_over_is_confirmed_before_it_is_sent(
    cli: Cli, manifest: Path, tmp_path: Path, sent: list[list[str]]
) -> None:
    submit = (
        "batch",
        "submit",
        manifest,
        "--out",
        tmp_path / "run",
        "--address",
        HEAD,
        "--detach",
        "--fresh",
    )
    refused = cli(*submit)
    assert (refused.code, "add --yes" in refused.sentence()) == (Exit.USAGE, True)
    assert (sent, (tmp_path / "run").exists()) == ([], False)
    assert cli(*submit, "--yes").code == Exit.OK
    assert {"--fresh", "--yes"} <= {*sent[0]}


def test_flags_say_every_option_again() -> None:
    effort = EffortOptions(
        limit=3, deadline=1.5, max_failure_rate=1.0, retry_failed=True, allow_failures=True, canary=False,
        fresh=True, yes=True, deny="s3://b/deny.txt",
    )  # fmt: skip
    cluster = ClusterOptions(address="auto", workers=2, engine="e.yaml", motions="s3://b/motions")
    for options in (effort, cluster):
        for field in fields(options):
            assert getattr(options, field.name) != field.default, field.name

    app = typer.Typer(add_completion=False)

    @app.command()
    @flattened
    def echo(effort: EffortOptions, cluster: ClusterOptions) -> tuple[EffortOptions, ClusterOptions]:
        return effort, cluster

    parser = typer.main.get_command(app)
    assert parser.main(args=[*flags(effort), *flags(cluster)], standalone_mode=False) == (effort, cluster)
    assert flags(EffortOptions()) == []
    assert flags(replace(EffortOptions(), limit=1)) == ["--limit", "1"]
