from pathlib import Path
from typing import Any

import pytest
import yaml

from motionecho.cli.exits import Exit
from motionecho.config import Placement
from motionecho.errors import UserError
from motionecho.models import registry
from tests.cli.conftest import Cli


@pytest.mark.slow
def test_writes_settings_that_config_takes(cli: Cli, tmp_path: Path, clip: Path) -> None:
    manifest = tmp_path / "m\nmore: than a comment #.csv"
    manifest.write_text(f"reference,prompt\n{clip},a red star on a blue background\n")
    quick = ("--set", "steps=2", "--set", "inversion_steps=2", "--limit", "1")
    out = tmp_path / "found.yaml"
    done = cli("calibrate", manifest, "--out", out, "--json", *quick)
    assert done.code == Exit.OK, done.err
    assert [point["candidate"]["name"] for point in done.json["points"]][0::4] == ["always", "student"]
    written = yaml.safe_load(out.read_text())
    assert {*written} == {"pair", "echo"}
    assert (written["pair"], written["echo"]["steps"]) == ("toy", 2)
    shown = cli("config", "show", "--config", out, "--json").json
    for name, value in written["echo"].items():
        assert shown["settings"]["echo"][name] == value


def test_a_manifest_without_a_row_that_can_run(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("reference,prompt\n,a star\n")
    done = cli("calibrate", tmp_path / "m.csv")
    assert (done.code, "can run" in done.sentence()) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    "options",
    [(), ("--weights", "random", "--offload", "--eager", "--device", "cpu", "--dtype", "float32")],
    ids=["from the file", "from options"],
)
def test_the_models_are_where_the_settings_say(
    cli: Cli, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    (tmp_path / "m.csv").write_text(f"reference,prompt\n{clip},a fox\n")
    config = "pair: turbo-v2\n"
    if not options:
        config += "device: cpu\ndtype: float32\nweights: [random]\noffload: true\neager: true\n"
    (tmp_path / "c.yaml").write_text(config)

    def load_pair(*asked: Any) -> None:
        placement = Placement(device="cpu", weights=("random",), offload=True, eager=True)
        assert asked == ("turbo-v2", placement, "float32")
        raise UserError("that is what was wanted")

    monkeypatch.setattr(registry, "load_pair", load_pair)
    done = cli("calibrate", tmp_path / "m.csv", "--config", tmp_path / "c.yaml", *options)
    assert "that is what was wanted" in done.err
