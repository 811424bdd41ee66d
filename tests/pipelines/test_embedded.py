"""An embedded Ray is this run's alone: no other machine, no other user, nobody without its token gets in."""

import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
import ray

from pipelines.execution import Execution
from pipelines.machines.ray_cluster import connected
from tests.patience import patience

# What a user may have set for a cluster of theirs; an embedded Ray has a door of its own.
FOREIGN = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "of another cluster"}
LISTENING = "0A"
# A call for each kind of server that Ray has, and how many of them there are.
CALLS = {
    "JobInfoGcsService/GetAllJobInfo": 1,
    "NodeManagerService/GetNodeStats": 1,
    "ObjectManagerService/Pull": 1,
    "CoreWorkerService/GetCoreWorkerStats": 2,  # driver and worker
    "ReporterService/HealthCheck": 1,
}

if not Path("/proc/net/tcp").exists():
    pytest.skip("reads what listens out of /proc", allow_module_level=True)
grpc = pytest.importorskip("grpc", reason="ray[default] is not installed")


@dataclass(frozen=True)
class Door:
    """A TCP port that one of the run's processes listens on, its host as /proc writes it."""

    host: str
    port: int

    @property
    def is_on_loopback(self) -> bool:
        """An address is written in words of four bytes, each the wrong way round."""
        mapped = "0000000000000000FFFF0000"
        return self.host.removeprefix(mapped) == "0100007F" or self.host == "0" * 24 + "01000000"

    def answer(self, call: str, token: str | None) -> str:
        """The status that a call of Ray's own protocol is answered with."""
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            try:
                asked = channel.unary_unary(f"/ray.rpc.{call}")
                asked(b"", metadata=bearer(token).items(), timeout=patience(5))
            except grpc.RpcError as problem:
                return str(problem.code().name)
            return "OK"

    def page(self, token: str | None) -> tuple[int, str]:
        """The status and the text that a browser is answered with; 0 where this speaks no HTTP."""
        caller = HTTPConnection("127.0.0.1", self.port, timeout=patience(5))
        try:
            caller.request("GET", "/", headers=bearer(token))
            page = caller.getresponse()
            return page.status, page.read().decode()
        except (HTTPException, OSError):
            return 0, ""
        finally:
            caller.close()


def bearer(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


@dataclass(frozen=True)
class Run:
    address: str
    environment: dict[str, str]  # as a worker's code sees it

    @cached_property
    def token(self) -> str:
        return Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text()

    @cached_property
    def folder(self) -> Path:
        return Path(self.environment["RAY_AUTH_TOKEN_PATH"]).parent

    def open_to_us(self) -> dict[str, list[Door]]:
        """The doors that answer each kind of call to who has the token."""
        found = doors()
        return {call: [each for each in found if each.answer(call, self.token) == "OK"] for call in CALLS}


@pytest.fixture(scope="module")
def private() -> Iterator[Run]:
    @ray.remote(num_cpus=0)
    class Witness:
        def see(self) -> dict[str, str]:
            return dict(os.environ)

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        for name, value in FOREIGN.items():
            patch.setenv(name, value)
        with connected(Execution()):
            witness: Any = Witness.remote()
            run = Run(ray.get_runtime_context().gcs_address, ray.get(witness.see.remote()))
            late = time.monotonic() + patience(60)
            while not all(len(run.open_to_us()[call]) >= number for call, number in CALLS.items()):
                assert time.monotonic() < late, run.open_to_us()
            yield run
        assert {name: os.environ.get(name) for name in FOREIGN} == FOREIGN, "given back as it was"
        assert not run.folder.exists(), "nothing is left behind"


def family() -> dict[int, str]:
    """This process and all below it, by id, with the command line of each."""
    parents, said = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            said[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue  # it ended meanwhile
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {pid: said.get(pid, "") for pid in ours}


def doors() -> list[Door]:
    """Every TCP port that this process and those below it listen on."""
    ours = set()
    for pid in family():
        try:
            links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        ours |= {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    ends = [line.split()[1].split(":") for line in lines[1:]
            if line.split()[3] == LISTENING and line.split()[9] in ours]  # fmt: skip
    return [Door(host, int(port, 16)) for host, port in ends]


def test_every_door_is_on_loopback(private: Run) -> None:
    found = doors()
    assert len(found) >= sum(CALLS.values())
    assert [door for door in found if not door.is_on_loopback] == []


def test_no_door_opens_without_the_token(private: Run) -> None:
    for call, found in private.open_to_us().items():
        for door in found:
            answers = {door.answer(call, token) for token in (None, "of another cluster", private.token[:-1])}
            assert answers == {"UNAUTHENTICATED"}, (call, door)


def test_pages_want_the_token_too_but_for_counters(private: Run) -> None:
    """Ray serves Prometheus without asking for a token: those who have an account here can read figures."""
    pages = [door.page(None) for door in doors()]
    assert 401 in [status for status, _ in pages], "from the agent of runtime environments"
    for status, text in pages:
        assert status in (0, 401) or text.startswith("# HELP") or not text, text[:200]


def test_a_stranger_does_not_join(private: Run) -> None:
    join = f"import ray; ray.init(address='{private.address}'); print(ray.cluster_resources()['CPU'])"
    # to look on loopback, and not for minutes
    hurry = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_NUM_REDIS_GET_RETRIES": "1"}
    said = {}
    for who, token in {"friend": private.token, "stranger": "of another cluster", "nobody": None}.items():
        door = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {"RAY_AUTH_MODE": "disabled"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        done = subprocess.run([sys.executable, "-c", join], env=kept | hurry | door, timeout=patience(120),
                              capture_output=True, text=True, check=False)  # fmt: skip
        said[who] = (done.returncode, "Unauthenticated" in done.stderr)
    assert said == {"friend": (0, False), "stranger": (1, True), "nobody": (1, True)}


def test_the_token_is_said_nowhere(private: Run) -> None:
    assert re.fullmatch("[0-9a-f]{64}", private.token)
    assert private.token not in str(private.environment)
    assert private.token not in str(dict(os.environ))
    assert not [line for line in family().values() if private.token in line]
    files = [path for path in private.folder.rglob("*") if path.is_file()]
    assert len(files) > 10, "with Ray's logs"
    assert [path.name for path in files if private.token.encode() in path.read_bytes()] == ["token"]


def test_the_folder_of_sockets_and_logs_is_closed_to_others(private: Run) -> None:
    assert stat.S_IMODE(private.folder.stat().st_mode) == 0o700
    listing = Path("/proc/net/unix").read_text()
    assert f"{private.folder}/r/session" in listing, "Ray's own sockets are in there"
