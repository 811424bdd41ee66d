"""A batch whose rows mix all strategies: one training a reference, the same videos in any order."""

import csv
from collections import Counter
from pathlib import Path

import pytest
import training_stages as training

from motionecho.config import EchoConfig, RunSettings
from motionecho.models.registry import pair_spec
from motionecho.runs.store import RunStore
from pipelines.generate import Execution, run

CLIPS = Path(__file__).parents[2] / "manifests" / "clips"
QUICK = {"steps": 2, "inversion_steps": 2, "teacher_max_steps": 1, "train_steps": 3, "descent_steps": 1}
WORDS = ("motionclone", "motiondirector", "dmt", "moft", "motioninversion", "vmc")
TRAINED = ("motiondirector", "motioninversion", "vmc")
ASKED = {"reference": str(CLIPS / "bounce.mp4"), "prompt": "a red star on a blue background"} | QUICK
ROWS = [ASKED | {"id": f"{word}-{seed}", "seed": seed, "strategy": word} for word in WORDS for seed in (1, 2)]


def latents(folder: Path, rows: list[dict[str, object]], dies: bool = False) -> dict[str, str]:
    table, out = folder / "rows.csv", folder / "out"
    folder.mkdir()
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if dies:
        Path(f"{out}.dies").touch()
    settings = RunSettings(pair="toy", echo=pair_spec("toy").defaults, metrics=())
    execution = Execution(workers=3, backoff_s=0.05)
    summary = run(str(table), settings, str(out), execution, factory=training.FACTORY)
    assert (summary.committed, summary.failed) == (len(rows), 0), summary
    records = list(RunStore(str(out)).records())
    assert {r.id: "train" in r.seconds for r in records if r.id.endswith("-1")} == {
        f"{word}-1": word in TRAINED for word in WORDS
    }
    trainings = Counter(path.name.split("-")[0] for path in Path(f"{out}.trainings").iterdir())
    assert {*trainings.values()} == {1}, "each reference is trained on once"
    assert len(trainings) == len(TRAINED)
    strikes = [note.name for record in records for note in record.strikes]
    assert strikes == (["WorkerDied"] if dies else [])
    return {record.id: record.latent_sha256 or "" for record in records}


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_ray")
def test_strategies_mix_and_a_worker_that_dies_while_it_trains_changes_nothing(tmp_path: Path) -> None:
    """By as many threads a worker, which decide the last bits on a CPU."""
    first = latents(tmp_path / "first", ROWS)
    other = latents(tmp_path / "other", ROWS[::-1], dies=True)
    assert first == other
    assert len({*first.values()}) == len(ROWS)


def test_settings_of_strategies_are_those_of_the_pair() -> None:
    spec = pair_spec("toy")
    plain = spec.defaults
    there = spec.updated(plain, {"strategy": "dmt"})
    assert there.guidance.steer == "descent"
    assert spec.updated(there, {"strategy": "motionclone"}) == plain
    kept = spec.updated(plain, {"strategy": "dmt", "teacher_strength": 0.5})
    assert kept.guidance.teacher_strength == 0.5
    assert spec.updated(kept, {"steps": 3}).guidance.steer == "descent"
    assert EchoConfig().reference.trains is False
