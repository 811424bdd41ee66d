"""An export to the hub, as far as its own client can tell one from the stand-in on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from motionecho.runs.store import RunStore
from tests.dataset.hub import NAME, hub
from tests.patience import patience

LOAD = """
import datasets, hashlib, json
found = datasets.load_dataset("{name}", cache_dir="{cache}")
rows = [row for its in found.values() for row in its.cast_column("video", datasets.Video(decode=False))]
same = [hashlib.sha256(row["video"]["bytes"]).hexdigest() == row["result_video_sha256"] for row in rows]
print(json.dumps([sorted(found), len(rows), all(same)]))
"""


@pytest.mark.slow
def test_what_is_exported_to_the_hub_loads_from_there(run: RunStore, tmp_path: Path) -> None:
    """In processes of their own: the client takes its endpoint from the environment when it is imported."""
    with hub() as (repository, endpoint):
        own = {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_" + "x" * 20, "HF_HUB_DISABLE_XET": "1",
               "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}  # fmt: skip

        def python(*words: str) -> str:
            done = subprocess.run(
                [sys.executable, *words],
                env={**os.environ, **own},
                capture_output=True,
                text=True,
                timeout=patience(120),
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        words = ["-m", "motionecho", "export", run.url, "-o", f"hf://datasets/{NAME}", "--to", "hf", "--json"]
        words += ["--split", "train=.7,val=.3", "--shard-size", "3"]
        assert json.loads(python(*words))["copied"] == 11
        commits = repository.commits
        again = json.loads(python(*words))
        assert (again["copied"], again["already_there"]) == (0, 11)
        assert repository.commits - commits <= 2, "only export.json changes"
        assert repository.files[".gitattributes"] == b"of a repository that is new"
        loaded = json.loads(python("-c", LOAD.format(name=NAME, cache=tmp_path / "cache")))
        assert loaded == [["train", "val"], 11, True]
