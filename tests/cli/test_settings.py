"""Where settings come from, and who wins."""

from pathlib import Path

import pytest

from motionecho.cli.exits import Exit
from motionecho.cli.settings import resolve
from motionecho.errors import UserError
from motionecho.models.registry import pair_spec
from tests.cli.conftest import Cli


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("preset: student\nfit: pad\nmetrics: [sanity]\necho:\n  steps: 4\n  g: 0.25\n")
    return path


def test_without_options_the_pairs_own_defaults_hold() -> None:
    resolved = resolve()
    assert resolved.settings.pair == "toy"
    assert resolved.settings.echo == pair_spec("toy").defaults
    assert resolved.settings.fit == "crop"
    assert "toy_text" in resolved.settings.metrics


def test_an_option_wins_over_the_file_and_the_file_over_the_preset(config: Path) -> None:
    resolved = resolve(config=str(config), changes=["N=6"], fit="resize", metrics=["none"])
    settings = resolved.settings
    student, activation = settings.echo.student, settings.echo.activation
    assert (student.steps, student.noise_blend, activation.activation) == (6, 0.25, "never")
    assert (settings.fit, settings.metrics) == ("resize", ())
    sources = resolved.sources
    assert sources["steps"] == "--set"
    assert sources["noise_blend"] == str(config)
    assert sources["activation"] == "preset student"
    assert sources["teacher_grid_steps"] == "default"


def test_a_value_that_holds_an_equals_sign_or_commas_is_kept_whole() -> None:
    assert resolve(changes=["layers=a.b=c,d"]).settings.echo.reference.layers == ("a.b=c", "d")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: 4", "settings belong under `echo:`"),
        ("presett: x", 'did you mean "preset"'),
        ("- a\n- b", "has to be a mapping"),
        ("echo: 4", "`echo` has to be a mapping"),
        ("metrics: sanity", "`metrics` has to be a list"),
        ("a: [", "is not YAML"),
        ("echo:\n  stpes: 4", 'did you mean "steps"'),
        ("fit: corp", 'did you mean "crop"'),
    ],
)
def test_a_config_file_is_read_strictly(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        resolve(config=str(tmp_path / "c.yaml"))


def test_an_empty_config_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert resolve(config=str(tmp_path / "c.yaml")).settings == resolve().settings


def test_config_show_explains_and_speaks_json(cli: Cli) -> None:
    done = cli("config", "show", "--set", "lambda=0.5", "--explain")
    assert done.code == Exit.OK
    (line,) = [line for line in done.out.splitlines() if line.startswith("teacher_weight")]
    assert line.split()[1:4] == ["lambda", "0.5", "--set"]
    body = cli("config", "show", "--set", "lambda=0.5", "--json").json
    assert body["settings"]["echo"]["teacher_weight"] == 0.5
    assert body["sources"]["teacher_weight"] == "--set"


def test_the_pair_can_come_from_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTIONECHO_PAIR", "toi")
    assert 'unknown pair "toi"' in cli("config", "show").sentence()
