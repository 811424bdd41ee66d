"""Runs of the real stages that are disturbed from outside: manifests, the command line, and what it left."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from motionecho.runs.records import Record
from motionecho.runs.store import RunStore
from tests.patience import patience

ROOT = Path(__file__).parents[1]
CLIPS = sorted((ROOT / "manifests" / "clips").glob("*.mp4"))
PROMPTS = ("a red star on a blue background", "a white heart on a striped purple background")
# Two steps of the student alone: what is tested is the pipeline, with all its stages.
FAST = ("--set", "steps=2", "--set", "activation=never", "--set", "inversion_steps=4", "--metric", "sanity")
Rows = list[dict[str, Any]]
Start = Callable[..., subprocess.Popen[str]]


def rows(number: int) -> Rows:
    return [
        {"id": f"s{n}", "reference": str(CLIPS[n % len(CLIPS)]), "prompt": PROMPTS[n % 2], "seed": n}
        for n in range(number)
    ]


def written(path: Path, table: Rows) -> str:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return str(path)


def start(*words: str, within: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start `motionecho` with disturbed stages, in a session of its own; `within` leads the command line."""
    command = [*within, sys.executable, str(ROOT / "tests" / "chaos_stages.py"), *words]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, talk = process.communicate(timeout=patience(1200))
    assert out.strip(), talk
    return process.returncode, json.loads(out.splitlines()[-1])


def by_id(out: str | Path) -> dict[str, Record]:
    records = list(RunStore(str(out)).records())
    assert len({record.id for record in records}) == len(records), "no sample has two records"
    return {record.id: record for record in records}


def starts(out: Path) -> int:
    return len(list(Path(f"{out}.starts").iterdir()))


def check_whole(out: str | Path, records: dict[str, Record]) -> None:
    """Every record names a video whose bytes are those it vouches for, and the traces are there."""
    store = RunStore(str(out))
    for record in records.values():
        for blob in (record.video, record.stats):
            assert blob is not None
            with store.fetch(blob.uri) as path:
                assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == blob.sha256
