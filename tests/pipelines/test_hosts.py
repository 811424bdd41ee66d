"""Three hosts, as network namespaces of this machine, of which one is cut off while it works."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_runs import FAST, Start, by_id, check_whole, ended, environment, rows, written

from motionecho.runs.store import RunStore

ROOTED = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("ip") is not None
BRIDGE, HOSTS = "mebridge", ("mehost0", "mehost1", "mehost2")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ROOTED, reason="network namespaces need root and iproute2's `ip`"),
]


def sh(command: str) -> str:
    done = subprocess.run(command.split(), env=environment() | {"RAY_AUTH_MODE": "disabled"},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


def inside(host: str) -> list[str]:
    return ["ip", "netns", "exec", host]


@pytest.fixture
def head() -> Iterator[str]:
    """A Ray head without cores on the first host and a worker with one core on each other; its address."""
    folder = tempfile.mkdtemp(prefix="me-", dir="/tmp")  # Ray's sockets want a short path
    ray = f"{sys.executable} -m ray.scripts.scripts start --disable-usage-stats"
    sh(f"ip link add {BRIDGE} type bridge")
    try:
        sh(f"ip link set {BRIDGE} up")
        for number, host in enumerate(HOSTS):
            sh(f"ip netns add {host}")
            sh(f"ip link add {host} type veth peer name eth0 netns {host}")
            sh(f"ip link set {host} master {BRIDGE} up")
            within, address = " ".join(inside(host)), f"10.213.7.{number + 1}"
            sh(f"{within} ip address add {address}/24 dev eth0")
            for device in ("eth0", "lo"):
                sh(f"{within} ip link set {device} up")
            role = "--address=10.213.7.1:6379 --num-cpus=1" if number else (
                f"--head --port=6379 --num-cpus=0 --include-dashboard=false --temp-dir={folder}"
            )  # fmt: skip
            sh(f"{within} {ray} {role} --node-ip-address={address}")
        yield "10.213.7.1:6379"
    finally:
        for host in HOSTS:
            if Path(f"/run/netns/{host}").exists():
                for pid in sh(f"ip netns pids {host}").split():
                    os.kill(int(pid), signal.SIGKILL)
                sh(f"ip netns delete {host}")
        sh(f"ip link delete {BRIDGE}")
        shutil.rmtree(folder, ignore_errors=True)


def test_a_host_that_is_cut_off_costs_no_sample(cli: Start, head: str, tmp_path: Path) -> None:
    out, table = tmp_path / "run", rows(60)
    driver = cli("batch", "submit", written(tmp_path / "60.csv", table), "--out", str(out), *FAST, "--json",
                 "--address", head, within=inside(HOSTS[0]))  # fmt: skip
    store = RunStore(str(out))
    while (
        len({record.where.node for record in store.records() if record.where}) < 2 or len(store.keys()) < 10
    ):
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.2)
    sh(f"ip link set {HOSTS[2]} down")
    cut, before = time.time(), len(store.keys())

    code, said = ended(driver)
    assert code == 0, said
    records = by_id(out)
    assert set(records) == {row["id"] for row in table}
    check_whole(out, records)
    assert not [strike for record in records.values() for strike in record.strikes], "a lost host is no fault"
    attempts = {name: record.attempts for name, record in records.items() if record.attempts > 1}
    print(f"cut off after {before} samples; all 60 done {time.time() - cut:.0f} s later; again: {attempts}")
