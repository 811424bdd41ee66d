"""The demo's samples keep their names: a change of keys would make every run of a user start over.

`demo_digests.json` also has the sha256 of each sample's latents on the machine that made it (x86-64, two
threads); other processors round otherwise, so these are compared by hand: submit the demo, read the records.
"""

import json
from pathlib import Path

from motionecho.config import RunSettings
from motionecho.models.registry import pair_spec
from pipelines.plan import plan_generation

ROOT = Path(__file__).parents[1]


def test_the_demo_keeps_its_keys(tmp_path: Path) -> None:
    known = json.loads((ROOT / "tests" / "demo_digests.json").read_text())
    settings = RunSettings(pair="toy", echo=pair_spec("toy").config())
    work = plan_generation(str(ROOT / "manifests" / "demo.parquet"), settings, str(tmp_path / "run"))
    planned = {task.payload.id: (task.key, task.payload.motion_key) for task in work.tasks.values()}
    assert planned == {id: (row["key"], row["motion_key"]) for id, row in known.items()}
