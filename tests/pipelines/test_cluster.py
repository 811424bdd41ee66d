"""What `cluster/` holds is well-formed and names fields, options and metrics that exist."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from motionecho.cli.main import run

CLUSTER = Path(__file__).parents[2] / "cluster"
# Fields of KubeRay's custom resources (ray.io/v1) that our files use, by the kind that has them.
FIELDS = {
    "RayJob": {
        "entrypoint", "entrypointNumCpus", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
        "backoffLimit", "submissionMode", "rayClusterSpec",
    },
    "RayCluster": {
        "rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs", "enableInTreeAutoscaling",
    },
    "head": {"rayStartParams", "template", "serviceType"},
    "worker": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
    "container": {"name", "image", "ports", "envFrom", "env", "resources", "volumeMounts"},
    "pod": {"containers", "volumes", "tolerations"},
}  # fmt: skip


def load(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((CLUSTER / name).read_text()))


def cluster_of(name: str) -> dict[str, Any]:
    spec = load(name)["spec"]
    return dict(spec.get("rayClusterSpec", spec))


@pytest.mark.parametrize(("name", "kind"), [("rayjob.yaml", "RayJob"), ("raycluster.yaml", "RayCluster")])
def test_kuberay_fields_exist_and_are_whole(name: str, kind: str) -> None:
    body, spec = load(name), cluster_of(name)
    assert (body["apiVersion"], body["kind"]) == ("ray.io/v1", kind)
    assert set(body["spec"]) <= FIELDS[kind]
    assert set(spec) <= FIELDS["RayCluster"]
    assert set(spec["headGroupSpec"]) <= FIELDS["head"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for worker in spec["workerGroupSpecs"]:
        assert set(worker) <= FIELDS["worker"]
        assert worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]
    for group in groups:
        pod = group["template"]["spec"]
        assert set(pod) <= FIELDS["pod"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), (
            "ray start takes texts"
        )
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert set(container) <= FIELDS["container"]
            assert container["resources"]["limits"] == container["resources"]["requests"], (
                "or pods are evicted"
            )
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes


def test_job_and_cluster_are_the_same_cluster_in_one_version() -> None:
    assert cluster_of("rayjob.yaml") == cluster_of("raycluster.yaml")
    images = re.findall(r"image: (\S+)", "".join(path.read_text() for path in CLUSTER.glob("*.yaml")))
    assert len(images) == 5
    assert len(set(images)) == 1


def test_entrypoints_are_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [load("rayjob.yaml")["spec"]["entrypoint"]]
    readme = (CLUSTER / "README.md").read_text()
    lines += [
        line.split("#")[0].strip() for line in readme.splitlines() if line.startswith("    motionecho ")
    ]
    assert len(lines) > 2
    for line in lines:
        words = shlex.split(line)
        assert run([*words[1:3], "--help"]) == 0
        offered = capsys.readouterr().out
        assert all(word in offered for word in words if word.startswith("--")), line


def test_readme_names_files_that_exist() -> None:
    readme = (CLUSTER / "README.md").read_text()
    named = set(re.findall(r"cluster/([\w.]+)", readme))
    assert named == {path.name for path in CLUSTER.iterdir()} - {"README.md"}


def test_the_launcher_has_what_ray_asks_for() -> None:
    body = load("launcher.yaml")
    assert body["head_node_type"] in body["available_node_types"]
    assert {"cluster_name", "provider", "auth", "max_workers", "docker"} <= set(body)
    pytest.importorskip("jsonschema")
    import jsonschema
    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(body, schema)


def test_the_dockerfile_copies_what_the_package_needs() -> None:
    text = (CLUSTER / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (.+)$", text, re.M) for name in line.split()[:-1]}
    assert {"pyproject.toml", "README.md", "LICENSE", "motionecho", "pipelines"} <= copied
    assert all((CLUSTER.parent / name).exists() for name in copied)


def test_the_batch_script_is_sound() -> None:
    script = CLUSTER / "slurm.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    usage = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    assert (usage.returncode, "usage:" in usage.stderr) == (2, True)
    linter = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if linter is None:
        pytest.skip("shellcheck is not installed")
    found = subprocess.run([linter, script], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_the_batch_script_starts_a_head_and_workers_and_hands_on_the_exit_code(tmp_path: Path) -> None:
    """With stand-ins for Slurm, Ray and ourselves that write down how they were called."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, body in {
        "scontrol": 'printf "n1\\nn2\\nn3\\n"',
        "srun": 'echo "srun $*" >> "$LOG"; echo "door $RAY_AUTH_MODE $RAY_AUTH_TOKEN" >> "$LOG.doors"',
        "ray": 'echo "ray $*" >> "$LOG"',
        "motionecho": 'until [ "$(grep -c ^srun "$LOG")" = 3 ]; do sleep 0.1; done\n'
        'echo "motionecho $*" >> "$LOG"\nexit 3',
        "activate": "",
    }.items():
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    log = tmp_path / "log"
    env = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "LOG": str(log),
        "MOTIONECHO_ENV": str(tmp_path),
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_JOB_ID": "41",
        "SLURM_GPUS_ON_NODE": "8",
        "SLURM_CPUS_PER_TASK": "64",
    }
    done = subprocess.run(
        ["bash", CLUSTER / "slurm.sbatch", "m.parquet", "s3://b/run", "--motions", "s3://b/m"],
        env=env,
        check=False,
    )
    assert done.returncode == 3
    lines = log.read_text().splitlines()
    assert "motionecho batch submit m.parquet --out s3://b/run --address n1:20041 --motions s3://b/m" in lines
    starts = sorted(line for line in lines if line.startswith("srun"))
    assert ["-w n1 ray start --head" in starts[0]] + [f"-w n{n}" in starts[n - 1] for n in (2, 3)] == [
        True
    ] * 3
    assert all("--num-gpus=8" in line and "--num-cpus=64" in line for line in starts)
    assert all("--address=n1:20041" in line for line in starts[1:])
    doors = (tmp_path / "log.doors").read_text().splitlines()
    assert re.fullmatch("door token [0-9a-f]{64}", doors[0])
    assert doors == doors[:1] * 3, "one token for all"
    assert doors[0].split()[-1] not in log.read_text(), "and on no command line"


def test_the_board_asks_for_metrics_that_exist() -> None:
    source = (CLUSTER.parent / "pipelines" / "driver" / "meters.py").read_text()
    known: dict[str, set[str]] = {}
    for kind, name in re.findall(r'(Counter|Gauge|Histogram)\(\s*"(\w+)"', source):
        suffixes = {"Counter": ["_total"], "Gauge": [""], "Histogram": ["_sum", "_count", "_bucket"]}[kind]
        known |= {f"ray_{name}{suffix}": {name} for suffix in suffixes}
    board = json.loads((CLUSTER / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [entry["query"] for entry in board["templating"]["list"] if entry["type"] == "query"]
    asked = {name for query in queries for name in re.findall(r"ray_motionecho_\w+", query)}
    assert asked <= set(known)
    shown = {base for name in asked for base in known[name]}
    assert shown == {base for bases in known.values() for base in bases}, "every metric has its place"
    boxes = [tuple(panel["gridPos"][side] for side in "xy") for panel in board["panels"]]
    assert len(set(boxes)) == len(boxes)
