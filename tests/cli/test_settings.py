"""Where settings come from, and who wins."""

import json
from dataclasses import fields, replace
from pathlib import Path

import fsspec
import pytest

from motionecho.cli.exits import Exit
from motionecho.cli.options import SettingsOptions
from motionecho.cli.settings import resolve, settings_file
from motionecho.config import STRATEGIES, EchoConfig, RunSettings
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
    resolved = resolve(SettingsOptions(config=str(config), changes=["N=6"], fit="resize"), metrics=["none"])
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
    resolved = resolve(SettingsOptions(changes=["layers=a.b=c,d"]))
    assert resolved.settings.echo.reference.layers == ("a.b=c", "d")


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
        resolve(SettingsOptions(config=str(tmp_path / "c.yaml")))


def test_a_json_file_is_read_as_json(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"echo": {"g": 1e-05}')
    with pytest.raises(UserError, match="is not JSON"):
        resolve(SettingsOptions(config=str(tmp_path / "c.json")))


def test_an_empty_config_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert resolve(SettingsOptions(config=str(tmp_path / "c.yaml"))).settings == resolve().settings


OTHER_ECHO = {
    "background": "#804020",
    "steps": 5, "student_noise": "mixed", "noise_blend": 1e-05, "layers": ["a.b", "c"],
    "reference_timestep": 123, "student_strength": 7.25, "teacher_strength": 1234.5, "gradient": "unit_rms",
    "student_update": "direction", "teacher_update": "velocity", "guided_fraction": 0.1 + 0.2, "warm_up": 1,
    "cool_down": 2, "teacher_weight": 0.7, "teacher_fraction": 0.4, "teacher_guidance_scale": 3.5,
    "teacher_grid": "interval", "teacher_grid_steps": 31, "renoise_position": 0.6, "renoise": "predicted",
    "endpoint_guidance": False, "activation": "always", "threshold_unit": "first_loss",
    "activation_threshold": 0.9, "truncation_threshold": 0.8, "window": 3, "window_includes_current": False,
    "teacher_max_steps": 6, "inversion_steps": 17, "inversion_evaluate_at": "source", "method": "teacher",
    "initial_noise": "low_frequencies", "motion_strength": 0.5, "steer": "descent", "descent_steps": 4,
    "adapter_scale": 0.6, "adapter_on": "student", "embedding_mode": "none", "restart": True,
    "channel_share": 0.2, "temperature": 1.5, "appearance_weight": 3.5, "reference_prompt": "a car",
    "trainer": "each", "train_steps": 7, "train_rate": 0.01,
    "spatial_rate": 0.02, "spatial_path": "still", "lora_rank": 3, "lora_layers": "qkv", "lora_dropout": 0.2,
    "motion_lora": "factors.safetensors", "outlines": True, "control_scale": 0.5, "control_on": "student",
}  # fmt: skip
OTHERWISE = RunSettings.from_dict(
    {
        "pair": "animatediff-lightning", "echo": OTHER_ECHO, "metrics": ["sanity", "toy_text"], "fit": "pad",
        "device": "cuda:1", "dtype": "float32", "gate": "mf_traj>=0.25, 5 tries", "offload": True,
        "eager": True, "weights": ["s3://bucket/weights", "base=é/name"],
    }
)  # fmt: skip


def test_a_settings_file_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "another", "module:function")
    otherwise = replace(OTHERWISE, echo=OTHERWISE.echo.updated({"strategy": "another"}))
    plain = RunSettings(pair="toy", echo=EchoConfig())
    for field in fields(RunSettings):
        assert getattr(otherwise, field.name) != getattr(plain, field.name), field.name
    for name, value in otherwise.to_dict().items():
        assert value != plain.to_dict()[name], name
    usual = EchoConfig(), pair_spec(otherwise.pair).defaults
    for name, value in otherwise.echo.to_dict().items():
        assert value not in [echo.to_dict()[name] for echo in usual], name
    path = tmp_path / "settings.json"
    path.write_text(settings_file(otherwise), encoding="utf-8")
    assert resolve(SettingsOptions(config=str(path))).settings == otherwise


def test_a_settings_file_can_say_that_nothing_is_scored_or_limited(tmp_path: Path) -> None:
    quiet = RunSettings(pair="toy", echo=EchoConfig())
    path = tmp_path / "settings.json"
    path.write_text(settings_file(quiet))
    assert json.loads(path.read_text())["echo"]["teacher_fraction"] is None
    assert resolve(SettingsOptions(config=str(path))).settings == quiet


def test_a_config_file_can_be_a_url(config: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/configs/run.yaml", config.read_bytes())
    here, there = (
        resolve(SettingsOptions(config=place)) for place in (str(config), "memory://configs/run.yaml")
    )
    assert there.settings == here.settings
    with pytest.raises(UserError, match="does not exist"):
        resolve(SettingsOptions(config="memory://configs/none.yaml"))


def test_config_show_explains_and_speaks_json(cli: Cli) -> None:
    done = cli("config", "show", "--set", "lambda=0.5", "--explain")
    assert done.code == Exit.OK
    (line,) = [line for line in done.out.splitlines() if line.startswith("teacher_weight")]
    assert line.split()[1:4] == ["lambda", "0.5", "--set"]
    body = cli("config", "show", "--set", "lambda=0.5", "--json").json
    assert body["settings"]["echo"]["teacher_weight"] == 0.5
    assert body["sources"]["teacher_weight"] == "--set"


def test_config_show_takes_the_words_that_commands_take_and_lists_them(cli: Cli) -> None:
    asked = ("config", "show", "--strategy", "vmc", "--method", "teacher")
    body = cli(*asked, "--set", "method=student", "--json").json
    echo, sources = body["settings"]["echo"], body["sources"]
    assert (echo["strategy"], sources["strategy"]) == ("vmc", "--strategy")
    assert (echo["method"], sources["method"]) == ("student", "--set")
    assert body["words"]["strategy"] == list(STRATEGIES)
    assert body["words"]["activation"] == ["never", "always", "adaptive"]
    assert "steps" not in body["words"]
    lines = {line.split()[0]: line for line in cli(*asked).out.splitlines()}
    assert lines["strategy"].endswith(f"[{' | '.join(STRATEGIES)}]")
    assert lines["method"].endswith("[motionecho | student | guided-student | teacher | structure]")
    assert "[" not in lines["steps"]


def test_the_pair_can_come_from_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTIONECHO_PAIR", "toi")
    assert 'unknown pair "toi"' in cli("config", "show").sentence()
