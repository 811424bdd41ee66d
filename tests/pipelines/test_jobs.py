"""A run as a Ray job: what is sent, what is refused, and one real head on loopback."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from motionecho.errors import UserError
from pipelines.machines import jobs
from tests.patience import patience

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "manifests" / "clips" / "bounce.mp4"
QUICK = ["--set", "steps=1", "--set", "inversion_steps=1", "--set", "activation=never", "--metric", "sanity"]


def test_a_run_keeps_the_name_of_its_job() -> None:
    name = jobs.run_id("s3://bucket/my run_1")
    assert name == jobs.run_id("s3://bucket/my run_1")
    assert name.startswith("motionecho-my-run-1-")
    assert name != jobs.run_id("s3://other/my run_1")


def test_credentials_are_passed_on_and_nothing_else() -> None:
    passed = jobs.passed_on(
        {"AWS_SECRET_ACCESS_KEY": "s", "HOME": "/h", "MOTIONECHO_PAIR": "p", "MOTIONECHO_RAY_ADDRESS": "x"}
        | {"MOTIONECHO_C2PA_KEY": "/here/key.pem", "MOTIONECHO_DENY": "/here/deny.txt"}
    )
    assert set(passed) == {"AWS_SECRET_ACCESS_KEY", "MOTIONECHO_PAIR", "RAY_JOB_STOP_WAIT_TIME_S"}


@pytest.mark.parametrize(("status", "said"), [(401, "RAY_AUTH_TOKEN"), (404, "does not take jobs")])
def test_a_head_that_refuses_is_one_sentence(status: int, said: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UserError, match=said):
            jobs.connect(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()


def test_an_unreachable_head_is_one_sentence() -> None:
    with pytest.raises(UserError, match="cannot reach"):
        jobs.connect(f"http://127.0.0.1:{free_ports(1)[0]}")


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@pytest.fixture
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Ray head with its job server; only its own process is stopped afterwards."""
    pytest.importorskip("aiohttp_cors", reason="ray[default] is not installed")
    port, dashboard, agent, grpc, metrics, env = free_ports(6)
    options = {
        "port": port, "dashboard-port": dashboard, "dashboard-agent-listen-port": agent,
        "dashboard-agent-grpc-port": grpc, "metrics-export-port": metrics, "runtime-env-agent-port": env,
        "num-cpus": 2, "object-store-memory": 100 * 2**20, "dashboard-host": "127.0.0.1",
        "temp-dir": tmp_path_factory.mktemp("ray", numbered=True),
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in options.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *words],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{dashboard}"
    try:
        for _ in range(round(patience(120))):
            try:
                jobs.connect(address)
                break
            except UserError:
                assert process.poll() is None, "the head did not start"
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=patience(60))


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # "python" of the job is this one
    kept = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "MOTIONECHO_RAY_ADDRESS")}
    return kept | {"PYTHONPATH": str(ROOT), "PATH": path, "RAY_AUTH_MODE": "disabled"}


def motionecho(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "motionecho", *map(str, words)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=patience(300))


@pytest.mark.slow
def test_submit_status_cancel_submit_again_done(head: str, tmp_path: Path) -> None:
    rows = [{"id": f"s{n}", "reference": str(CLIP), "prompt": "a red star", "seed": n} for n in range(6)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = tmp_path / "run"
    submit = ("batch", "submit", tmp_path / "m.jsonl", "--out", run, "--address", head, *QUICK)
    first = motionecho(*submit, "--detach")
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip() == jobs.run_id(str(run))
    assert motionecho(*submit, "--detach").stdout == first.stdout, "the same again follows the same job"
    other = motionecho(*submit, "--detach", "--limit", "2")
    assert (other.returncode, "batch cancel" in other.stderr) == (2, True)

    done = 0
    while done == 0:
        status = motionecho("batch", "status", run, "--json")
        done = json.loads(status.stdout)["done"] if status.returncode == 0 else 0
        time.sleep(1)
    assert json.loads(motionecho("batch", "cancel", run, "--json").stdout)["status"] == "STOPPED"
    assert "manifest" in motionecho("batch", "logs", run).stdout

    last = motionecho(*submit, "--json")
    assert last.returncode == 0, last.stderr
    ended = json.loads(last.stdout)
    assert (ended["job"], ended["done"], ended["exit_code"]) == (f"{jobs.run_id(str(run))}-2", 6, 0)
    assert "AWS_" not in (run / "run.json").read_text() + (run / "job.json").read_text()
