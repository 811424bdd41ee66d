"""The command that continues a run gives its settings again, by the place's word alone."""

import shlex
from pathlib import Path

import pytest

from motionecho.cli.resume import options, resume_command
from motionecho.config import RunSettings
from motionecho.models.registry import pair_spec
from motionecho.runs.store import RunStore
from pipelines import generate
from pipelines.generate import identity
from tests.cli.conftest import Cli

TOY = pair_spec("toy")
METRICS = TOY.metrics
MOFT = {"strategy": "moft"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (RunSettings(pair="toy", echo=TOY.config(), metrics=METRICS), ["--pair", "toy"]),
        (
            RunSettings(pair="toy", echo=TOY.config(changes={"steps": "4"}), gate="mf_traj>=0.5, 2 tries"),
            [
                "--pair",
                "toy",
                "--set",
                "steps=4",
                "--gate",
                "mf_traj>=0.5",
                "--gate-tries",
                "2",
                "--metric",
                "none",
            ],
        ),
        (
            RunSettings(
                pair="toy", echo=TOY.config(changes={"strategy": "moft"}), metrics=METRICS, fit="pad"
            ),
            ["--pair", "toy", "--strategy", "moft", "--fit", "pad"],
        ),
    ],
    ids=["by default", "a setting, a gate, no metric", "a strategy and a fit"],
)
def test_options_give_the_settings_again(
    cli: Cli,
    tmp_path: Path,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: RunSettings,
    words: list[str],
) -> None:
    assert options(settings) == words
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"reference,prompt\n{clip},a red star on a blue background\n")
    store = RunStore(str(tmp_path / "a run"))
    store.create(identity(settings), {})
    command = resume_command(store, [str(manifest)])
    assert command is not None
    assert command.startswith(f"motionecho batch submit {manifest} --out '{store.url}' --pair toy")

    asked: list[RunSettings] = []
    plan = generate.plan_generation
    monkeypatch.setattr(generate, "plan_generation", lambda *a, **k: (asked.append(a[1]), plan(*a, **k))[1])
    planned = cli(*shlex.split(command)[1:], "--dry-run", "--json")
    assert planned.code == 0, planned.err
    store.refuse_other(identity(asked[0]))


def test_what_is_not_known_makes_no_command(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "scores"))
    store.create({"scoring": {"fit": "crop"}}, {})
    assert resume_command(store, ["m.csv"]) is None
    assert resume_command(store, []) is None
